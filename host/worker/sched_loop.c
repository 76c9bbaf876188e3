/*
 * A turn, from any poke to its end:
 *
 *     1. a poke starts an idle handle (on the loop) or sends an async (elsewhere);
 *     2. the fibers that are ready go on, first come, first served; those that
 *        become ready meanwhile wait for the next turn, so that I/O has its turn too;
 *     3. close(): what is to leave is set aside, under the same lock;
 *     4. closed(): what needs no lock.
 *
 * poked stays set from 1 until after 3: whatever is appended by fibers in 2
 * needs no poke of its own. It is left set if fibers became ready meanwhile.
 */
#include "worker/sched_loop.h"

#include "base/handles.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/fibers/fiber.h"

#include <stdlib.h>

struct loop_driver {
    struct sched *sched;
    pthread_t thread;
    TAILQ_HEAD(ready_list, waiter) ready;
    uv_async_t wake_up; /* pokes of other threads */
    uv_idle_t turn_end; /* active when the turn has something to end */
    uv_timer_t next_ms;
    struct handles handles;
    const struct sched_turn *turn;
    void *data;
};

static uint64_t loop_now(void *data)
{
    (void)data;
    return clock_now();
}

static uint64_t loop_turn_ms(void *data)
{
    struct loop_driver *driver = data;

    return uv_now(driver->turn_end.loop);
}

static bool loop_is_loop(void *data)
{
    struct loop_driver *driver = data;

    return pthread_equal(pthread_self(), driver->thread);
}

static void loop_forget_ready(struct loop_driver *driver, struct waiter *waiter)
{
    if (!waiter->ready)
        return;
    waiter->ready = false;
    TAILQ_REMOVE(&driver->ready, waiter, in_ready);
}

static void wait_on_thread(struct sched *sched, struct waiter *waiter, uint64_t deadline)
{
    pthread_mutex_t *lock = sched_mutex(sched);
    struct timespec at = {.tv_sec = (time_t)(deadline / CLOCK_S),
                          .tv_nsec = (long)(deadline % CLOCK_S)};
    int status = 0;

    while (!waiter->woken && status == 0) {
        if (deadline == NEVER)
            status = pthread_cond_wait(&waiter->wake, lock);
        else
            status = pthread_cond_timedwait(&waiter->wake, lock, &at);
    }
}

static void loop_wait(void *data, struct waiter *waiter, uint64_t deadline)
{
    struct loop_driver *driver = data;

    if (waiter->fiber == NULL) {
        wait_on_thread(driver->sched, waiter, deadline);
        return;
    }
    sched_unlock(driver->sched);
    fiber_park(waiter->fiber, deadline);
    sched_lock(driver->sched);
    loop_forget_ready(driver, waiter);
}

static void loop_wake(void *data, struct waiter *waiter)
{
    struct loop_driver *driver = data;

    if (waiter->fiber)
        sched_loop_make_ready(driver->sched, waiter);
    else
        pthread_cond_signal(&waiter->wake);
}

void sched_loop_make_ready(struct sched *sched, struct waiter *waiter)
{
    struct loop_driver *driver = sched_data(sched);

    sched_assert_locked(sched);
    waiter->ready = true;
    TAILQ_INSERT_TAIL(&driver->ready, waiter, in_ready);
    sched_poke(sched);
}

/* Step 2. Locked. */
static void loop_run_ready(struct loop_driver *driver)
{
    struct waiter *last = TAILQ_LAST(&driver->ready, ready_list), *waiter;
    bool done = last == NULL;

    sched_assert_locked(driver->sched);
    while (!done && (waiter = TAILQ_FIRST(&driver->ready))) {
        done = waiter == last;
        loop_forget_ready(driver, waiter);
        sched_unlock(driver->sched);
        fiber_resume(waiter->fiber);
        sched_lock(driver->sched);
    }
}

static void loop_end_turn(struct loop_driver *driver);

static void on_turn_end(uv_idle_t *idle)
{
    loop_end_turn(idle->data);
}

static void on_wake_up(uv_async_t *async)
{
    loop_end_turn(async->data);
}

static void on_next_ms(uv_timer_t *timer)
{
    loop_end_turn(timer->data);
}

static void loop_end_turn(struct loop_driver *driver)
{
    bool again;

    sched_lock(driver->sched);
    sched_set_poked(driver->sched, true);
    uv_idle_stop(&driver->turn_end);
    loop_run_ready(driver);
    driver->turn->close(driver->data);
    again = !TAILQ_EMPTY(&driver->ready);
    sched_set_poked(driver->sched, again);
    if (again)
        uv_idle_start(&driver->turn_end, on_turn_end);
    sched_unlock(driver->sched);
    driver->turn->closed(driver->data);
}

static void loop_poke(void *data)
{
    struct loop_driver *driver = data;

    if (loop_is_loop(driver))
        uv_idle_start(&driver->turn_end, on_turn_end);
    else
        uv_async_send(&driver->wake_up);
}

static void loop_poke_later(void *data)
{
    struct loop_driver *driver = data;

    uv_timer_start(&driver->next_ms, on_next_ms, 1, 0);
}

static const struct sched_driver loop_driver = {
    .now = loop_now,
    .turn_ms = loop_turn_ms,
    .is_loop = loop_is_loop,
    .wait = loop_wait,
    .wake = loop_wake,
    .poke = loop_poke,
    .poke_later = loop_poke_later,
    .destroy = free,
};

struct sched *sched_loop_create(uv_loop_t *loop, const struct sched_turn *turn, void *data)
{
    struct loop_driver *driver = mem_alloc(sizeof *driver);

    driver->sched = sched_create(&loop_driver, driver);
    driver->thread = pthread_self();
    TAILQ_INIT(&driver->ready);
    uv_async_init(loop, &driver->wake_up, on_wake_up);
    uv_idle_init(loop, &driver->turn_end);
    uv_timer_init(loop, &driver->next_ms);
    driver->wake_up.data = driver->turn_end.data = driver->next_ms.data = driver;
    driver->turn = turn;
    driver->data = data;
    return driver->sched;
}

static void on_closed(void *owner)
{
    struct loop_driver *driver = owner;
    struct sched *sched = driver->sched;

    sched_lock(sched);
    sched_unref(sched);
    sched_unlock(sched);
}

void sched_loop_destroy(struct sched *sched)
{
    struct loop_driver *driver = sched_data(sched);

    handles_close(&driver->handles, on_closed, driver, &driver->wake_up, &driver->turn_end,
                  &driver->next_ms, NULL);
}

void sched_loop_flush(struct sched *sched)
{
    loop_end_turn(sched_data(sched));
}
