/*
 * The life of a fiber:
 *
 *     made ──► idle ──► prepared ──► executes ◄──► parked
 *               ▲                       │
 *               └───────────────────────┘ its function returned
 *
 * An idle fiber keeps its stack and the pages that were touched, which makes the
 * next start cheap; at most IDLE_MAX are kept.
 *
 * A switch has two sides, the loop's and the fiber's. What must be kept of each:
 *
 *     registers and stack      switch.h
 *     exceptions being handled C++ runtimes keep them per thread, so they are
 *                              exchanged here, for each runtime that is loaded
 *     what sanitizers know     they must be told of every switch and stack
 *
 * Parked fibers with a deadline are alarms in a wheel, which one libuv timer
 * drives. Many that are due at once are resumed in one turn; those that become
 * due meanwhile wait for the next, so that I/O has its turn.
 */
#include "worker/fibers/fiber.h"

#include "base/mem.h"
#include "base/time.h"
#include "worker/fibers/sanitizer.h"
#include "worker/fibers/switch.h"
#include "worker/fibers/wheel.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

#if HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id)       ((void)(id))
#endif

#define IDLE_MAX 256

/* Waits of up to this many milliseconds end at their millisecond. */
#define EXACT_MS 20

/* Wider than any sane frame, so that none jumps over it; address space only. */
#define GUARD_SIZE (1024u * 1024)

/* The largest frame with which a fiber can have left its stack. */
#define FRAME_MAX ((uintptr_t)64 * 1024 * 1024)

/* The exceptions being handled, as a C++ runtime keeps them per thread (__cxa_eh_globals of the
 * Itanium C++ ABI). A fiber that waits in a catch block keeps its own. */
struct exceptions {
    void *caught;
    unsigned uncaught;
};

/* One side of a switch. */
struct side {
    struct switch_context context;
    void *asan_fake_stack;
    const void *stack;
    size_t stack_size;
    void *tsan_fiber;
    struct exceptions exceptions[FIBER_RUNTIMES_MAX];
};

struct fiber {
    struct side side;
    struct fiber_pool *pool;
    char *mapping;
    unsigned valgrind_stack;
    struct alarm alarm; /* while it is parked until a time */
    void (*fn)(struct fiber *self, void *data);
    void *data;
    bool ended;
    LIST_ENTRY(fiber) idle; /* in pool->idle */
};

static struct fiber *fiber_of(struct alarm *alarm)
{
    return (struct fiber *)((char *)alarm - offsetof(struct fiber, alarm));
}

struct fiber_pool {
    uv_loop_t *loop;
    uv_timer_t timer;  /* for the wheel's next moment */
    uint64_t timer_at; /* ms of the loop's clock; NEVER: it is not started; 0: it rings */
    struct wheel wheel;
    size_t stack_size;
    size_t guard_size;
    struct side loop_side;
    struct exceptions *exceptions[FIBER_RUNTIMES_MAX]; /* the loop thread's, by runtime */
    unsigned runtimes;
    struct sanitizer sanitizer;
    LIST_HEAD(, fiber) idle;
    size_t idle_count;
    struct fiber *volatile running; /* NULL: the loop itself is */
    uint64_t turns;
    atomic_uint_fast64_t turn; /* that runs, 0 for none; other threads look at it */
};

static void side_switch(const struct fiber_pool *pool, struct side *from, struct side *to)
{
    const struct sanitizer *sanitizer = &pool->sanitizer;

    if (sanitizer->start_switch)
        sanitizer->start_switch(&from->asan_fake_stack, to->stack, to->stack_size);
    if (sanitizer->tsan_switch)
        sanitizer->tsan_switch(to->tsan_fiber, 0);
    for (unsigned i = 0; i < pool->runtimes; i++) {
        from->exceptions[i] = *pool->exceptions[i];
        *pool->exceptions[i] = to->exceptions[i];
    }
    switch_to(&from->context, &to->context);
    if (sanitizer->finish_switch)
        sanitizer->finish_switch(from->asan_fake_stack, NULL, NULL);
}

/* The first call on a fiber's stack: tell the sanitizer where the switch came from. */
static void side_arrive(struct fiber_pool *pool)
{
    struct side *loop_side = &pool->loop_side;

    if (pool->sanitizer.finish_switch)
        pool->sanitizer.finish_switch(NULL, &loop_side->stack, &loop_side->stack_size);
}

static void fiber_main(void *data)
{
    struct fiber *fiber = data;

    side_arrive(fiber->pool);
    for (;;) {
        fiber->fn(fiber, fiber->data);
        fiber->ended = true;
        side_switch(fiber->pool, &fiber->side, &fiber->pool->loop_side);
    }
}

struct fiber_pool *fiber_pool_create(uv_loop_t *loop, size_t stack_size)
{
    struct fiber_pool *pool = mem_alloc(sizeof *pool);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    pool->loop = loop;
    uv_timer_init(loop, &pool->timer);
    pool->timer.data = pool;
    pool->timer_at = NEVER;
    wheel_init(&pool->wheel, uv_now(loop));
    pool->guard_size = (GUARD_SIZE + page - 1) / page * page;
    pool->stack_size = (stack_size + page - 1) / page * page;
    LIST_INIT(&pool->idle);
    sanitizer_find(&pool->sanitizer);
    if (pool->sanitizer.tsan_current)
        pool->loop_side.tsan_fiber = pool->sanitizer.tsan_current();
    return pool;
}

int fiber_pool_add_runtime(struct fiber_pool *pool, void *(*cxx_globals)(void))
{
    struct exceptions *exceptions = cxx_globals();

    for (unsigned i = 0; i < pool->runtimes; i++) {
        if (pool->exceptions[i] == exceptions)
            return 0;
    }
    if (pool->runtimes == FIBER_RUNTIMES_MAX)
        return -ENOSPC;
    pool->exceptions[pool->runtimes++] = exceptions;
    return 0;
}

static void fiber_destroy(struct fiber *fiber)
{
    const struct sanitizer *sanitizer = &fiber->pool->sanitizer;

    VALGRIND_STACK_DEREGISTER(fiber->valgrind_stack);
    if (sanitizer->tsan_destroy)
        sanitizer->tsan_destroy(fiber->side.tsan_fiber);
    if (sanitizer->unpoison)
        sanitizer->unpoison(fiber->side.stack, fiber->side.stack_size);
    munmap(fiber->mapping, fiber->pool->guard_size + fiber->pool->stack_size);
    free(fiber);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void fiber_pool_destroy(struct fiber_pool *pool)
{
    struct fiber *fiber;

    if (pool == NULL)
        return;
    while ((fiber = LIST_FIRST(&pool->idle))) {
        LIST_REMOVE(fiber, idle);
        fiber_destroy(fiber);
    }
    uv_close((uv_handle_t *)&pool->timer, on_timer_closed);
}

static int fiber_map_stack(struct fiber *fiber)
{
    struct fiber_pool *pool = fiber->pool;
    size_t size = pool->guard_size + pool->stack_size;

    fiber->mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (fiber->mapping == MAP_FAILED)
        return -errno;
    if (mprotect(fiber->mapping, pool->guard_size, PROT_NONE) < 0) {
        int status = -errno;
        munmap(fiber->mapping, size);
        return status;
    }
    fiber->side.stack = fiber->mapping + pool->guard_size;
    fiber->side.stack_size = pool->stack_size;
    return 0;
}

static int fiber_create(struct fiber_pool *pool, struct fiber **out)
{
    struct fiber *fiber = mem_alloc(sizeof *fiber);
    int status;

    fiber->pool = pool;
    status = fiber_map_stack(fiber);
    if (status < 0) {
        free(fiber);
        return status;
    }
    fiber->valgrind_stack = VALGRIND_STACK_REGISTER(
        fiber->side.stack, (const char *)fiber->side.stack + pool->stack_size);
    if (pool->sanitizer.tsan_create)
        fiber->side.tsan_fiber = pool->sanitizer.tsan_create(0);
    switch_make(&fiber->side.context, (void *)fiber->side.stack, pool->stack_size, fiber_main,
                fiber);
    *out = fiber;
    return 0;
}

static int fiber_take(struct fiber_pool *pool, struct fiber **out)
{
    struct fiber *fiber = LIST_FIRST(&pool->idle);

    if (fiber == NULL)
        return fiber_create(pool, out);
    LIST_REMOVE(fiber, idle);
    pool->idle_count--;
    *out = fiber;
    return 0;
}

static void fiber_give_back(struct fiber *fiber)
{
    struct fiber_pool *pool = fiber->pool;

    if (pool->idle_count == IDLE_MAX) {
        fiber_destroy(fiber);
        return;
    }
    LIST_INSERT_HEAD(&pool->idle, fiber, idle);
    pool->idle_count++;
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

/* Start the timer for the wheel's next alarm, in a millisecond at least: libuv runs a timer of 0 ms
 * in the same turn, again and again. */
static void pool_arm(struct fiber_pool *pool)
{
    uint64_t now = uv_now(pool->loop), at = wheel_next(&pool->wheel);

    if (at == pool->timer_at)
        return;
    pool->timer_at = at;
    if (at == NEVER)
        uv_timer_stop(&pool->timer);
    else
        uv_timer_start(&pool->timer, on_timer, at > now ? at - now : 1, 0);
}

/* Alarms that become due meanwhile wait for the next time. */
static void on_timer(uv_timer_t *timer)
{
    struct fiber_pool *pool = timer->data;
    struct alarm *last = wheel_advance(&pool->wheel, uv_now(pool->loop)), *alarm = NULL;

    pool->timer_at = 0;
    while (alarm != last && (alarm = wheel_pop(&pool->wheel)))
        fiber_resume(fiber_of(alarm));
    pool_arm(pool);
}

/*
 * Round a deadline up to a millisecond. Long waits are rounded to an odd one, so
 * that more fibers wake at once: each wake-up costs the worker and the front as
 * much as some events.
 */
static uint64_t alarm_time(const struct fiber_pool *pool, uint64_t deadline)
{
    uint64_t at = deadline / CLOCK_MS + (deadline % CLOCK_MS > 0);

    return at > uv_now(pool->loop) + EXACT_MS ? at | 1 : at;
}

static void fiber_set_alarm(struct fiber *fiber, uint64_t deadline)
{
    struct fiber_pool *pool = fiber->pool;
    uint64_t at = alarm_time(pool, deadline);

    wheel_set(&pool->wheel, &fiber->alarm, at);
    if (at < pool->timer_at)
        pool_arm(pool);
}

static void fiber_clear_alarm(struct fiber *fiber)
{
    struct fiber_pool *pool = fiber->pool;

    if (!fiber->alarm.set)
        return;
    wheel_clear(&pool->wheel, &fiber->alarm);
    if (pool->timer_at > 0)
        pool_arm(pool);
}

/* ---- turns ---- */

void fiber_resume(struct fiber *fiber)
{
    struct fiber_pool *pool = fiber->pool;

    fiber_clear_alarm(fiber);
    pool->running = fiber;
    atomic_store_explicit(&pool->turn, ++pool->turns, memory_order_relaxed);
    side_switch(pool, &pool->loop_side, &fiber->side);
    atomic_store_explicit(&pool->turn, 0, memory_order_relaxed);
    pool->running = NULL;
    if (fiber->ended)
        fiber_give_back(fiber);
}

uint64_t fiber_pool_turn(const struct fiber_pool *pool)
{
    return atomic_load_explicit(&pool->turn, memory_order_relaxed);
}

size_t fiber_pool_overflow(const struct fiber_pool *pool, uintptr_t address,
                           uintptr_t stack_pointer)
{
    const struct fiber *fiber = pool->running;
    uintptr_t low = fiber ? (uintptr_t)fiber->side.stack : 0;

    /* The address is below the stack, or what moves there has left it: a frame larger than the
     * guard. */
    if (fiber == NULL || ((address >= low || address < low - pool->guard_size) &&
                          (stack_pointer >= low || stack_pointer < low - FRAME_MAX)))
        return 0;
    return pool->stack_size;
}

int fiber_prepare(struct fiber_pool *pool, void (*fn)(struct fiber *self, void *data), void *data,
                  struct fiber **out)
{
    int status = fiber_take(pool, out);

    if (status < 0)
        return status;
    (*out)->fn = fn;
    (*out)->data = data;
    (*out)->ended = false;
    return 0;
}

int fiber_start(struct fiber_pool *pool, void (*fn)(struct fiber *self, void *data), void *data)
{
    struct fiber *fiber;
    int status = fiber_prepare(pool, fn, data, &fiber);

    if (status == 0)
        fiber_resume(fiber);
    return status;
}

void fiber_park(struct fiber *fiber, uint64_t deadline)
{
    if (deadline != NEVER)
        fiber_set_alarm(fiber, deadline);
    side_switch(fiber->pool, &fiber->side, &fiber->pool->loop_side);
}
