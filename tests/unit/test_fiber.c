/* Fibers must not assert, since a failed assertion leaves by longjmp(): they note what they saw,
 * and the case looks at the notes. */
#include "../case.h"
#include "worker/fibers/fiber.h"

#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (256 * 1024)
#define HOUR_MS    (60 * 60 * 1000)
#define NO_TIMEOUT UINT64_MAX

/* The same as in fiber.c. */
#define IDLE_MAX   256
#define GUARD_SIZE (1024 * 1024)

static uv_loop_t loop;
static struct fiber_pool *pool;
static char trace[256];

static void setup(void)
{
    trace[0] = '\0';
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    pool = fiber_pool_create(&loop, STACK_SIZE);
}

/* All fibers must have ended: after the pool is destroyed, the loop has no handle left. */
static void teardown(void)
{
    fiber_pool_destroy(pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void note(const char *text)
{
    strcat(trace, text);
}

/* What a fiber does, and what it notes. */
struct walker {
    const char *name;
    unsigned parks; /* how often */
    uint64_t timeout_ms;
    struct fiber *fiber;
    char *stack; /* an address on its stack */
    bool ended;
};

/* Park; a timeout of 0 is a deadline that has passed. */
static void park(struct fiber *self, uint64_t timeout_ms)
{
    uint64_t deadline = clock_now() + timeout_ms * CLOCK_MS;

    fiber_park(self, timeout_ms == NO_TIMEOUT ? NEVER : timeout_ms == 0 ? 0 : deadline);
}

static void walk(struct fiber *self, void *data)
{
    struct walker *walker = data;
    char here = 0;

    walker->fiber = self;
    walker->stack = &here;
    if (walker->name)
        note(walker->name);
    for (unsigned i = 0; i < walker->parks; i++) {
        park(self, walker->timeout_ms);
        if (walker->name)
            note(walker->name);
    }
    walker->ended = true;
}

static void start(struct walker *walker)
{
    ck_assert_int_eq(fiber_start(pool, walk, walker), 0);
}

/* Count fibers, idle or not, by the guards below their stacks. */
static unsigned count_fibers(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    char line[512], mode[8];
    unsigned count = 0;

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps))
        count += sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && to - from == GUARD_SIZE &&
                 strcmp(mode, "---p") == 0;
    fclose(maps);
    return count;
}

/* ---- start, park, resume ---- */

CASES("switches", .setup = setup, .teardown = teardown);

CASE(no_pool)
{
    fiber_pool_destroy(NULL);
}

CASE(runs_until_it_returns)
{
    struct walker a = {.name = "a"};

    start(&a);
    ck_assert(a.ended);
    ck_assert_str_eq(trace, "a");
}

CASE(runs_until_it_parks)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    ck_assert(!a.ended);
    note("-");
    fiber_resume(a.fiber);
    ck_assert(a.ended);
    ck_assert_str_eq(trace, "a-a");
}

CASE(parked_without_timeout_leaves_the_loop_idle)
{
    struct walker a = {.parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    ck_assert(!uv_loop_alive(&loop));
    fiber_resume(a.fiber);
}

/* Two C++ runtimes, as they keep the exceptions of this thread. */
static struct runtime {
    void *caught;
    unsigned uncaught;
} runtimes[FIBER_RUNTIMES_MAX + 1];

static void *runtime_0(void)
{
    return &runtimes[0];
}

static void *runtime_1(void)
{
    return &runtimes[1];
}

/* Handle an exception of each runtime, wait, and note whether they are still those. */
static void catch_and_wait(struct fiber *self, void *data)
{
    struct walker *walker = data;
    bool begins_without = runtimes[0].caught == NULL && runtimes[1].caught == NULL;

    runtimes[0].caught = walker;
    runtimes[1] = (struct runtime){self, walker->parks};
    walker->fiber = self;
    fiber_park(self, NEVER);
    note(begins_without && runtimes[0].caught == walker && runtimes[1].caught == self &&
                 runtimes[1].uncaught == walker->parks
             ? walker->name
             : "!");
    runtimes[0].caught = runtimes[1].caught = NULL;
}

CASE(exceptions_of_each_runtime_stay_on_their_fiber)
{
    struct walker walkers[2] = {{.name = "a", .parks = 1}, {.name = "b", .parks = 2}};

    ck_assert_int_eq(fiber_pool_add_runtime(pool, runtime_0), 0);
    ck_assert_int_eq(fiber_pool_add_runtime(pool, runtime_1), 0);
    ck_assert_int_eq(fiber_pool_add_runtime(pool, runtime_0), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fiber_start(pool, catch_and_wait, &walkers[i]), 0);
    ck_assert_ptr_null(runtimes[0].caught);
    for (int i = 0; i < 2; i++)
        fiber_resume(walkers[i].fiber);
    ck_assert_ptr_null(runtimes[1].caught);
    ck_assert_str_eq(trace, "ab");
}

static void *next_runtime(void)
{
    static unsigned next;

    return &runtimes[next++];
}

CASE(more_runtimes_than_are_kept_apart)
{
    for (unsigned i = 0; i < FIBER_RUNTIMES_MAX; i++)
        ck_assert_int_eq(fiber_pool_add_runtime(pool, next_runtime), 0);
    ck_assert_int_eq(fiber_pool_add_runtime(pool, next_runtime), -ENOSPC);
}

CASE(take_turns)
{
    struct walker a = {.name = "a", .parks = 3, .timeout_ms = NO_TIMEOUT};
    struct walker b = {.name = "b", .parks = 2, .timeout_ms = NO_TIMEOUT};

    start(&a);
    start(&b);
    fiber_resume(a.fiber);
    fiber_resume(b.fiber);
    fiber_resume(b.fiber);
    fiber_resume(a.fiber);
    fiber_resume(a.fiber);
    ck_assert(a.ended && b.ended);
    ck_assert_str_eq(trace, "ababbaa");
}

CASE(have_stacks_of_their_own)
{
    struct walker a = {.parks = 1, .timeout_ms = NO_TIMEOUT};
    struct walker b = a;
    char here;

    start(&a);
    start(&b);
    ck_assert_int_ge(labs(a.stack - b.stack), STACK_SIZE);
    ck_assert_int_ge(labs(a.stack - &here), STACK_SIZE);
    fiber_resume(a.fiber);
    fiber_resume(b.fiber);
}

struct adder {
    struct fiber *fiber;
    unsigned seed;
    unsigned sum;
};

static void add_slowly(struct fiber *self, void *data)
{
    struct adder *adder = data;
    unsigned terms[64], sum = 0;

    adder->fiber = self;
    for (unsigned i = 0; i < 64; i++)
        terms[i] = adder->seed + i;
    for (unsigned i = 0; i < 64; i++) {
        sum += terms[i];
        park(self, NO_TIMEOUT);
    }
    adder->sum = sum;
}

CASE(locals_survive)
{
    struct adder adders[10];

    for (unsigned i = 0; i < 10; i++) {
        adders[i] = (struct adder){.seed = i * 1000};
        ck_assert_int_eq(fiber_start(pool, add_slowly, &adders[i]), 0);
    }
    for (unsigned round = 0; round < 64; round++) {
        for (unsigned i = 0; i < 10; i++)
            fiber_resume(adders[i].fiber);
    }
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(adders[i].sum, 64 * i * 1000 + 63 * 32);
}

/* ---- timeouts ---- */

CASES("timeouts", .setup = setup, .teardown = teardown);

CASE(timeout)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 1};

    start(&a);
    ck_assert(uv_loop_alive(&loop));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}

CASE(timeout_of_zero_gives_the_loop_a_turn)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 0};

    start(&a);
    ck_assert(!a.ended);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}

static void count_turn(uv_idle_t *idle)
{
    ++*(unsigned *)idle->data;
}

/* A fiber that only parks with a timeout of 0 does not starve the loop. */
CASE(timeouts_of_zero_give_the_loop_many_turns)
{
    struct walker a = {.parks = 20, .timeout_ms = 0};
    unsigned turns = 0;
    static uv_idle_t idle;

    uv_idle_init(&loop, &idle);
    idle.data = &turns;
    uv_idle_start(&idle, count_turn);
    start(&a);
    while (!a.ended)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_ge(turns, 20);
    uv_close((uv_handle_t *)&idle, NULL);
}

CASE(timeouts_in_their_order)
{
    struct walker c = {.name = "c", .parks = 1, .timeout_ms = 60};
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 1};
    struct walker b = {.name = "b", .parks = 1, .timeout_ms = 30};

    start(&c);
    start(&a);
    start(&b);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_str_eq(trace, "cababc");
}

CASE(timeout_again_and_again)
{
    struct walker a = {.parks = 20, .timeout_ms = 1};

    start(&a);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}

CASE(resumed_before_its_timeout)
{
    struct walker a = {.name = "a", .parks = 2, .timeout_ms = HOUR_MS};

    start(&a);
    ck_assert(uv_loop_alive(&loop));
    fiber_resume(a.fiber);
    ck_assert_str_eq(trace, "aa");
    fiber_resume(a.fiber);
    ck_assert(a.ended);
    ck_assert(!uv_loop_alive(&loop));
}

CASE(old_timeout_is_forgotten)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 1};
    struct walker b = {.name = "b", .parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    fiber_resume(a.fiber);
    start(&b); /* runs on the same fiber, with its timer */
    ck_assert_ptr_eq(a.fiber, b.fiber);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(!b.ended);
    fiber_resume(b.fiber);
    ck_assert(b.ended);
}

/* ---- many ---- */

CASES("stacks", .setup = setup, .teardown = teardown);

CASE(idle_one_is_used_again)
{
    struct walker first = {.parks = 1, .timeout_ms = NO_TIMEOUT};
    struct walker next;

    start(&first);
    fiber_resume(first.fiber);
    for (int i = 0; i < 100; i++) {
        next = (struct walker){.parks = (unsigned)i % 2, .timeout_ms = NO_TIMEOUT};
        start(&next);
        ck_assert_ptr_eq(next.stack, first.stack);
        if (next.parks)
            fiber_resume(next.fiber);
        ck_assert(next.ended);
    }
    ck_assert_uint_eq(count_fibers(), 1);
}

CASE(busy_one_is_not_used_again)
{
    struct walker a = {.parks = 1, .timeout_ms = NO_TIMEOUT}, b = a;

    start(&a);
    start(&b);
    ck_assert_ptr_ne(a.fiber, b.fiber);
    fiber_resume(b.fiber);
    ck_assert(b.ended && !a.ended);
    fiber_resume(a.fiber);
    ck_assert_uint_eq(count_fibers(), 2);
}

CASE(only_so_many_are_kept)
{
    enum { COUNT = IDLE_MAX + 50 };
    struct walker *walkers = calloc(COUNT, sizeof *walkers);

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            walkers[i] = (struct walker){.parks = 1, .timeout_ms = NO_TIMEOUT};
            start(&walkers[i]);
        }
        ck_assert_uint_eq(count_fibers(), COUNT);
        for (int i = 0; i < COUNT; i++)
            fiber_resume(walkers[i].fiber);
        ck_assert_uint_eq(count_fibers(), IDLE_MAX);
    }
    free(walkers);
}

CASE(thousands_at_once)
{
    enum { COUNT = 2000 };
    struct walker *walkers = calloc(COUNT, sizeof *walkers);
    unsigned ended = 0;

    for (unsigned i = 0; i < COUNT; i++) {
        walkers[i] = (struct walker){.parks = 1 + i % 4, .timeout_ms = i % 7};
        start(&walkers[i]);
        ck_assert(!walkers[i].ended);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < COUNT; i++)
        ended += walkers[i].ended;
    ck_assert_uint_eq(ended, COUNT);
    free(walkers);
}

/* ---- stacks ---- */

/* Use at least this number of bytes of the stack; return their sum. */
static __attribute__((noinline)) unsigned dig(size_t bytes)
{
    volatile unsigned char block[1024];

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = 1;
    return (bytes > sizeof block ? dig(bytes - sizeof block) : 0) + block[bytes % sizeof block];
}

struct digger {
    size_t bytes;
    unsigned sum;
};

static void dig_on_fiber(struct fiber *self, void *data)
{
    struct digger *digger = data;

    (void)self;
    digger->sum = dig(digger->bytes);
}

CASE(deep_within_its_limit)
{
    struct digger digger = {.bytes = STACK_SIZE / 2};

    for (int i = 0; i < 3; i++) {
        digger.sum = 0;
        ck_assert_int_eq(fiber_start(pool, dig_on_fiber, &digger), 0);
        ck_assert_uint_eq(digger.sum, STACK_SIZE / 2 / 1024);
    }
}

CASE(overflow_ends_the_process)
{
    struct digger digger = {.bytes = 2 * STACK_SIZE};
    struct rlimit no_core = {0, 0};
    pid_t child = fork();
    int status;

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        fiber_start(pool, dig_on_fiber, &digger);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

/* Return whether the mapping below the one of this address is a guard. */
static bool has_guard(const char *address)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long start_at, end_at, below_end = 0;
    char rights[5], line[512];
    bool below_is_guard = false, found = false;

    ck_assert_ptr_nonnull(maps);
    while (!found && fgets(line, sizeof line, maps)) {
        ck_assert_int_eq(sscanf(line, "%lx-%lx %4s", &start_at, &end_at, rights), 3);
        found = start_at <= (unsigned long)address && (unsigned long)address < end_at;
        if (found)
            break;
        below_end = end_at;
        below_is_guard = strcmp(rights, "---p") == 0;
    }
    fclose(maps);
    return found && below_is_guard && below_end == start_at;
}

CASE(every_stack_has_a_guard)
{
    struct walker walkers[8];

    for (int i = 0; i < 8; i++) {
        walkers[i] = (struct walker){.parks = 1, .timeout_ms = NO_TIMEOUT};
        start(&walkers[i]);
    }
    for (int i = 0; i < 8; i++) {
        ck_assert(has_guard(walkers[i].stack));
        fiber_resume(walkers[i].fiber);
    }
}

CASE(size_is_rounded_up)
{
    struct walker a = {.parks = 0};

    fiber_pool_destroy(pool);
    pool = fiber_pool_create(&loop, 64 * 1024 + 1);
    start(&a);
    ck_assert(a.ended);
}

CASE(no_memory_for_a_stack)
{
    struct walker a = {.name = "a"};

    fiber_pool_destroy(pool);
    pool = fiber_pool_create(&loop, (size_t)1 << 50);
    ck_assert_int_lt(fiber_start(pool, walk, &a), 0); /* valgrind returns another errno */
    ck_assert_str_eq(trace, "");
    ck_assert_uint_eq(count_fibers(), 0);
}
