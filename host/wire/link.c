/*
 * Reading: each readable event reads once, so that a peer that never pauses cannot
 * keep the loop, and hands over every frame that is whole. Writing: frames
 * collect in one buffer that is sent at the end of the turn; if the socket is full,
 * the link waits until it is writable, and tells drained() when all is sent.
 *
 * The end of the connection comes together with the last frames. The turn that sees a
 * dead peer gone also reads all that the peer left, so nobody sends it anything in
 * between.
 *
 * A failed send() ends nothing by itself: the peer may have sent frames before it
 * left, for example how its runs ended. The read side finds the end of the
 * connection after those frames.
 */
#include "wire/link.h"

#include "base/handles.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (256 * 1024)

/* A dead peer left at most a socket buffer of frames; its children's writes must not keep us
 * reading. */
#define DRAIN_READS 16

/* How long a crash waits for the other end to take more. */
#define RESCUE_MS 500

struct link {
    uv_poll_t poll;
    uv_idle_t turn_end; /* active while something is to be sent */
    int fd;
    struct handles handles;
    enum wire_side peer;
    bool ended;
    bool blocked;             /* the socket took no more */
    volatile bool is_sending; /* a crash must not send the same again */
    struct buf in;
    struct buf out;
    const struct link_handler *handler;
    void *data;
};

static void link_end(struct link *link, const char *reason)
{
    if (link->ended)
        return;
    link->ended = true;
    uv_poll_stop(&link->poll);
    uv_idle_stop(&link->turn_end);
    link->handler->ended(link->data, reason);
}

/* Hand over the frames that have arrived whole. */
static void link_dispatch(struct link *link)
{
    struct wire_frame frame;
    ssize_t size = 0;

    while (!link->ended && (size = wire_next(&link->in, link->peer, &frame)) > 0) {
        int status = link->handler->frame(link->data, &frame);
        if (status < 0) {
            char reason[64];

            snprintf(reason, sizeof reason, "it sent an invalid %s frame", wire_name(frame.type));
            link_end(link, reason);
            return;
        }
        buf_consume(&link->in, (size_t)size);
    }
    if (size < 0)
        link_end(link, "it sent bytes that are no frame");
}

/* Read once; return false if nothing came. */
static bool link_read(struct link *link)
{
    char *space = buf_reserve(&link->in, READ_SIZE);
    ssize_t got = recv(link->fd, space, READ_SIZE, MSG_DONTWAIT);

    if (got > 0) {
        buf_commit(&link->in, (size_t)got);
        link_dispatch(link);
        return true;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        link_end(link, LINK_CLOSED);
    return false;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;

    if (status < 0) { /* the socket is in error; frames may still be unread */
        link_drain(link);
        link_end(link, LINK_CLOSED);
        return;
    }
    if (events & UV_WRITABLE)
        link_flush(link);
    if (events & UV_DISCONNECT)
        link_drain(link);
    else if (!link->ended && events & UV_READABLE)
        link_read(link);
}

static void link_watch(struct link *link, bool blocked)
{
    if (link->blocked == blocked)
        return;
    link->blocked = blocked;
    uv_poll_start(&link->poll, UV_READABLE | UV_DISCONNECT | (blocked ? UV_WRITABLE : 0), on_poll);
}

static void on_turn_end(uv_idle_t *idle)
{
    link_flush(idle->data);
}

void link_flush(struct link *link)
{
    bool was_blocked = link->blocked;

    uv_idle_stop(&link->turn_end);
    while (!link->ended && buf_length(&link->out) > 0) {
        ssize_t sent;
        link->is_sending = true;
        sent = send(link->fd, buf_data(&link->out), buf_length(&link->out),
                    MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            buf_consume(&link->out, (size_t)sent);
        link->is_sending = false;
        if (sent >= 0)
            continue;
        if (errno == EAGAIN) {
            link_watch(link, true);
            return;
        } else if (errno != EINTR) {
            /* Frames that the peer sent before it left are still unread; reading tells its end. */
            buf_consume(&link->out, buf_length(&link->out));
            return;
        }
    }
    if (link->ended)
        return;
    link_watch(link, false);
    if (was_blocked && link->handler->drained)
        link->handler->drained(link->data);
}

struct buf *link_out(struct link *link)
{
    if (!link->ended && !link->blocked && !uv_is_active((uv_handle_t *)&link->turn_end))
        uv_idle_start(&link->turn_end, on_turn_end);
    return &link->out;
}

size_t link_backlog(const struct link *link)
{
    return buf_length(&link->out);
}

bool link_has_unread(const struct link *link)
{
    char byte;

    return !link->ended && recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void link_take(struct link *link, struct buf *frames)
{
    struct buf *out = link_out(link);

    if (buf_length(out) == 0) {
        buf_swap(out, frames);
        return;
    }
    buf_append(out, buf_data(frames), buf_length(frames));
    buf_consume(frames, buf_length(frames));
}

void link_drain(struct link *link)
{
    for (int i = 0; i < DRAIN_READS && !link->ended && link_read(link); i++)
        ;
}

int link_open(uv_loop_t *loop, int fd, enum wire_side peer, const struct link_handler *handler,
              void *data, struct link **out)
{
    struct link *link = mem_alloc(sizeof *link);
    int status = uv_poll_init(loop, &link->poll, fd);

    if (status < 0) {
        free(link);
        return status;
    }
    uv_idle_init(loop, &link->turn_end);
    link->poll.data = link->turn_end.data = link;
    link->fd = fd;
    link->peer = peer;
    link->handler = handler;
    link->data = data;
    uv_poll_start(&link->poll, UV_READABLE | UV_DISCONNECT, on_poll);
    *out = link;
    return 0;
}

static void on_closed(void *owner)
{
    struct link *link = owner;

    buf_finish(&link->in);
    buf_finish(&link->out);
    free(link);
}

/* Send all; return false if the other end does not take it in time. */
static bool link_send_now(const struct link *link, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(link->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        struct pollfd room = {.fd = link->fd, .events = POLLOUT};
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (errno != EINTR && (errno != EAGAIN || poll(&room, 1, RESCUE_MS) <= 0)) {
            return false;
        }
    }
    return true;
}

void link_rescue(struct link *link, const char *data, size_t length)
{
    size_t queued = buf_length(&link->out);

    if (link->ended || link->is_sending)
        return;
    link->out.start += queued;
    link->ended = !link_send_now(link, buf_data(&link->out) - queued, queued) ||
                  !link_send_now(link, data, length);
}

void link_close(struct link *link)
{
    if (link == NULL)
        return;
    link->ended = true;
    handles_close(&link->handles, on_closed, link, &link->poll, &link->turn_end, NULL);
    close(link->fd);
}
