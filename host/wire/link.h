/*
 * One end of a front-worker connection on a libuv loop: reads frames and hands
 * them to its handler; sends queued frames with one send() a loop turn.
 *
 * Work for the end of a turn hangs on an idle handle, here and elsewhere:
 * unlike a prepare handle, an idle handle that is started during its own phase
 * keeps the loop from waiting.
 *
 * Its users bound the queue: link_backlog() tells its bytes, and callers stop
 * queueing at LINK_BACKLOG_MAX.
 */
#ifndef WIRE_LINK_H
#define WIRE_LINK_H

#include "wire/frames.h"

#include <stdbool.h>
#include <uv.h>

#define LINK_BACKLOG_MAX (8u * 1024 * 1024)

/* The reason given when the other end has closed; other reasons tell of bad frames. */
#define LINK_CLOSED "it closed its connection"

struct link;

struct link_handler {
    /* A frame, valid until the call returns. A negative result ends the link. */
    int (*frame)(void *data, const struct wire_frame *frame);
    /* The queue, which the socket had refused in part, is sent. May be NULL. */
    void (*drained)(void *data);
    /*
     * The other end has closed or broken the protocol. No more calls follow;
     * the owner must still close the link. reason is for people.
     */
    void (*ended)(void *data, const char *reason);
};

/* Take over the socket; peer is the side at its other end. */
int link_open(uv_loop_t *loop, int fd, enum wire_side peer, const struct link_handler *handler,
              void *data, struct link **out);

/* Return the buffer to append frames to; they leave at the end of this loop turn. */
struct buf *link_out(struct link *link);
size_t link_backlog(const struct link *link);

/* Return true if bytes that the other end sent wait to be read. */
bool link_has_unread(const struct link *link);

/* Move all of frames to the queue, without a copy if the queue is empty. */
void link_take(struct link *link, struct buf *frames);

/* Send now as much as the socket takes. */
void link_flush(struct link *link);

/* Hand over frames that have arrived and are unread, before a dead peer's end is told. */
void link_drain(struct link *link);

/*
 * In a crash, from a signal handler: send what is queued and then these bytes, and wait for the
 * other end for a short time only. Does nothing if a send was interrupted.
 */
void link_rescue(struct link *link, const char *data, size_t length);

/* Close the socket; no handler is called from then on. NULL does nothing. */
void link_close(struct link *link);

#endif
