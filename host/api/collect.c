/*
 * A collector is answered in one of two ways:
 *
 *                      done
 *     waiting ──────────────────────────────────────────► http_reply
 *        │ heartbeat_ms are over, or the client half-closed
 *        ▼          opened               done, and all is sent
 *     opening ────────────────► open ───────────────────► http_stream_end
 *
 * From `opening` on the answer is a stream with status 200, whatever comes. Its bytes
 * wait in `unsent`: white space, which JSON may begin with (RFC 8259, 2), while the
 * run goes on, and the document at last.
 */
#include "api/collect.h"

#include "api/admission.h"
#include "api/pace.h"
#include "base/handles.h"
#include "base/mem.h"
#include "run/questions.h"
#include "run/readers.h"
#include "run/runs.h"

#include <stdlib.h>
#include <sys/queue.h>

/* Of a document while it is written, in a buffer that doubles. */
#define ANSWER_COPIES 3

enum collector_state {
    COLLECTOR_WAITING,
    COLLECTOR_OPENING, /* nothing can be sent yet */
    COLLECTOR_OPEN,
};

struct collector {
    struct subscriber subscriber; /* first */
    struct collectors *collectors;
    struct http_request *request;
    const struct document_encoder *encoder;
    struct document document;
    struct buf terms; /* of the encoder */
    uint64_t after;   /* number of the event up to which questions are answered */
    size_t taken;     /* bytes that the run's client is charged */
    bool crowded;     /* the client had no room for more, so the document is not whole */
    bool late;        /* the run had ended before the request came */
    enum collector_state state;
    bool done;         /* the document is in unsent, or sent */
    struct buf unsent; /* to be sent as it comes */
    struct pace pace;
    TAILQ_ENTRY(collector) in_all;
};

struct collectors {
    uv_loop_t *loop;
    uv_timer_t check;
    struct pace_times times;
    struct handles handles;
    TAILQ_HEAD(, collector) all;
};

static bool take_memory(void *data, size_t bytes)
{
    struct collector *collector = data;

    if (!run_take_memory(collector->subscriber.run, bytes)) {
        collector->crowded = true;
        return false;
    }
    collector->taken += bytes;
    return true;
}

static void give_memory(struct collector *collector)
{
    run_give_memory(collector->subscriber.run, collector->taken);
    collector->taken = 0;
}

/* The caller says how the collector leaves the run. */
static void collector_destroy(struct collector *collector, void (*leave)(struct subscriber *self))
{
    TAILQ_REMOVE(&collector->collectors->all, collector, in_all);
    give_memory(collector);
    leave(&collector->subscriber);
    document_finish(&collector->document);
    buf_finish(&collector->terms);
    buf_finish(&collector->unsent);
    free(collector);
}

/* Leave the run as its document says: it goes on only if it waits for a person. */
static void collector_leave(struct collector *collector)
{
    struct run *run = run_ref(collector->subscriber.run);
    bool cancels = collector->encoder->question == QUESTION_CANCELS;

    if (run_has_ended(run)) {
        collector_destroy(collector, run_unsubscribe);
    } else {
        collector_destroy(collector, run_leave);
        if (cancels)
            run_cancel(run);
    }
    run_unref(run);
}

/* ---- an answer that is kept alive ---- */

/* The collector is gone afterwards if all is sent, or the connection cannot be watched. */
static void collector_send(struct collector *collector)
{
    struct iovec piece = {(void *)buf_data(&collector->unsent), buf_length(&collector->unsent)};
    struct http_request *request = collector->request;
    size_t sent;
    int status = http_stream_send(request, &piece, 1, collector->done, &sent);

    buf_consume(&collector->unsent, sent);
    pace_stamp(&collector->pace, collector->collectors->loop, request, status < 0);
    if (status == 0 && collector->done) {
        collector_leave(collector);
        http_stream_end(request);
    } else if (http_stream_watch(request) < 0) {
        collector_destroy(collector, run_leave);
        http_stream_reset(request);
    }
}

static void on_opened(void *data)
{
    struct collector *collector = data;

    collector->state = COLLECTOR_OPEN;
    collector_send(collector);
}

static void on_writable(void *data)
{
    collector_send(data);
}

static void on_half_closed(void *data);

static void on_left(void *data)
{
    collector_destroy(data, run_leave);
}

static const struct http_stream_handler handler = {
    .opened = on_opened, .writable = on_writable, .half_closed = on_half_closed, .left = on_left};

/* Send white space, unless other bytes are on their way. */
static void collector_beat(struct collector *collector)
{
    if (collector->pace.blocked || collector->state == COLLECTOR_OPENING)
        return;
    buf_puts(&collector->unsent, "\n");
    if (collector->state == COLLECTOR_OPEN) {
        collector_send(collector);
        return;
    }
    collector->state = COLLECTOR_OPENING;
    http_add_header(collector->request, "X-Content-Type-Options", "nosniff");
    http_stream(collector->request, collector->encoder->content_type, &handler, collector);
}

static void on_half_closed(void *data)
{
    struct collector *collector = data;

    collector->pace.half_closed = true;
    collector_beat(collector);
}

/* ---- the document ---- */

/* Append the document, and return its HTTP status. */
static unsigned collector_encode(struct collector *collector, struct buf *out)
{
    const struct encoding encoding = {
        .run = run_identity(collector->subscriber.run),
        .log = run_log(collector->subscriber.run),
        .terms = buf_length(&collector->terms) > 0 ? buf_data(&collector->terms) : NULL,
        .terms_size = buf_length(&collector->terms)};

    return collector->encoder->end(&collector->document, &encoding, out);
}

static void collector_reply(struct collector *collector)
{
    struct http_request *request = collector->request;
    struct buf body = {0};
    unsigned status;

    if (!mem_has(MEM_SPARE + ANSWER_COPIES * collector->taken)) {
        admission_refuse(request, ADMISSION_no_memory, NULL);
        collector_leave(collector);
        return;
    }
    status = collector_encode(collector, &body);
    give_memory(collector); /* the answer is charged to who asked for it */
    if (collector->late && collector->crowded) {
        buf_finish(&body);
        http_refuse(request);
    } else {
        http_reply(request, status, collector->encoder->content_type, &body);
    }
    collector_leave(collector);
}

static void collector_finish(struct collector *collector)
{
    collector->done = true;
    collector_encode(collector, &collector->unsent);
    document_finish(&collector->document);
    if (collector->state == COLLECTOR_OPEN && !collector->pace.blocked)
        collector_send(collector);
}

/* The only question of a document is the first that is open. */
static void add_event(struct document *document, unsigned keeps, const struct run *run,
                      const struct event *event, const struct document_room *room)
{
    if (event->kind == EVENT_input_request &&
        (buf_length(&document->question) > 0 || !run_question_at(run, event->sequence)))
        document->events = event->sequence;
    else
        document_add(document, keeps, event, room);
}

/* Read all events that there are. After the last one of the answer the collector may be gone. */
static void collector_read(struct collector *collector)
{
    const struct document_room room = {.take = take_memory, .data = collector};
    struct subscriber *subscriber = &collector->subscriber;
    const struct eventlog *log = run_log(subscriber->run);
    struct log_cursor cursor = subscriber->cursor;
    struct buf scratch = {0};
    struct event event;
    bool done = false;

    if (collector->done)
        return;
    while (!done && cursor.at < log->end.at) {
        eventlog_read(log, &cursor, &scratch, &event);
        add_event(&collector->document, collector->encoder->keeps, subscriber->run, &event, &room);
        done = event.kind == EVENT_done ||
               (event.kind == EVENT_input_request && event.sequence > collector->after &&
                collector->encoder->question != QUESTION_GOES_ON &&
                run_question_at(subscriber->run, event.sequence));
    }
    buf_finish(&scratch);
    run_consume(subscriber, &cursor);
    if (done && collector->state == COLLECTOR_WAITING)
        collector_reply(collector);
    else if (done)
        collector_finish(collector);
}

static void on_appended(struct subscriber *subscriber)
{
    collector_read((struct collector *)subscriber);
}

void collect_open(struct collectors *collectors, struct http_request *request, struct run *run,
                  const struct answer_form *form, uint64_t after)
{
    struct collector *collector = mem_alloc(sizeof *collector);
    struct run_gap gap;

    collector->subscriber.appended = on_appended;
    collector->collectors = collectors;
    collector->request = request;
    collector->encoder = form->encoder->document;
    buf_append(&collector->terms, form->terms, form->terms ? form->terms_size : 0);
    collector->after = after;
    collector->late = run_has_ended(run);
    pace_stamp(&collector->pace, collectors->loop, request, false);
    TAILQ_INSERT_TAIL(&collectors->all, collector, in_all);
    run_subscribe(run, &collector->subscriber, 0, &gap);
    if (gap.to > 0)
        document_add_gap(&collector->document);
    if (!collector->late)
        http_wait(request, &handler, collector);
    collector_read(collector);
}

/* ---- documents at once ---- */

/* What the run's client is charged while a document is made. */
struct charge {
    struct run *run;
    size_t taken;
};

static bool take_charge(void *data, size_t bytes)
{
    struct charge *charge = data;

    if (!run_take_memory(charge->run, bytes))
        return false;
    charge->taken += bytes;
    return true;
}

void collect_read(struct run *run, unsigned keeps, uint64_t upto, struct document *document)
{
    struct charge charge = {.run = run};
    const struct document_room room = {.take = take_charge, .data = &charge};
    const struct eventlog *log = run_log(run);
    struct log_cursor cursor = log->start;
    struct buf scratch = {0};
    struct event event;

    if (cursor.sequence > 0)
        document_add_gap(document);
    while (cursor.at < log->end.at && cursor.sequence < upto) {
        eventlog_read(log, &cursor, &scratch, &event);
        add_event(document, keeps, run, &event, &room);
    }
    document->waits = run_get_state(run) == RUN_waiting && !run_question_next(run, NULL);
    buf_finish(&scratch);
    run_give_memory(run, charge.taken);
}

void collect_now(struct http_request *request, struct run *run, const struct answer_form *form)
{
    const struct document_encoder *encoder = form->encoder->document;
    const struct encoding encoding = {.run = run_identity(run),
                                      .log = run_log(run),
                                      .terms = form->terms,
                                      .terms_size = form->terms_size};
    struct document document = {.truncated = false};
    struct buf body = {0};
    unsigned status;

    collect_read(run, encoder->keeps, UINT64_MAX, &document);
    status = encoder->end(&document, &encoding, &body);
    document_finish(&document);
    http_reply(request, status, encoder->content_type, &body);
}

/* ---- time ---- */

static void collector_check(struct collector *collector)
{
    const struct collectors *collectors = collector->collectors;
    struct http_request *request = collector->request;

    if (!collector->pace.blocked) {
        if (pace_is_due(&collector->pace, collectors->loop, &collectors->times, request))
            collector_beat(collector);
    } else if (pace_still_ms(&collector->pace, collectors->loop, request) >=
               collectors->times.stall_ms) {
        collector_destroy(collector, run_leave);
        http_stream_reset(request);
    }
}

static void on_check(uv_timer_t *timer)
{
    struct collectors *collectors = timer->data;
    struct collector *collector, *next;

    for (collector = TAILQ_FIRST(&collectors->all); collector; collector = next) {
        next = TAILQ_NEXT(collector, in_all);
        collector_check(collector);
    }
}

struct collectors *collectors_create(uv_loop_t *loop, const struct pace_times *times)
{
    struct collectors *collectors = mem_alloc(sizeof *collectors);

    collectors->loop = loop;
    collectors->times = *times;
    TAILQ_INIT(&collectors->all);
    uv_timer_init(loop, &collectors->check);
    collectors->check.data = collectors;
    uv_timer_start(&collectors->check, on_check, PACE_CHECK_MS, PACE_CHECK_MS);
    return collectors;
}

void collectors_set_times(struct collectors *collectors, const struct pace_times *times)
{
    collectors->times = *times;
}

void collectors_destroy(struct collectors *collectors)
{
    handles_close(&collectors->handles, free, collectors, &collectors->check, NULL);
}
