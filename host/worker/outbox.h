/*
 * The frames that leave the worker: any thread appends them, and a sink takes them
 * at the end of the loop's turns, so that many events cost one write.
 *
 * A quiet outbox hands over at once. A busy one holds a few events back until
 * the next millisecond begins: each handing over wakes the front, which costs
 * as much as an event. Everything but events leaves at once, with all before it.
 * If the plugin crashes, outbox_rescue() takes those, too.
 *
 * Policy: an outbox with OUTBOX_MAX bytes is full; emitting tasks then wait
 * until the sink has taken them. Ends of runs and answers to the front are
 * appended regardless; their number is bounded by the live runs.
 *
 * Its state is guarded by the scheduler's lock.
 */
#ifndef WORKER_OUTBOX_H
#define WORKER_OUTBOX_H

#include "base/buf.h"
#include "worker/sched.h"

#define OUTBOX_MAX (4u * 1024 * 1024)

/*
 * Take frames from the start of the buffer: all, some or none. A sink that left
 * any has a turn ended once it can take more. Called by outbox_hand_over().
 */
typedef void outbox_take_fn(void *data, struct buf *frames);

struct outbox;

struct outbox *outbox_create(struct sched *sched, outbox_take_fn *take, void *data);

/* Each job holds one: a thread that is bound to a job may outlive the worker. The creator has one
 * reference. Locked. */
void outbox_ref(struct outbox *outbox);
void outbox_unref(struct outbox *outbox);

/* Return where to append frames; they leave at the end of the turn. Locked. */
struct buf *outbox_frames(struct outbox *outbox);

/* The same for EVENT: it may be held back. Locked. */
struct buf *outbox_event_frames(struct outbox *outbox);

/* Locked. */
bool outbox_is_full(const struct outbox *outbox);
bool outbox_is_empty(const struct outbox *outbox);

/* A place in the crowd: in it, a waiter is woken when there is space. */
struct outbox_place {
    struct waiter *waiter;
    TAILQ_ENTRY(outbox_place) in_crowd;
};

/* Locked. */
void outbox_join_crowd(struct outbox *outbox, struct outbox_place *place, struct waiter *waiter);
void outbox_leave_crowd(struct outbox *outbox, struct outbox_place *place);

/* The turn ends: set aside what is to leave, and wake the crowd. On the loop; locked. */
void outbox_close_turn(struct outbox *outbox);

/* Offer the sink what was set aside; return whether there was any. On the loop; the lock is not
 * needed. */
bool outbox_hand_over(struct outbox *outbox);

/* After that: poke for what had to wait until the sink had taken all. On the loop; locked. */
void outbox_follow_up(struct outbox *outbox);

/*
 * In a crash, from a signal handler: give all frames that are whole to write(), which may be
 * called twice. Does nothing if they were just being handed over. The lock is held if it could be
 * had.
 */
void outbox_rescue(struct outbox *outbox,
                   void (*write)(void *data, const char *frames, size_t length));

#endif
