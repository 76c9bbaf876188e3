/* The worker's scheduler: its lock, and waits and turns of the loop's driver. */
#include "../case.h"
#include "base/time.h"
#include "worker/sched_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static uv_loop_t loop;
static struct sched *sched;
static unsigned turns_closed, turns_ended;

static void on_close(void *data)
{
    (void)data;
    sched_assert_locked(sched);
    turns_closed++;
}

static void on_closed(void *data)
{
    (void)data;
    turns_ended++;
    uv_stop(&loop);
}

static const struct sched_turn turn = {.close = on_close, .closed = on_closed};

static void setup(void)
{
    turns_closed = turns_ended = 0;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    sched = sched_loop_create(&loop, &turn, NULL);
}

static void teardown(void)
{
    sched_loop_destroy(sched);
    while (uv_run(&loop, UV_RUN_DEFAULT))
        ;
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* Wait for a turn to end. */
static void await_turn(void)
{
    unsigned before = turns_ended;

    while (turns_ended == before)
        uv_run(&loop, UV_RUN_ONCE);
}

static void poke(void)
{
    sched_lock(sched);
    sched_poke(sched);
    sched_unlock(sched);
}

static void *poke_elsewhere(void *arg)
{
    (void)arg;
    ck_assert(!sched_is_loop(sched));
    poke();
    return NULL;
}

CASES("sched", .setup = setup, .teardown = teardown);

CASE(locked_by_this_thread)
{
    sched_lock(sched);
    sched_assert_locked(sched);
    sched_unlock(sched);
}

static void *lock_and_stay(void *arg)
{
    sched_lock(sched);
    atomic_store((atomic_bool *)arg, true);
    for (;;)
        pause();
    return NULL;
}

CASE_SIGNAL(not_locked, SIGABRT)
{
    sched_assert_locked(sched);
}

CASE_SIGNAL(locked_by_another_thread, SIGABRT)
{
    atomic_bool locked = false;
    pthread_t thread;

    pthread_create(&thread, NULL, lock_and_stay, &locked);
    while (!atomic_load(&locked))
        ;
    sched_assert_locked(sched);
}

CASE_SIGNAL(poke_without_the_lock, SIGABRT)
{
    sched_poke(sched);
}

CASE(pokes_share_a_turn)
{
    ck_assert(sched_is_loop(sched));
    poke();
    poke();
    await_turn();
    ck_assert_uint_eq(turns_closed, 1);
    ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 1); /* the async is alive */
    ck_assert_uint_eq(turns_ended, 1);
}

CASE(poke_from_another_thread)
{
    pthread_t thread;

    pthread_create(&thread, NULL, poke_elsewhere, NULL);
    await_turn();
    pthread_join(thread, NULL);
    ck_assert_uint_eq(turns_ended, 1);
}

CASE(poke_later_ends_a_turn)
{
    sched_lock(sched);
    sched_poke_later(sched);
    sched_unlock(sched);
    await_turn();
    ck_assert_uint_eq(turns_ended, 1);
}

static void *wake(void *arg)
{
    sched_lock(sched);
    sched_wake(sched, arg);
    sched_unlock(sched);
    return NULL;
}

CASE(thread_waits_until_it_is_woken)
{
    struct waiter waiter;
    pthread_t thread;

    waiter_init(&waiter, NULL);
    sched_lock(sched);
    pthread_create(&thread, NULL, wake, &waiter);
    ck_assert_int_eq(sched_wait(sched, &waiter, NEVER), 0);
    sched_unlock(sched);
    pthread_join(thread, NULL);
    waiter_finish(&waiter);
}

CASE(thread_waits_until_its_deadline)
{
    uint64_t deadline = sched_now(sched) + 2 * CLOCK_MS;
    struct waiter waiter;

    waiter_init(&waiter, NULL);
    sched_lock(sched);
    ck_assert_int_eq(sched_wait(sched, &waiter, deadline), -ETIMEDOUT);
    ck_assert_int_eq(sched_wait(sched, &waiter, 0), -ETIMEDOUT);
    sched_unlock(sched);
    ck_assert_uint_ge(sched_now(sched), deadline);
    waiter_finish(&waiter);
}

/* What a late thread holds outlives the creator's reference. */
CASE(memory_stays_while_it_is_held)
{
    struct sched *held = sched_loop_create(&loop, &turn, NULL);

    sched_lock(held);
    sched_ref(held);
    sched_unlock(held);
    sched_loop_destroy(held);
    uv_run(&loop, UV_RUN_NOWAIT);
    sched_lock(held);
    sched_unref(held);
    sched_unlock(held);
}
