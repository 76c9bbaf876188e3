/*
 * The worker's scheduler: its lock, who waits, and when a turn of its loop ends.
 *
 * The lock is the worker's only one. It guards the outbox, all jobs and what
 * their tasks wait for. "Locked" in a comment means that the caller holds it;
 * sched_assert_locked() checks that where SCHED_CHECKS is defined.
 *
 * How a task waits is a driver's matter: sched_loop.h has the driver of the
 * worker, where a fiber is parked and a thread blocks; the test library has one
 * with a virtual clock.
 */
#ifndef WORKER_SCHED_H
#define WORKER_SCHED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct fiber;
struct sched;

/* What waits: part of a task. */
struct waiter {
    struct fiber *fiber; /* NULL on a thread */
    bool woken;
    bool ready;      /* in the ready list of the loop's driver */
    bool needs_task; /* only another task can wake it */
    pthread_cond_t wake;
    TAILQ_ENTRY(waiter) in_ready;
};

void waiter_init(struct waiter *waiter, struct fiber *fiber);
void waiter_finish(struct waiter *waiter);

struct sched_driver {
    /* Now, in nanoseconds. Locked or not. */
    uint64_t (*now)(void *data);
    /* The millisecond of this turn. Frames that a turn holds back may leave in a later one. */
    uint64_t (*turn_ms)(void *data);
    /* Whether this thread is the loop's. */
    bool (*is_loop)(void *data);
    /* Wait until waiter->woken or the deadline; give the lock back meanwhile. Locked. */
    void (*wait)(void *data, struct waiter *waiter, uint64_t deadline);
    /* The waiter has just been woken. Any thread; locked. */
    void (*wake)(void *data, struct waiter *waiter);
    /* End a turn soon. Any thread; locked. */
    void (*poke)(void *data);
    /* End a turn when the next millisecond begins. On the loop; locked. */
    void (*poke_later)(void *data);
    /* The last reference is gone. */
    void (*destroy)(void *data);
};

/* One reference. */
struct sched *sched_create(const struct sched_driver *driver, void *data);
void *sched_data(const struct sched *sched);

/* The memory stays while it is held: a thread that is bound to a job may outlive the worker. After
 * the last sched_unref(), sched_unlock() frees it. Locked. */
void sched_ref(struct sched *sched);
void sched_unref(struct sched *sched);

void sched_lock(struct sched *sched);
void sched_unlock(struct sched *sched);

/* Take the lock if nobody has it, this thread included. */
bool sched_try_lock(struct sched *sched);

uint64_t sched_now(struct sched *sched);
uint64_t sched_turn_ms(struct sched *sched);
bool sched_is_loop(struct sched *sched);

/*
 * Wait until sched_wake() or the deadline, which may be NEVER or over: 0 or
 * -ETIMEDOUT. Give the lock back meanwhile, and the loop its turn, also when
 * the deadline is over. Locked.
 */
int sched_wait(struct sched *sched, struct waiter *waiter, uint64_t deadline);

/* Any thread; locked. */
void sched_wake(struct sched *sched, struct waiter *waiter);

/* End a turn soon. Any thread; locked. */
void sched_poke(struct sched *sched);

/* End a turn when the next millisecond begins. On the loop; locked. */
void sched_poke_later(struct sched *sched);

/* For drivers: the lock to wait with, and whether a poke is already on its way. Locked. */
pthread_mutex_t *sched_mutex(struct sched *sched);
void sched_set_poked(struct sched *sched, bool poked);

#ifdef SCHED_CHECKS
void sched_assert_locked(const struct sched *sched);
#else
#define sched_assert_locked(sched) ((void)sizeof(sched)) /* not evaluated */
#endif

#endif
