/*
 * One end of a front-worker connection on a libuv loop: reads frames and hands
 * them over, writes what is queued with one send a loop turn.
 *
 * The end of a turn is an idle handle, here and elsewhere: unlike a prepare
 * handle, one that is started while its phase runs keeps the loop from waiting.
 *
 * What is queued to be sent is bounded by its users: link_backlog() tells how
 * much is waiting, and whoever queues more stops at LINK_BACKLOG_MAX.
 */
#ifndef WIRE_LINK_H
#define WIRE_LINK_H

#include "wire/frames.h"

#include <uv.h>

#define LINK_BACKLOG_MAX (8u * 1024 * 1024)

/* The reason told when the other end has closed; others tell of bad frames. */
#define LINK_CLOSED "it closed its connection"

struct link;

struct link_handler {
    /* A frame; valid until it returns. A negative result ends the link. */
    int (*frame)(void *data, const struct wire_frame *frame);
    /* What the socket had not taken at once has been sent. May be NULL. */
    void (*drained)(void *data);
    /*
     * The other end is gone, or sent what is no frame. No more calls follow;
     * the link is still to be closed. reason is for people.
     */
    void (*ended)(void *data, const char *reason);
};

/* Owns the socket from now on; peer is the side at its other end. */
int link_open(uv_loop_t *loop, int fd, enum wire_side peer, const struct link_handler *handler,
              void *data, struct link **out);

/* Where to append frames; they leave at the end of this loop turn. */
struct buf *link_out(struct link *link);
size_t link_backlog(const struct link *link);

/* Takes all of frames over to be sent, without a copy when nothing is queued. */
void link_take(struct link *link, struct buf *frames);

/* Sends what it can now. */
void link_flush(struct link *link);

/* Hands over what has arrived and is still unread; before a dead peer's end is told. */
void link_drain(struct link *link);

/* Closes the socket; no handler is called any more. NULL is fine. */
void link_close(struct link *link);

#endif
