/*
 * The lock is a plain mutex. With SCHED_CHECKS each thread remembers which
 * scheduler it has locked: so an assertion costs a comparison, knows the owner
 * and not only that there is one, and catches a lock that is taken twice.
 *
 *     unit tests, the test library, builds with sanitizers    SCHED_CHECKS
 *     releases                                                 nothing
 *
 * A condition variable's wait keeps the note, as the thread cannot run
 * meanwhile. A fiber must not keep it: its thread goes on with other fibers; so
 * the loop's driver unlocks before it parks one.
 *
 * One flag, poked, keeps many pokes from becoming many system calls: it is set
 * by the first poke and cleared by the driver at the end of the turn that
 * serves it.
 */
#include "worker/sched.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct sched {
    pthread_mutex_t lock;
    unsigned refs;
    bool poked;
    const struct sched_driver *driver;
    void *data;
};

#ifdef SCHED_CHECKS
static _Thread_local const struct sched *locked;

void sched_assert_locked(const struct sched *sched)
{
    assert(locked == sched);
}

#define NOTE_LOCKED(before, after) (assert(locked == (before)), locked = (after))
#else
#define NOTE_LOCKED(before, after) ((void)0)
#endif

void waiter_init(struct waiter *waiter, struct fiber *fiber)
{
    pthread_condattr_t monotonic;

    *waiter = (struct waiter){.fiber = fiber};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void waiter_finish(struct waiter *waiter)
{
    pthread_cond_destroy(&waiter->wake);
}

struct sched *sched_create(const struct sched_driver *driver, void *data)
{
    struct sched *sched = mem_alloc(sizeof *sched);

    pthread_mutex_init(&sched->lock, NULL);
    sched->refs = 1;
    sched->driver = driver;
    sched->data = data;
    return sched;
}

void *sched_data(const struct sched *sched)
{
    return sched->data;
}

void sched_ref(struct sched *sched)
{
    sched_assert_locked(sched);
    sched->refs++;
}

void sched_unref(struct sched *sched)
{
    sched_assert_locked(sched);
    sched->refs--;
}

void sched_lock(struct sched *sched)
{
    pthread_mutex_lock(&sched->lock);
    NOTE_LOCKED(NULL, sched);
}

bool sched_try_lock(struct sched *sched)
{
    return pthread_mutex_trylock(&sched->lock) == 0;
}

static void sched_free(struct sched *sched)
{
    pthread_mutex_destroy(&sched->lock);
    sched->driver->destroy(sched->data);
    free(sched);
}

void sched_unlock(struct sched *sched)
{
    bool last = sched->refs == 0;

    NOTE_LOCKED(sched, NULL);
    pthread_mutex_unlock(&sched->lock);
    if (last)
        sched_free(sched);
}

uint64_t sched_now(struct sched *sched)
{
    return sched->driver->now(sched->data);
}

uint64_t sched_turn_ms(struct sched *sched)
{
    return sched->driver->turn_ms(sched->data);
}

bool sched_is_loop(struct sched *sched)
{
    return sched->driver->is_loop(sched->data);
}

int sched_wait(struct sched *sched, struct waiter *waiter, uint64_t deadline)
{
    sched_assert_locked(sched);
    waiter->woken = false;
    sched->driver->wait(sched->data, waiter, deadline);
    sched_assert_locked(sched);
    return waiter->woken ? 0 : -ETIMEDOUT;
}

void sched_wake(struct sched *sched, struct waiter *waiter)
{
    sched_assert_locked(sched);
    if (waiter->woken)
        return;
    waiter->woken = true;
    sched->driver->wake(sched->data, waiter);
}

void sched_poke(struct sched *sched)
{
    sched_assert_locked(sched);
    if (sched->poked)
        return;
    sched->poked = true;
    sched->driver->poke(sched->data);
}

void sched_poke_later(struct sched *sched)
{
    sched_assert_locked(sched);
    sched->driver->poke_later(sched->data);
}

pthread_mutex_t *sched_mutex(struct sched *sched)
{
    return &sched->lock;
}

void sched_set_poked(struct sched *sched, bool poked)
{
    sched_assert_locked(sched);
    sched->poked = poked;
}
