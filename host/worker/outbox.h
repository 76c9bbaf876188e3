/*
 * What leaves the worker: frames appended by any thread, handed to a sink by
 * the loop at the end of its turns, so that many events cost one write. It also
 * continues the fibers that were woken.
 *
 * A quiet outbox hands over at once. A busy one holds a few events back until
 * the next millisecond begins: each handing over wakes the front, which costs
 * as much as an event. Everything but events leaves at once, with all before it.
 * What is held back is lost if the worker crashes.
 *
 * Its lock is the worker's only one: it guards the frames, all jobs and what
 * their tasks wait for. "Locked" below means that the caller holds it.
 *
 * Policy: an outbox with OUTBOX_MAX bytes is full; emitting tasks then wait
 * until the sink has taken them. Ends of runs and answers to the front are
 * appended regardless; their number is bounded by the live runs.
 */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include "base/buf.h"

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#define OUTBOX_MAX (4u * 1024 * 1024)

struct task;

struct outbox_sink {
    /*
     * Takes frames from the start of the buffer: all, some or none. When it
     * left any, it calls outbox_flush() once it can take more. On the loop.
     */
    void (*take)(void *data, struct buf *frames);
    /* A turn has ended. On the loop, not locked; it may end the loop. */
    void (*turn_ended)(void *data);
};

struct outbox;

struct outbox *outbox_create(uv_loop_t *loop, const struct outbox_sink *sink, void *data);
void outbox_destroy(struct outbox *outbox);

/* Its memory stays while it is held: a thread that is bound to a job may outlive the worker.
 * Locked. */
void outbox_hold(struct outbox *outbox);
void outbox_let_go(struct outbox *outbox);

void outbox_lock(struct outbox *outbox);
void outbox_unlock(struct outbox *outbox);
pthread_mutex_t *outbox_mutex(struct outbox *outbox);

/* Whether this thread is the loop's. */
bool outbox_is_loop(const struct outbox *outbox);

/* Where to append frames; they leave at the end of the turn. Locked. */
struct buf *outbox_frames(struct outbox *outbox);

/* The same for EVENT: it may be held back. Locked. */
struct buf *outbox_event_frames(struct outbox *outbox);

bool outbox_is_full(const struct outbox *outbox);
bool outbox_is_empty(const struct outbox *outbox);

/* Wakes the task when there is space; until then it is in the crowd. Locked. */
void outbox_join_crowd(struct outbox *outbox, struct task *task);
void outbox_leave_crowd(struct outbox *outbox, struct task *task);

/* Continues a parked fiber's task at the end of the turn. Locked. */
void outbox_make_ready(struct outbox *outbox, struct task *task);
void outbox_forget_ready(struct outbox *outbox, struct task *task);

/* Ends a turn soon, from any thread. Locked. */
void outbox_poke(struct outbox *outbox);

/* Ends the turn now. On the loop, not locked. */
void outbox_flush(struct outbox *outbox);

#endif
