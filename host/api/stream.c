/*
 * A stream sends when it is dirty, at the end of the loop's turn:
 *
 *                  opened, and the run has events
 *     opening ──────────────────────────────────► clean ◄──► dirty
 *        │ opened                                    ▲  appended, beat, writable
 *        └──────► waiting ───────────────────────────┘
 *                   the first event, or FIRST_MS
 *
 * A stream whose protocol gathers text is gathering, not clean, for GATHER_MS after it has sent:
 * what comes meanwhile is packed, so that its client gets about ten notices a second.
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
 * A client that takes nothing may hold its run up (run/readers.h): for a part of the
 * stall time if others read the run, for all of it if not, once. A stream that holds
 * nothing up may lose events before it has sent them. If the socket has begun to take
 * their frames, the feed takes those over, and the next send goes on with them, then
 * with a gap, then with what the log still has.
 *
 * A stream ends in one of four ways: its run has ended and all is sent
 * (stream_end); a question to a person ends the answer of its protocol (stream_ask); its
 * client has left (on_left); it is given up (stream_abandon). Only the last three leave the
 * run, whose time to linger may begin.
 */
#include "api/stream.h"

#include "api/pace.h"
#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/patience.h"
#include "protocol/feed.h"
#include "run/readers.h"
#include "run/runs.h"

#include <stdlib.h>
#include <string.h>

/* Time that the headers wait for an agent's first event, to leave in one packet with it. */
#define FIRST_MS 1

/* The part of the stall time for which others wait for a client that takes nothing. */
#define PATIENCE_PART 6

/* Time between two sends to a client whose protocol gathers text. */
#define GATHER_MS 100

/* Maximum bytes of events in one send. */
#define SEND_MAX (64u * 1024)

/* A client whose socket is full, and whose unread events cost this much, is behind. */
#define BEHIND (32u * 1024)

enum stream_state {
    STREAM_OPENING, /* nothing can be sent yet */
    STREAM_WAITING, /* for its first event, or FIRST_MS */
    STREAM_CLEAN,
    STREAM_GATHERING, /* it has sent less than GATHER_MS ago; only the run's end is sent now */
    STREAM_DIRTY,     /* to be flushed when the loop's turn ends */
};

struct stream {
    struct subscriber subscriber; /* first */
    struct streams *streams;
    struct http_request *request;
    struct feed feed;
    enum stream_state state;
    bool behind;                  /* text is packed */
    bool lost;                    /* unread events were dropped */
    bool hopeless;                /* so were some that were sent in part */
    size_t taken;                 /* bytes of the runs' budget, for frames of dropped events */
    struct pace pace;             /* while blocked, the stream is not made dirty */
    TAILQ_ENTRY(stream) in_all;   /* in streams->all */
    TAILQ_ENTRY(stream) in_state; /* in the list of its state in streams */
};

TAILQ_HEAD(stream_list, stream);

struct streams {
    uv_loop_t *loop;
    uv_idle_t turn_end;  /* active while a stream is dirty */
    uv_timer_t first;    /* active at least while a stream is waiting */
    uv_timer_t gathered; /* active at least while a stream is gathering */
    uv_timer_t check;
    struct pace_times times;
    struct handles handles;
    struct feed_blocks *blocks;
    struct stream_list all;
    struct stream_list waiting;
    struct stream_list gathering; /* in the order of their sends */
    struct stream_list dirty;
};

/* Return the list of the streams in this state, or NULL. */
static struct stream_list *list_of(struct streams *streams, enum stream_state state)
{
    return state == STREAM_DIRTY       ? &streams->dirty
           : state == STREAM_WAITING   ? &streams->waiting
           : state == STREAM_GATHERING ? &streams->gathering
                                       : NULL;
}

static void stream_set_state(struct stream *stream, enum stream_state state)
{
    struct stream_list *from = list_of(stream->streams, stream->state);
    struct stream_list *to = list_of(stream->streams, state);

    if (from)
        TAILQ_REMOVE(from, stream, in_state);
    stream->state = state;
    if (to)
        TAILQ_INSERT_TAIL(to, stream, in_state);
}

static void stream_give_memory(struct stream *stream)
{
    run_give_memory(stream->subscriber.run, stream->taken);
    stream->taken = 0;
}

/* The caller says how the stream leaves its run. */
static void stream_forget(struct stream *stream, void (*leave)(struct subscriber *self))
{
    stream_give_memory(stream);
    leave(&stream->subscriber);
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

    stream_forget(stream, run_unsubscribe);
    http_stream_end(request);
}

/* The client has the question; a protocol that cannot bring an answer gives the run up. */
static void stream_ask(struct stream *stream)
{
    struct http_request *request = stream->request;
    struct run *run = run_ref(stream->subscriber.run);
    bool cancels = stream->feed.cancels;

    stream_forget(stream, run_leave);
    if (cancels)
        run_cancel(run);
    run_unref(run);
    http_stream_end(request);
}

static void stream_abandon(struct stream *stream, void (*leave)(struct subscriber *self))
{
    struct http_request *request = stream->request;

    stream_forget(stream, leave);
    http_stream_reset(request);
}

static void on_gathered(uv_timer_t *timer);

/* Return how long a client may take nothing while others of its run wait, in ms. */
static uint64_t streams_patience(const struct streams *streams)
{
    return streams->times.stall_ms / PATIENCE_PART;
}

/* Go on where the log begins now; the encoder says what is missing. */
static void stream_return(struct stream *stream)
{
    const struct log_cursor *start = &run_log(stream->subscriber.run)->start;

    if (stream->feed.cursor.at < start->at)
        feed_gap(&stream->feed, start);
    run_return(&stream->subscriber, &stream->feed.cursor);
    stream->lost = false;
}

/* Keep what is left of a frame that the socket has begun to take: it cannot be made again. */
static void stream_keep(struct stream *stream)
{
    size_t kept = feed_lose(&stream->feed, stream->streams->blocks, SEND_MAX);

    if (kept == 0 || run_take_memory(stream->subscriber.run, kept))
        stream->taken += kept;
    else
        stream->hopeless = true;
}

/* What comes now is sent together. */
static void stream_gather(struct stream *stream)
{
    struct streams *streams = stream->streams;

    if (TAILQ_EMPTY(&streams->gathering))
        uv_timer_start(&streams->gathered, on_gathered, GATHER_MS, 0);
    stream_set_state(stream, STREAM_GATHERING);
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

    if (stream->lost)
        stream_return(stream);
    feed_pack(feed, stream->behind || feed->encoder->gathers);
    count = feed_view(feed, blocks, SEND_MAX, run_has_ended(stream->subscriber.run), pieces, &last);
    blocked = http_stream_send(stream->request, pieces, count, last, &sent) < 0;
    feed_sent(feed, blocks, sent);
    if (blocked && feed->encoder->recalls)
        stream_keep(stream);
    run_consume(&stream->subscriber, &feed->cursor);
    if (stream->taken > 0 && buf_length(&feed->own) == 0)
        stream_give_memory(stream);
    if (sent > 0 || blocked != stream->pace.blocked) {
        stream_stamp(stream, blocked);
        if (feed->encoder->gathers && !blocked && feed->cursor.sequence > 1) /* the host's first */
            stream_gather(stream);
    }
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

    if (stream->pace.blocked || stream->hopeless)
        return;
    more = stream_send(stream);
    if (more && stream->feed.over)
        stream_ask(stream);
    else if (more && feed_backlog(&stream->feed) > 0)
        stream_set_state(stream, STREAM_DIRTY);
    else if (more && run_has_ended(stream->subscriber.run))
        stream_end(stream);
    else if (http_stream_watch(stream->request) < 0)
        stream_abandon(stream, run_leave);
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
    if (stream->state == STREAM_GATHERING && !run_has_ended(stream->subscriber.run))
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

static void on_gathered(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    uint64_t now = uv_now(streams->loop);
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->gathering))) {
        uint64_t due = stream->pace.sent_at + GATHER_MS;
        if (due > now) {
            uv_timer_start(timer, on_gathered, due - now, 0);
            return;
        }
        stream_set_state(stream, STREAM_CLEAN);
        stream_touch(stream);
    }
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
    stream_abandon((struct stream *)subscriber, run_expel);
}

/* A frame that the socket has begun to take must be sent whole, also when its event is dropped. */
static void on_lost(struct subscriber *subscriber)
{
    struct stream *stream = (struct stream *)subscriber;

    stream_keep(stream);
    stream->lost = true;
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
    bool idle = stream->state == STREAM_CLEAN || stream->state == STREAM_GATHERING;

    stream_stamp(stream, false);
    if (!idle)
        return;
    feed_beat(&stream->feed);
    stream_touch(stream);
}

/* Bytes on their way to the client tell as well as a heartbeat whether the client has left. */
static void on_half_closed(void *data)
{
    struct stream *stream = data;

    stream->pace.half_closed = true;
    if (!stream->pace.blocked)
        stream_beat(stream);
}

/* Whoever vanished after it took nothing for about the stall time was too slow, too. */
static void on_left(void *data)
{
    struct stream *stream = data;
    const struct streams *streams = stream->streams;
    uint64_t still_ms = patience_now(streams->loop) - stream->pace.moved_at;
    bool is_slow = stream->pace.blocked && still_ms * 4 >= streams->times.stall_ms * 3;

    stream_forget(stream, is_slow ? run_expel : run_leave);
}

/* ---- opening ---- */

void stream_open(struct streams *streams, struct http_request *request, struct run *run,
                 const struct answer_form *form, uint64_t after)
{
    static const struct http_stream_handler handler = {.opened = on_opened,
                                                       .writable = on_writable,
                                                       .half_closed = on_half_closed,
                                                       .left = on_left};
    const struct encoding encoding = {
        .run = run_identity(run), .terms = form->terms, .terms_size = form->terms_size};
    struct stream *stream = mem_alloc(sizeof *stream);
    struct run_gap gap;

    stream->subscriber.appended = on_appended;
    stream->subscriber.lost = on_lost;
    stream->subscriber.is_blocked = is_blocked;
    stream->subscriber.drop = on_drop;
    stream->streams = streams;
    stream->request = request;
    stream_stamp(stream, false);
    TAILQ_INSERT_TAIL(&streams->all, stream, in_all);
    run_subscribe(run, &stream->subscriber, after, &gap);
    feed_open(&stream->feed, form->encoder, &encoding, run_log(run), &stream->subscriber.cursor,
              after, &gap);
    if (form->first) {
        stream->taken = buf_length(form->first);
        buf_append(&stream->feed.own, buf_data(form->first), stream->taken);
        buf_finish(form->first);
    }
    http_stream(request, form->encoder->content_type, &handler, stream);
}

/*
 * A feed that is over sends only what it has begun. A block has its own word for whether the
 * stream is over: so a client to whom a frame was sent in part may still be told the end.
 */
void streams_hush(struct streams *streams, const struct run *run, const struct encoder *encoder)
{
    struct stream *stream;

    TAILQ_FOREACH(stream, &streams->all, in_all)
        if (stream->subscriber.run == run && stream->feed.encoder == encoder &&
            stream->feed.encoding.terms)
            stream->feed.over = true;
}

/* ---- time ---- */

static void stream_check_stall(struct stream *stream)
{
    const struct streams *streams = stream->streams;
    uint64_t still_ms = pace_still_ms(&stream->pace, streams->loop, stream->request);

    if (still_ms >= streams->times.stall_ms) {
        log_info("a client that does not read is disconnected run=%s",
                 run_id(stream->subscriber.run));
        stream_abandon(stream, run_expel);
    } else if (still_ms >= streams_patience(streams)) {
        run_yield(&stream->subscriber);
    }
}

static void stream_check(struct stream *stream)
{
    const struct streams *streams = stream->streams;

    if (stream->hopeless) {
        log_info("a slow client is disconnected: no memory for what it has begun to read run=%s",
                 run_id(stream->subscriber.run));
        stream_abandon(stream, run_leave);
    } else if (stream->pace.blocked) {
        stream_check_stall(stream);
    } else if (pace_is_due(&stream->pace, streams->loop, &streams->times, stream->request)) {
        stream_beat(stream);
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
    TAILQ_INIT(&streams->gathering);
    TAILQ_INIT(&streams->dirty);
    uv_idle_init(loop, &streams->turn_end);
    uv_timer_init(loop, &streams->first);
    uv_timer_init(loop, &streams->gathered);
    uv_timer_init(loop, &streams->check);
    streams->turn_end.data = streams->first.data = streams->gathered.data = streams->check.data =
        streams;
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
                  &streams->gathered, &streams->check, NULL);
}
