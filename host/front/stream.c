#include "front/stream.h"

#include "common/mem.h"
#include "front/encode_sse.h"

#include <stdlib.h>
#include <string.h>

#define HEARTBEAT_CHECK_MS 1000

struct stream {
    struct subscriber subscriber; /* first */
    struct streams *streams;
    struct http_request *request;
    struct buf own; /* the beginning, or a heartbeat; goes before the log's bytes */
    bool opened;    /* the headers are out */
    bool blocked;   /* the socket took no more */
    bool dirty;
    uint64_t sent_at;             /* ms of the loop's clock */
    TAILQ_ENTRY(stream) in_open;  /* in streams->open, least recently sent first */
    TAILQ_ENTRY(stream) in_dirty; /* in streams->dirty */
};

struct streams {
    uv_loop_t *loop;
    uv_idle_t turn_end; /* active while a stream is dirty */
    uv_timer_t heartbeat;
    uint64_t heartbeat_ms;
    int handles; /* not yet closed */
    TAILQ_HEAD(, stream) open;
    TAILQ_HEAD(, stream) dirty;
};

static void stream_forget(struct stream *stream)
{
    struct streams *streams = stream->streams;

    TAILQ_REMOVE(&streams->open, stream, in_open);
    if (stream->dirty)
        TAILQ_REMOVE(&streams->dirty, stream, in_dirty);
    buf_finish(&stream->own);
    free(stream);
}

static int stream_view(const struct stream *stream, struct iovec pieces[3])
{
    int count = 0;

    if (buf_length(&stream->own) > 0)
        pieces[count++] = (struct iovec){(void *)buf_data(&stream->own), buf_length(&stream->own)};
    return count + eventlog_view(run_log(stream->subscriber.run), stream->subscriber.cursor,
                                 pieces + count);
}

/* The heartbeat of this stream is due anew. */
static void stream_stamp(struct stream *stream)
{
    stream->sent_at = uv_now(stream->streams->loop);
    TAILQ_REMOVE(&stream->streams->open, stream, in_open);
    TAILQ_INSERT_TAIL(&stream->streams->open, stream, in_open);
}

static void stream_account(struct stream *stream, size_t sent)
{
    size_t own = buf_length(&stream->own);

    if (own > sent)
        own = sent;
    buf_consume(&stream->own, own);
    stream_stamp(stream);
    run_consume(&stream->subscriber, stream->subscriber.cursor + sent - own);
}

static void stream_end(struct stream *stream)
{
    struct http_request *request = stream->request;

    run_unsubscribe(&stream->subscriber);
    stream_forget(stream);
    http_stream_end(request);
}

/* Sends what there is. A socket in error is told by left(). */
static void stream_flush(struct stream *stream)
{
    struct run *run = stream->subscriber.run;
    struct iovec pieces[3];
    int count = stream_view(stream, pieces);
    size_t sent;

    if (!stream->opened || stream->blocked)
        return;
    stream->blocked = http_stream_send(stream->request, pieces, count, &sent) < 0;
    if (sent > 0)
        stream_account(stream, sent);
    if (!stream->blocked && run_has_ended(run))
        stream_end(stream);
}

static void on_turn_end(uv_idle_t *idle)
{
    struct streams *streams = idle->data;
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->dirty))) {
        TAILQ_REMOVE(&streams->dirty, stream, in_dirty);
        stream->dirty = false;
        stream_flush(stream);
    }
    uv_idle_stop(idle);
}

static void stream_touch(struct stream *stream)
{
    struct streams *streams = stream->streams;

    if (stream->dirty || stream->blocked || !stream->opened)
        return;
    if (TAILQ_EMPTY(&streams->dirty))
        uv_idle_start(&streams->turn_end, on_turn_end);
    stream->dirty = true;
    TAILQ_INSERT_TAIL(&streams->dirty, stream, in_dirty);
}

static void on_appended(struct subscriber *subscriber, const struct run_event *event)
{
    (void)event;
    stream_touch((struct stream *)subscriber);
}

static void on_opened(void *data)
{
    struct stream *stream = data;

    stream->opened = true;
    stream_touch(stream);
}

static void on_writable(void *data)
{
    struct stream *stream = data;

    stream->blocked = false;
    stream_touch(stream);
}

static void on_left(void *data)
{
    struct stream *stream = data;

    run_leave(&stream->subscriber);
    stream_forget(stream);
}

void stream_open(struct streams *streams, struct http_request *request, struct run *run)
{
    static const struct http_stream_handler handler = {
        .opened = on_opened, .writable = on_writable, .left = on_left};
    struct stream *stream = mem_alloc(sizeof *stream);

    stream->subscriber.appended = on_appended;
    stream->streams = streams;
    stream->request = request;
    stream->sent_at = uv_now(streams->loop);
    buf_puts(&stream->own, ENCODE_SSE_BEGIN);
    TAILQ_INSERT_TAIL(&streams->open, stream, in_open);
    run_subscribe(run, &stream->subscriber);
    http_stream(request, ENCODE_SSE_CONTENT_TYPE, &handler, stream);
}

/* Only a stream that has sent everything is idle: a heartbeat never cuts an event. */
static void stream_beat(struct stream *stream)
{
    bool idle = stream->opened && !stream->blocked && !stream->dirty;

    stream_stamp(stream);
    if (!idle)
        return;
    buf_puts(&stream->own, ENCODE_SSE_HEARTBEAT);
    stream_touch(stream);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct streams *streams = timer->data;
    struct stream *stream;

    while ((stream = TAILQ_FIRST(&streams->open)) &&
           uv_now(streams->loop) - stream->sent_at >= streams->heartbeat_ms)
        stream_beat(stream);
}

struct streams *streams_create(uv_loop_t *loop, unsigned heartbeat_s)
{
    struct streams *streams = mem_alloc(sizeof *streams);

    streams->loop = loop;
    streams->heartbeat_ms = heartbeat_s * UINT64_C(1000);
    streams->handles = 2;
    TAILQ_INIT(&streams->open);
    TAILQ_INIT(&streams->dirty);
    uv_idle_init(loop, &streams->turn_end);
    uv_timer_init(loop, &streams->heartbeat);
    streams->turn_end.data = streams->heartbeat.data = streams;
    uv_timer_start(&streams->heartbeat, on_heartbeat, HEARTBEAT_CHECK_MS, HEARTBEAT_CHECK_MS);
    return streams;
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
    uv_close((uv_handle_t *)&streams->heartbeat, on_handle_closed);
}
