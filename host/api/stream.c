#include "api/stream.h"

#include "base/iov.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/native.h"
#include "run/pack.h"

#include <stdlib.h>
#include <string.h>

#define CHECK_MS 500

/* So long the headers wait for an agent's first event, to leave in one packet with it. */
#define FIRST_MS 1

/* So much is sent at once: what has begun to be sent is sent as it is. */
#define SEND_MAX (64u * 1024)

/* A client that could not be sent all, and has as much to read as this, is behind. */
#define BEHIND (32u * 1024)

enum stream_state {
    OPENING, /* nothing can be sent yet */
    WAITING, /* for its first event, or FIRST_MS */
    CLEAN,
    DIRTY, /* to be flushed when the loop's turn ends */
};

struct stream {
    struct subscriber subscriber; /* first */
    struct streams *streams;
    struct http_request *request;
    struct buf own; /* goes before the log's bytes */
    enum stream_state state;
    bool blocked;               /* the socket took no more */
    bool behind;                /* what is text is packed */
    size_t begun;               /* bytes that the next send must begin with, as the last one did */
    uint64_t sent_at;           /* ms of the loop's clock: the last progress */
    size_t unsent;              /* while blocked: what was on its way then */
    TAILQ_ENTRY(stream) in_all; /* in streams->all */
    TAILQ_ENTRY(stream) in_state; /* in streams->waiting or streams->dirty, as its state is */
};

TAILQ_HEAD(stream_list, stream);

struct streams {
    uv_loop_t *loop;
    uv_idle_t turn_end; /* active while a stream is dirty */
    uv_timer_t first;   /* active at least while a stream is waiting */
    uv_timer_t check;
    struct streams_times times;
    int handles; /* not yet closed */
    struct stream_list all;
    struct stream_list waiting;
    struct stream_list dirty;
};

static void stream_set_state(struct stream *stream, enum stream_state state)
{
    struct streams *streams = stream->streams;

    if (stream->state == WAITING)
        TAILQ_REMOVE(&streams->waiting, stream, in_state);
    else if (stream->state == DIRTY)
        TAILQ_REMOVE(&streams->dirty, stream, in_state);
    stream->state = state;
    if (state == WAITING)
        TAILQ_INSERT_TAIL(&streams->waiting, stream, in_state);
    else if (state == DIRTY)
        TAILQ_INSERT_TAIL(&streams->dirty, stream, in_state);
}

static void stream_forget(struct stream *stream)
{
    stream_set_state(stream, CLEAN);
    TAILQ_REMOVE(&stream->streams->all, stream, in_all);
    buf_finish(&stream->own);
    free(stream);
}

/* It made progress now, or counts as if it had. */
static void stream_stamp(struct stream *stream, bool blocked)
{
    stream->blocked = blocked;
    stream->sent_at = uv_now(stream->streams->loop);
    if (blocked)
        stream->unsent = http_stream_unsent(stream->request);
}

/* ---- sending ---- */

static uint64_t stream_backlog(const struct stream *stream)
{
    return run_log(stream->subscriber.run)->ring.end - stream->subscriber.cursor;
}

/* How far to send from the log now; what can be packed is put into own. */
static uint64_t stream_view_end(struct stream *stream)
{
    struct subscriber *subscriber = &stream->subscriber;
    const struct eventlog *log = run_log(subscriber->run);
    uint64_t at = subscriber->cursor;

    if (stream->begun > 0)
        return at + stream->begun - buf_length(&stream->own);
    if (!stream->behind)
        return stream_backlog(stream) > SEND_MAX ? at + SEND_MAX : log->ring.end;
    if (!eventlog_is_boundary(log, at))
        return eventlog_event_end(log, at);
    if (buf_length(&stream->own) == 0)
        run_consume(subscriber, pack_text(log, run_id(subscriber->run), at, &stream->own));
    return buf_length(&stream->own) > 0 ? subscriber->cursor : pack_find(log, at, SEND_MAX);
}

/* What to send now; last says whether the run's events end with it. */
static int stream_view(struct stream *stream, struct iovec pieces[3], bool *last)
{
    struct run *run = stream->subscriber.run;
    uint64_t end = stream_view_end(stream);
    int count = 0;

    *last = run_has_ended(run) && end == run_log(run)->ring.end;
    if (buf_length(&stream->own) > 0)
        pieces[count++] = (struct iovec){(void *)buf_data(&stream->own), buf_length(&stream->own)};
    return count + ring_view(&run_log(run)->ring, stream->subscriber.cursor, end, pieces + count);
}

static void stream_account(struct stream *stream, size_t sent)
{
    size_t own = buf_length(&stream->own);

    if (own > sent)
        own = sent;
    buf_consume(&stream->own, own);
    if (own > 0 && buf_length(&stream->own) == 0) /* it is seldom needed again */
        buf_finish(&stream->own);
    run_consume(&stream->subscriber, stream->subscriber.cursor + sent - own);
}

static void stream_end(struct stream *stream)
{
    struct http_request *request = stream->request;

    run_unsubscribe(&stream->subscriber);
    stream_forget(stream);
    http_stream_end(request);
}

/* One send; whether the socket may take more. A socket in error is told by left(). */
static bool stream_send(struct stream *stream)
{
    struct iovec pieces[3];
    bool last;
    int count = stream_view(stream, pieces, &last);
    size_t sent, all = pieces_length(pieces, count);
    bool blocked = http_stream_send(stream->request, pieces, count, last, &sent) < 0;

    stream_account(stream, sent);
    stream->begun = all - sent;
    if (sent > 0 || blocked != stream->blocked)
        stream_stamp(stream, blocked);
    if (blocked && stream_backlog(stream) >= BEHIND)
        stream->behind = true;
    if (stream_backlog(stream) == 0)
        stream->behind = false;
    return !blocked;
}

static void stream_abandon(struct stream *stream)
{
    struct http_request *request = stream->request;

    run_leave(&stream->subscriber);
    stream_forget(stream);
    http_stream_reset(request);
}

/* Sends what there is. */
static void stream_flush(struct stream *stream)
{
    bool more = true;

    if (stream->blocked)
        return;
    do
        more = stream_send(stream);
    while (more && stream_backlog(stream) > 0);
    if (more && run_has_ended(stream->subscriber.run))
        stream_end(stream);
    else if (http_stream_watch(stream->request) < 0)
        stream_abandon(stream);
}

static void on_turn_end(uv_idle_t *idle)
{
    struct streams *streams = idle->data;
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->dirty))) {
        stream_set_state(stream, CLEAN);
        stream_flush(stream);
    }
    uv_idle_stop(idle);
}

static void stream_touch(struct stream *stream)
{
    struct streams *streams = stream->streams;

    if (stream->state == DIRTY || stream->state == OPENING || stream->blocked)
        return;
    if (TAILQ_EMPTY(&streams->dirty))
        uv_idle_start(&streams->turn_end, on_turn_end);
    stream_set_state(stream, DIRTY);
}

static void on_first_time(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->waiting)))
        stream_touch(stream);
}

static void on_appended(struct subscriber *subscriber)
{
    stream_touch((struct stream *)subscriber);
}

/* Most agents say something soon, and many all they have to say. */
static void on_opened(void *data)
{
    struct stream *stream = data;
    struct streams *streams = stream->streams;
    bool has_events = run_log(stream->subscriber.run)->last > 1; /* than the host's first */

    if (!has_events && TAILQ_EMPTY(&streams->waiting))
        uv_timer_start(&streams->first, on_first_time, FIRST_MS, 0);
    stream_set_state(stream, has_events ? CLEAN : WAITING);
    if (has_events)
        stream_touch(stream);
}

static void on_writable(void *data)
{
    struct stream *stream = data;

    stream_stamp(stream, false);
    stream_touch(stream);
}

static void on_left(void *data)
{
    struct stream *stream = data;

    run_leave(&stream->subscriber);
    stream_forget(stream);
}

/* ---- opening ---- */

/* The gap's id is that of the last event in it: who resumes behind it is not told again. */
static void stream_tell_gap(struct stream *stream, const char *id, const struct run_gap *gap)
{
    struct event event = {.sequence = gap->to, .type = "gap", .type_length = strlen("gap")};
    struct buf json = {0};

    buf_printf(&json, "{\"from\":%llu,\"to\":%llu}", (unsigned long long)gap->from,
               (unsigned long long)gap->to);
    event.json = buf_data(&json);
    event.json_length = buf_length(&json);
    encode_sse_event(&stream->own, id, &event);
    buf_finish(&json);
}

void stream_open(struct streams *streams, struct http_request *request, struct run *run,
                 uint64_t after)
{
    static const struct http_stream_handler handler = {
        .opened = on_opened, .writable = on_writable, .left = on_left};
    struct stream *stream = mem_alloc(sizeof *stream);
    struct run_gap gap;

    stream->subscriber.appended = on_appended;
    stream->streams = streams;
    stream->request = request;
    stream->sent_at = uv_now(streams->loop);
    TAILQ_INSERT_TAIL(&streams->all, stream, in_all);
    run_subscribe(run, &stream->subscriber, after, &gap);
    encode_sse_begin(&stream->own, run_id(run), after);
    if (gap.to > 0)
        stream_tell_gap(stream, run_id(run), &gap);
    http_stream(request, ENCODE_SSE_CONTENT_TYPE, &handler, stream);
}

/* ---- time ---- */

/* Only a stream that has sent everything is idle: a heartbeat never cuts an event. */
static void stream_beat(struct stream *stream)
{
    bool idle = stream->state == CLEAN;

    stream_stamp(stream, false);
    if (!idle)
        return;
    buf_puts(&stream->own, ENCODE_SSE_HEARTBEAT);
    stream_touch(stream);
}

/* Nothing was sent for long: either its client reads slowly what is on its way, or not at all. */
static void stream_check_stall(struct stream *stream)
{
    if (http_stream_unsent(stream->request) < stream->unsent) {
        stream_stamp(stream, true);
        return;
    }
    log_info("a client that does not read is disconnected run=%s", run_id(stream->subscriber.run));
    stream_abandon(stream);
}

/* A walk over all, twice a second, is less than keeping them in order at each event. */
static void on_check(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    struct stream *stream, *next;

    for (stream = TAILQ_FIRST(&streams->all); stream; stream = next) {
        uint64_t quiet_ms = uv_now(streams->loop) - stream->sent_at;
        next = TAILQ_NEXT(stream, in_all);
        if (stream->blocked && quiet_ms >= streams->times.stall_ms)
            stream_check_stall(stream);
        else if (!stream->blocked && quiet_ms >= streams->times.heartbeat_ms)
            stream_beat(stream);
    }
}

struct streams *streams_create(uv_loop_t *loop, const struct streams_times *times)
{
    struct streams *streams = mem_alloc(sizeof *streams);

    streams->loop = loop;
    streams->times = *times;
    streams->handles = 3;
    TAILQ_INIT(&streams->all);
    TAILQ_INIT(&streams->waiting);
    TAILQ_INIT(&streams->dirty);
    uv_idle_init(loop, &streams->turn_end);
    uv_timer_init(loop, &streams->first);
    uv_timer_init(loop, &streams->check);
    streams->turn_end.data = streams->first.data = streams->check.data = streams;
    uv_timer_start(&streams->check, on_check, CHECK_MS, CHECK_MS);
    return streams;
}

void streams_set_times(struct streams *streams, const struct streams_times *times)
{
    streams->times = *times;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct streams *streams = handle->data;

    if (--streams->handles == 0)
        free(streams);
}

void streams_destroy(struct streams *streams)
{
    uv_close((uv_handle_t *)&streams->turn_end, on_handle_closed);
    uv_close((uv_handle_t *)&streams->first, on_handle_closed);
    uv_close((uv_handle_t *)&streams->check, on_handle_closed);
}
