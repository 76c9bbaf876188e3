#include "api/collect.h"

#include "base/mem.h"
#include "run/readers.h"
#include "run/runs.h"

#include <stdlib.h>

struct collector {
    struct subscriber subscriber; /* first */
    struct http_request *request;
    const struct document_encoder *encoder;
    void *document;
    size_t taken; /* bytes of the runs' budget */
};

static bool take_memory(void *data, size_t bytes)
{
    struct collector *collector = data;

    if (!run_take_memory(collector->subscriber.run, bytes))
        return false;
    collector->taken += bytes;
    return true;
}

/* The caller says how the collector leaves the run. */
static void collector_destroy(struct collector *collector, void (*leave)(struct subscriber *self))
{
    run_give_memory(collector->subscriber.run, collector->taken);
    leave(&collector->subscriber);
    collector->encoder->finish(collector->document);
    free(collector->document);
    free(collector);
}

static void collector_reply(struct collector *collector)
{
    static const unsigned statuses[] = {
        [RUN_finished] = 200, [RUN_cancelled] = 409, [RUN_failed] = 500};
    const struct run *run = collector->subscriber.run;
    struct buf body = {0};

    collector->encoder->end(collector->document, run_identity(run), &body);
    http_reply(collector->request, statuses[run_get_state(run)], collector->encoder->content_type,
               &body);
}

/* Read all events that there are. After the last one of the run the collector is gone. */
static void collector_read(struct collector *collector)
{
    const struct document_room room = {.take = take_memory, .data = collector};
    struct subscriber *subscriber = &collector->subscriber;
    const struct eventlog *log = run_log(subscriber->run);
    struct log_cursor cursor = subscriber->cursor;
    struct buf scratch = {0};
    struct event event;
    bool done = false;

    while (!done && cursor.at < log->end.at) {
        eventlog_read(log, &cursor, &scratch, &event);
        collector->encoder->event(collector->document, &event, &room);
        done = event_is(&event, "done");
    }
    buf_finish(&scratch);
    if (done)
        collector_reply(collector);
    run_consume(subscriber, &cursor);
    if (done)
        collector_destroy(collector, run_unsubscribe);
}

static void on_appended(struct subscriber *subscriber)
{
    collector_read((struct collector *)subscriber);
}

static void on_left(void *data)
{
    collector_destroy(data, run_leave);
}

void collect_open(struct http_request *request, struct run *run, const struct encoder *encoder)
{
    struct collector *collector = mem_alloc(sizeof *collector);
    struct run_gap gap;

    collector->subscriber.appended = on_appended;
    collector->request = request;
    collector->encoder = encoder->document;
    collector->document = mem_alloc(collector->encoder->size);
    run_subscribe(run, &collector->subscriber, 0, &gap);
    if (gap.to > 0)
        collector->encoder->gap(collector->document, &gap);
    if (!run_has_ended(run))
        http_wait(request, on_left, collector);
    collector_read(collector);
}
