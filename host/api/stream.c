/*
 * A stream sends when it is dirty, at the end of the loop's turn:
 *
 *                  opened, and the run has events
 *     opening ──────────────────────────────────► clean ◄──► dirty
 *        │ opened                                    ▲  appended, beat, writable
 *        └──────► waiting ───────────────────────────┘
 *                   the first event, or FIRST_MS
 *
 * A send that the socket did not take whole blocks the stream: it is no longer
 * made dirty until the socket is writable. Its feed (protocol/feed.h) remembers what
 * was begun, and the next send begins with exactly those bytes, as the open
 * chunk and the TLS record need it.
 *
 * Each dirty stream sends once, then the next stream, and so on until nothing is
 * left or blocked. So readers of one run ask for the same block of encoded events
 * one after the other, and a long log does not keep others waiting.
 *
 * A stream ends in one of three ways: its run has ended and all is sent
 * (stream_end); its client has left (on_left); it is given up (stream_abandon). Only
 * the last two leave the run, whose time to linger may begin.
 */
#include "api/stream.h"

#include "api/pace.h"
#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/feed.h"
#include "run/readers.h"

#include <stdlib.h>
#include <string.h>

/* Time that the headers wait for an agent's first event, to leave in one packet with it. */
#define FIRST_MS 1

/* Maximum bytes of events in one send. */
#define SEND_MAX (64u * 1024)

/* A client whose socket is full, and whose unread events cost this much, is behind. */
#define BEHIND (32u * 1024)

enum stream_state {
    STREAM_OPENING, /* nothing can be sent yet */
    STREAM_WAITING, /* for its first event, or FIRST_MS */
    STREAM_CLEAN,
    STREAM_DIRTY, /* to be flushed when the loop's turn ends */
};

struct stream {
    struct subscriber subscriber; /* first */
    struct streams *streams;
    struct http_request *request;
    struct feed feed;
    enum stream_state state;
    bool behind;                  /* text is packed */
    struct pace pace;             /* while blocked, the stream is not made dirty */
    TAILQ_ENTRY(stream) in_all;   /* in streams->all */
    TAILQ_ENTRY(stream) in_state; /* in streams->waiting or streams->dirty, by its state */
};

TAILQ_HEAD(stream_list, stream);

struct streams {
    uv_loop_t *loop;
    uv_idle_t turn_end; /* active while a stream is dirty */
    uv_timer_t first;   /* active at least while a stream is waiting */
    uv_timer_t check;
    struct pace_times times;
    struct handles handles;
    struct feed_blocks *blocks;
    struct stream_list all;
    struct stream_list waiting;
    struct stream_list dirty;
};

static void stream_set_state(struct stream *stream, enum stream_state state)
{
    struct streams *streams = stream->streams;

    if (stream->state == STREAM_WAITING)
        TAILQ_REMOVE(&streams->waiting, stream, in_state);
    else if (stream->state == STREAM_DIRTY)
        TAILQ_REMOVE(&streams->dirty, stream, in_state);
    stream->state = state;
    if (state == STREAM_WAITING)
        TAILQ_INSERT_TAIL(&streams->waiting, stream, in_state);
    else if (state == STREAM_DIRTY)
        TAILQ_INSERT_TAIL(&streams->dirty, stream, in_state);
}

static void stream_forget(struct stream *stream)
{
    stream_set_state(stream, STREAM_CLEAN);
    TAILQ_REMOVE(&stream->streams->all, stream, in_all);
    feed_close(&stream->feed);
    free(stream);
}

/* The stream makes progress now, or counts as if it did. */
static void stream_stamp(struct stream *stream, bool blocked)
{
    pace_stamp(&stream->pace, stream->streams->loop, stream->request, blocked);
}

/* ---- sending ---- */

static void stream_end(struct stream *stream)
{
    struct http_request *request = stream->request;

    run_unsubscribe(&stream->subscriber);
    stream_forget(stream);
    http_stream_end(request);
}

static void stream_abandon(struct stream *stream)
{
    struct http_request *request = stream->request;

    run_leave(&stream->subscriber);
    stream_forget(stream);
    http_stream_reset(request);
}

/* Send once; return true if the socket may take more. left() tells of a socket in error. */
static bool stream_send(struct stream *stream)
{
    struct feed *feed = &stream->feed;
    struct feed_blocks *blocks = stream->streams->blocks;
    struct iovec pieces[2];
    bool last, blocked;
    size_t sent;
    int count;

    feed_pack(feed, stream->behind);
    count = feed_view(feed, blocks, SEND_MAX, pieces, &last);
    last = last && run_has_ended(stream->subscriber.run);
    blocked = http_stream_send(stream->request, pieces, count, last, &sent) < 0;
    feed_sent(feed, blocks, sent);
    run_consume(&stream->subscriber, &feed->cursor);
    if (sent > 0 || blocked != stream->pace.blocked)
        stream_stamp(stream, blocked);
    if (blocked && feed_backlog(feed) >= BEHIND)
        stream->behind = true;
    if (feed_backlog(feed) == 0)
        stream->behind = false;
    return !blocked;
}

/* Send once, and again after the other dirty streams if more is to be sent. */
static void stream_flush(struct stream *stream)
{
    bool more;

    if (stream->pace.blocked)
        return;
    more = stream_send(stream);
    if (more && feed_backlog(&stream->feed) > 0)
        stream_set_state(stream, STREAM_DIRTY);
    else if (more && run_has_ended(stream->subscriber.run))
        stream_end(stream);
    else if (http_stream_watch(stream->request) < 0)
        stream_abandon(stream);
}

static void on_turn_end(uv_idle_t *idle)
{
    struct streams *streams = idle->data;
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->dirty))) {
        stream_set_state(stream, STREAM_CLEAN);
        stream_flush(stream);
    }
    uv_idle_stop(idle);
}

static void stream_touch(struct stream *stream)
{
    struct streams *streams = stream->streams;

    if (stream->state == STREAM_DIRTY || stream->state == STREAM_OPENING || stream->pace.blocked)
        return;
    if (TAILQ_EMPTY(&streams->dirty))
        uv_idle_start(&streams->turn_end, on_turn_end);
    stream_set_state(stream, STREAM_DIRTY);
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

static bool is_blocked(const struct subscriber *subscriber)
{
    return ((const struct stream *)subscriber)->pace.blocked;
}

static void on_drop(struct subscriber *subscriber)
{
    stream_abandon((struct stream *)subscriber);
}

/* Wait for the agent's first event: most agents say something soon, and many all they have to say.
 */
static void on_opened(void *data)
{
    struct stream *stream = data;
    struct streams *streams = stream->streams;
    bool has_events = eventlog_last(run_log(stream->subscriber.run)) > 1; /* the host's first */

    if (!has_events && TAILQ_EMPTY(&streams->waiting))
        uv_timer_start(&streams->first, on_first_time, FIRST_MS, 0);
    stream_set_state(stream, has_events ? STREAM_CLEAN : STREAM_WAITING);
    if (has_events)
        stream_touch(stream);
}

static void on_writable(void *data)
{
    struct stream *stream = data;

    stream_stamp(stream, false);
    stream_touch(stream);
}

/* Only a stream that has sent everything gets a heartbeat: so none cuts an event. */
static void stream_beat(struct stream *stream)
{
    bool idle = stream->state == STREAM_CLEAN;

    stream_stamp(stream, false);
    if (!idle)
        return;
    feed_beat(&stream->feed);
    stream_touch(stream);
}

/* What is on its way to the client tells as well as a heartbeat whether the client has left. */
static void on_half_closed(void *data)
{
    struct stream *stream = data;

    stream->pace.half_closed = true;
    if (!stream->pace.blocked)
        stream_beat(stream);
}

static void on_left(void *data)
{
    struct stream *stream = data;

    run_leave(&stream->subscriber);
    stream_forget(stream);
}

/* ---- opening ---- */

void stream_open(struct streams *streams, struct http_request *request, struct run *run,
                 const struct encoder *encoder, uint64_t after)
{
    static const struct http_stream_handler handler = {.opened = on_opened,
                                                       .writable = on_writable,
                                                       .half_closed = on_half_closed,
                                                       .left = on_left};
    struct stream *stream = mem_alloc(sizeof *stream);
    struct run_gap gap;

    stream->subscriber.appended = on_appended;
    stream->subscriber.is_blocked = is_blocked;
    stream->subscriber.drop = on_drop;
    stream->streams = streams;
    stream->request = request;
    stream_stamp(stream, false);
    TAILQ_INSERT_TAIL(&streams->all, stream, in_all);
    run_subscribe(run, &stream->subscriber, after, &gap);
    feed_open(&stream->feed, encoder, run_identity(run), run_log(run), &stream->subscriber.cursor,
              after, &gap);
    http_stream(request, encoder->content_type, &handler, stream);
}

/* ---- time ---- */

static void stream_check(struct stream *stream)
{
    const struct streams *streams = stream->streams;

    if (!stream->pace.blocked) {
        if (pace_is_due(&stream->pace, streams->loop, &streams->times, stream->request))
            stream_beat(stream);
    } else if (pace_still_ms(&stream->pace, streams->loop, stream->request) >=
               streams->times.stall_ms) {
        log_info("a client that does not read is disconnected run=%s",
                 run_id(stream->subscriber.run));
        stream_abandon(stream);
    }
}

/* A walk over all streams, twice a second, is cheaper than to keep them in order at each event. */
static void on_check(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    struct stream *stream, *next;

    for (stream = TAILQ_FIRST(&streams->all); stream; stream = next) {
        next = TAILQ_NEXT(stream, in_all);
        stream_check(stream);
    }
}

struct streams *streams_create(uv_loop_t *loop, const struct pace_times *times)
{
    struct streams *streams = mem_alloc(sizeof *streams);

    streams->loop = loop;
    streams->times = *times;
    streams->blocks = feed_blocks_create();
    TAILQ_INIT(&streams->all);
    TAILQ_INIT(&streams->waiting);
    TAILQ_INIT(&streams->dirty);
    uv_idle_init(loop, &streams->turn_end);
    uv_timer_init(loop, &streams->first);
    uv_timer_init(loop, &streams->check);
    streams->turn_end.data = streams->first.data = streams->check.data = streams;
    uv_timer_start(&streams->check, on_check, PACE_CHECK_MS, PACE_CHECK_MS);
    return streams;
}

void streams_set_times(struct streams *streams, const struct pace_times *times)
{
    streams->times = *times;
}

static void on_closed(void *owner)
{
    struct streams *streams = owner;

    feed_blocks_destroy(streams->blocks);
    free(streams);
}

void streams_destroy(struct streams *streams)
{
    handles_close(&streams->handles, on_closed, streams, &streams->turn_end, &streams->first,
                  &streams->check, NULL);
}
