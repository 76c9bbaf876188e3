/*
 * The scheduler's driver in a worker: fibers are parked and threads block until
 * they are woken, and turns are those of a libuv loop.
 *
 * The owner says what to do at the end of each turn: see struct sched_turn.
 */
#ifndef WORKER_SCHED_LOOP_H
#define WORKER_SCHED_LOOP_H

#include "worker/sched.h"

#include <uv.h>

struct sched_turn {
    /* The turn ends: what is poked until this returns is served by it. On the loop; locked. */
    void (*close)(void *data);
    /* It has ended. On the loop, not locked; may end the loop. */
    void (*closed)(void *data);
};

struct sched *sched_loop_create(uv_loop_t *loop, const struct sched_turn *turn, void *data);

/* Give the creator's reference back, once the handles are closed. No job is live. */
void sched_loop_destroy(struct sched *sched);

/* End the turn now. On the loop, not locked. */
void sched_loop_flush(struct sched *sched);

/* Continue a fiber that has just been prepared, at the end of the turn. Locked. */
void sched_loop_make_ready(struct sched *sched, struct waiter *waiter);

#endif
