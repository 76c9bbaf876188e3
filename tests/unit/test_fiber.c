/*
 * Nothing is asserted on a fiber's own stack: fibers note what they saw, and
 * the test looks at the notes.
 */
#include "worker/fibers/fiber.h"

#include "base/time.h"

#include <check.h>
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

/* As fiber.c has them. */
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

/* All fibers have ended: the loop has nothing left once the pool is gone. */
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

/* What a fiber of these tests does and what it leaves. */
struct walker {
    const char *name;
    unsigned parks; /* how often */
    uint64_t timeout_ms;
    struct fiber *fiber;
    char *stack; /* an address on it */
    bool ended;
};

/* A timeout of 0 is a deadline that is over. */
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

/* Each fiber, idle or not, has a guard below its stack. */
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

START_TEST(no_pool)
{
    fiber_pool_destroy(NULL);
}
END_TEST

START_TEST(runs_until_it_returns)
{
    struct walker a = {.name = "a"};

    start(&a);
    ck_assert(a.ended);
    ck_assert_str_eq(trace, "a");
}
END_TEST

START_TEST(runs_until_it_parks)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    ck_assert(!a.ended);
    note("-");
    fiber_resume(a.fiber);
    ck_assert(a.ended);
    ck_assert_str_eq(trace, "a-a");
}
END_TEST

START_TEST(parked_without_timeout_leaves_the_loop_idle)
{
    struct walker a = {.parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    ck_assert(!uv_loop_alive(&loop));
    fiber_resume(a.fiber);
}
END_TEST

START_TEST(take_turns)
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
END_TEST

START_TEST(have_stacks_of_their_own)
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
END_TEST

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

START_TEST(locals_survive)
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
END_TEST

/* ---- timeouts ---- */

START_TEST(timeout)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 1};

    start(&a);
    ck_assert(uv_loop_alive(&loop));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}
END_TEST

START_TEST(timeout_of_zero_gives_the_loop_a_turn)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 0};

    start(&a);
    ck_assert(!a.ended);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}
END_TEST

static void count_turn(uv_idle_t *idle)
{
    ++*(unsigned *)idle->data;
}

/* One that does nothing but that holds up nobody. */
START_TEST(timeouts_of_zero_give_the_loop_many_turns)
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
END_TEST

START_TEST(timeouts_in_their_order)
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
END_TEST

START_TEST(timeout_again_and_again)
{
    struct walker a = {.parks = 20, .timeout_ms = 1};

    start(&a);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(a.ended);
}
END_TEST

START_TEST(resumed_before_its_timeout)
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
END_TEST

START_TEST(old_timeout_is_forgotten)
{
    struct walker a = {.name = "a", .parks = 1, .timeout_ms = 1};
    struct walker b = {.name = "b", .parks = 1, .timeout_ms = NO_TIMEOUT};

    start(&a);
    fiber_resume(a.fiber);
    start(&b); /* on the same fiber, with its timer */
    ck_assert_ptr_eq(a.fiber, b.fiber);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(!b.ended);
    fiber_resume(b.fiber);
    ck_assert(b.ended);
}
END_TEST

/* ---- many ---- */

START_TEST(idle_one_is_used_again)
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
END_TEST

START_TEST(busy_one_is_not_used_again)
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
END_TEST

START_TEST(only_so_many_are_kept)
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
END_TEST

START_TEST(thousands_at_once)
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
END_TEST

/* ---- stacks ---- */

/* Uses so many bytes of the stack at least, and sums them up. */
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

START_TEST(deep_within_its_limit)
{
    struct digger digger = {.bytes = STACK_SIZE / 2};

    for (int i = 0; i < 3; i++) {
        digger.sum = 0;
        ck_assert_int_eq(fiber_start(pool, dig_on_fiber, &digger), 0);
        ck_assert_uint_eq(digger.sum, STACK_SIZE / 2 / 1024);
    }
}
END_TEST

START_TEST(overflow_ends_the_process)
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
END_TEST

/* Whether what is mapped just below the region that holds the address may not be touched. */
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

START_TEST(every_stack_has_a_guard)
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
END_TEST

START_TEST(size_is_rounded_up)
{
    struct walker a = {.parks = 0};

    fiber_pool_destroy(pool);
    pool = fiber_pool_create(&loop, 64 * 1024 + 1);
    start(&a);
    ck_assert(a.ended);
}
END_TEST

START_TEST(no_memory_for_a_stack)
{
    struct walker a = {.name = "a"};

    fiber_pool_destroy(pool);
    pool = fiber_pool_create(&loop, (size_t)1 << 50);
    ck_assert_int_lt(fiber_start(pool, walk, &a), 0); /* valgrind gives another errno */
    ck_assert_str_eq(trace, "");
    ck_assert_uint_eq(count_fibers(), 0);
}
END_TEST

static TCase *case_create(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    return tcase;
}

static void add_switches(Suite *suite)
{
    TCase *tcase = case_create(suite, "switches");

    tcase_add_test(tcase, no_pool);
    tcase_add_test(tcase, runs_until_it_returns);
    tcase_add_test(tcase, runs_until_it_parks);
    tcase_add_test(tcase, parked_without_timeout_leaves_the_loop_idle);
    tcase_add_test(tcase, take_turns);
    tcase_add_test(tcase, have_stacks_of_their_own);
    tcase_add_test(tcase, locals_survive);
}

static void add_timeouts(Suite *suite)
{
    TCase *tcase = case_create(suite, "timeouts");

    tcase_add_test(tcase, timeout);
    tcase_add_test(tcase, timeout_of_zero_gives_the_loop_a_turn);
    tcase_add_test(tcase, timeouts_of_zero_give_the_loop_many_turns);
    tcase_add_test(tcase, timeouts_in_their_order);
    tcase_add_test(tcase, timeout_again_and_again);
    tcase_add_test(tcase, resumed_before_its_timeout);
    tcase_add_test(tcase, old_timeout_is_forgotten);
}

static void add_stacks(Suite *suite)
{
    TCase *tcase = case_create(suite, "stacks");

    tcase_add_test(tcase, idle_one_is_used_again);
    tcase_add_test(tcase, busy_one_is_not_used_again);
    tcase_add_test(tcase, only_so_many_are_kept);
    tcase_add_test(tcase, thousands_at_once);
    tcase_add_test(tcase, deep_within_its_limit);
    tcase_add_test(tcase, overflow_ends_the_process);
    tcase_add_test(tcase, every_stack_has_a_guard);
    tcase_add_test(tcase, size_is_rounded_up);
    tcase_add_test(tcase, no_memory_for_a_stack);
}

int main(void)
{
    Suite *suite = suite_create("fiber");
    SRunner *runner = srunner_create(suite);
    int failures;

    add_switches(suite);
    add_timeouts(suite);
    add_stacks(suite);
    srunner_run_all(runner, CK_ENV);
    failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
