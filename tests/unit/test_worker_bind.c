/* Captured contexts, and threads that are bound to them. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static void *thread_sets(void *captured)
{
    note_status(ctx_bind(captured));
    note_text(0, ctx_get("before"));
    note_text(1, ctx_get("after"));
    note_status(ctx_set("before", "thread's"));
    note_status(ctx_set("own", "1"));
    note_text(2, ctx_get("before"));
    note_status(ctx_bind(captured)); /* starts from the capture again */
    note_text(3, ctx_get("before"));
    note_text(4, ctx_get("own"));
    note_status(ctx_bind(NULL));
    note_text(5, ctx_get("before"));
    return NULL;
}

static int agent_captures(void)
{
    struct agent_ctx *captured;
    pthread_t thread;

    ctx_set("before", "agent's");
    captured = ctx_capture();
    ctx_set("after", "1");
    if (pthread_create(&thread, NULL, thread_sets, captured) != 0)
        return -EAGAIN;
    pthread_join(thread, NULL);
    ctx_release(captured);
    note_text(6, ctx_get("before"));
    note_text(7, ctx_get("own"));
    return 0;
}

CASES("bound threads on threads", .setup = setup_threads, .teardown = teardown);
CASES("bound threads on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(captures_are_snapshots)
{
    run_agent(agent_captures);
    expect_finished(1);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_str_eq(notes.text[0], "agent's");
    ck_assert_str_eq(notes.text[1], "none");
    ck_assert_str_eq(notes.text[2], "thread's");
    ck_assert_str_eq(notes.text[3], "agent's");
    ck_assert_str_eq(notes.text[4], "none");
    ck_assert_str_eq(notes.text[5], "none");
    ck_assert_str_eq(notes.text[6], "agent's");
    ck_assert_str_eq(notes.text[7], "none");
}

static int agent_binds_itself(void)
{
    struct agent_ctx *captured = ctx_capture();

    note_status(ctx_bind(captured));
    note_status(ctx_bind(NULL));
    ctx_release(captured);
    return emit_event("still", "1");
}

CASE(agents_cannot_bind_themselves)
{
    run_agent(agent_binds_itself);
    ck_assert_int_eq(notes.status[0], -EBUSY);
    ck_assert_int_eq(notes.status[1], -EBUSY);
    expect_event(1, 0, "still", "1");
}

static int agent_keeps_a_capture(void)
{
    ctx_set("kept", "1");
    notes.captured = ctx_capture();
    return 0;
}

/* Call fn on a new thread, since the thread of the loop cannot be bound. */
static void on_a_thread(void *(*fn)(void *captured))
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, notes.captured), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

CASE(loop_cannot_be_bound)
{
    run_agent(agent_keeps_a_capture);
    ck_assert_int_eq(ctx_bind(notes.captured), -EBUSY);
    ctx_release(notes.captured);
}

static void *thread_is_late(void *captured)
{
    ck_assert_int_eq(ctx_bind(captured), 0);
    ck_assert_int_eq(emit_event("late", "1"), -ECANCELED);
    ck_assert_int_eq(emit_text("late"), -ECANCELED);
    ck_assert_int_eq(agent_sleep(HOUR_MS), -ECANCELED);
    ck_assert_int_eq(run_cancelled(), 1);
    ctx_release(notes.captured);
    ck_assert_str_eq(ctx_get("kept"), "1"); /* bound threads stay bound */
    ck_assert_str_eq(ctx_get("run.id"), "abc");
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ck_assert_ptr_null(ctx_get("kept"));
    ck_assert_int_eq(emit_event("late", "1"), -ENXIO);
    return NULL;
}

CASE(capture_outlives_its_run)
{
    run_agent(agent_keeps_a_capture);
    on_a_thread(thread_is_late);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
}

static void *thread_emits_late(void *captured)
{
    ck_assert_int_eq(ctx_bind(captured), 0);
    ck_assert_int_eq(emit_event("late", "1"), -ECANCELED);
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ctx_release(captured);
    return NULL;
}

/* The number of the ended run belongs to the next run, which must not get late events. */
CASE(late_events_miss_the_next_run)
{
    struct account whole = {.credit = WIRE_WINDOW};

    run_agent(agent_keeps_a_capture);
    free(accounts[1].code);
    free(accounts[1].message);
    free(accounts[1].result);
    accounts[1] = whole;
    start(1, agent_sleeps);
    wait_for_events(1, 1);
    on_a_thread(thread_emits_late);
    worker_cancel(worker, 1);
    wait_for_end(1);
    ck_assert_uint_eq(accounts[1].events, 1);
}

static void *thread_floods(void *captured)
{
    ctx_bind(captured);
    ctx_release(captured);
    agent_floods();
    return NULL; /* still bound */
}

/* Returns while its thread still emits or waits for credit. */
static int agent_leaves_its_thread(void)
{
    return -pthread_create(&notes.thread, NULL, thread_floods, ctx_capture());
}

CASE(end_wakes_bound_threads)
{
    run_agent(agent_leaves_its_thread);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert(loop_comes_to_rest());
}

/* Returns after the gate is opened. */
static int agent_leaves_its_waiting_thread(void)
{
    int status = agent_leaves_its_thread();

    while (status == 0 && !atomic_load(&open_gate))
        status = agent_sleep(1);
    return status;
}

CASE(end_wakes_bound_threads_without_credit)
{
    atomic_store(&open_gate, 0);
    start(1, agent_leaves_its_waiting_thread);
    wait_for_events(1, IN_WINDOW);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
}

CASE(cancel_wakes_bound_threads)
{
    atomic_store(&open_gate, 0);
    start(1, agent_leaves_its_waiting_thread);
    wait_for_events(1, IN_WINDOW);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
}

#define EMITTERS 4
#define EACH     200

static void *thread_emits_much(void *captured)
{
    long failures = ctx_bind(captured) != 0;

    for (int i = 0; i < EACH; i++)
        failures += emit_event("much", ctx_get(PROBE_MARK)) != 0;
    return (void *)failures;
}

static int agent_has_many_threads(void)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t threads[EMITTERS];
    int started = 0;

    while (started < EMITTERS &&
           pthread_create(&threads[started], NULL, thread_emits_much, captured) == 0)
        started++;
    for (int i = 0; i < EACH; i++)
        emit_event("much", ctx_get(PROBE_MARK));
    for (int i = 0; i < started; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        if (failures)
            run_fail("lost", "an emit failed");
    }
    ctx_release(captured);
    return started == EMITTERS ? 0 : -EAGAIN;
}

CASE(many_threads_in_each_run)
{
    for (uint32_t run = 1; run <= 5; run++)
        start(run, agent_has_many_threads);
    for (uint32_t run = 1; run <= 5; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, (EMITTERS + 1) * EACH);
    }
    for (size_t i = 0; i < record_count; i++)
        ck_assert_uint_eq(strtoul(records[i].json, NULL, 10), records[i].run);
}
