/* Inputs of a run, and of several tasks of one run. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Take this number of inputs, and note them from this slot on. */
static void take_inputs(unsigned count, int slot, uint32_t timeout_ms)
{
    for (unsigned i = 0; i < count; i++) {
        const char *json = NULL;
        int status = run_input(timeout_ms, &json);
        note_status(status);
        note_text(slot + (int)i, json);
    }
}

static int agent_has_no_place_for_input(void)
{
    note_status(run_input(0, NULL));
    note_status(run_input(AGENT_FOREVER, NULL));
    return 0;
}

CASES("inputs on threads", .setup = setup_threads, .teardown = teardown);
CASES("inputs on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(input_to_nowhere)
{
    run_agent(agent_has_no_place_for_input);
    ck_assert_int_eq(notes.status[0], -EINVAL);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    ck_assert_uint_eq(accounts[1].report_count, 0);
}

CASE(input_for_no_run)
{
    worker_input(worker, 0, 0, "1");
    worker_input(worker, 5, 0, "1");
    worker_input(worker, UINT32_MAX, 0, "1");
    start(5, agent_nothing);
    wait_for_end(5);
    worker_input(worker, 5, 0, "1");
    expect_finished(5);
}

static int agent_polls_for_input(void)
{
    take_inputs(2, 0, 0);
    return 0;
}

CASE(no_input_yet)
{
    run_agent(agent_polls_for_input);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    ck_assert_int_eq(notes.status[1], -ETIMEDOUT);
    ck_assert_str_eq(notes.text[0], "none");
    ck_assert_uint_eq(accounts[1].report_count, 0); /* it did not wait */
}

/* Takes two of three inputs after the gate is opened. */
static int agent_takes_what_came_before(void)
{
    while (!atomic_load(&open_gate))
        agent_sleep(1);
    take_inputs(2, 0, 0);
    return 0;
}

CASE(input_that_came_before)
{
    atomic_store(&open_gate, 0);
    start(1, agent_takes_what_came_before);
    give_input(1, "{\"a\": 1}");
    give_input(1, "\"second\"");
    give_input(1, "\"third\"");
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_str_eq(notes.text[0], "{\"a\": 1}");
    ck_assert_str_eq(notes.text[1], "\"second\"");
    expect_reports(1, "1/0 2/0 ");
}

static int agent_waits_for_input(void)
{
    take_inputs(1, 0, AGENT_FOREVER);
    return 0;
}

CASE(waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    ck_assert(!accounts[1].ended);
    give_input(1, "\"yes\"");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_str_eq(notes.text[0], "\"yes\"");
    expect_reports(1, "0/1 1/0 ");
}

static int agent_waits_an_hour_for_input(void)
{
    take_inputs(3, 0, HOUR_MS);
    return 0;
}

CASE(waits_for_each_input)
{
    start(1, agent_waits_an_hour_for_input);
    for (uint32_t i = 0; i < 3; i++) {
        char json[8];
        while (accounts[1].taken < i || accounts[1].awaited == 0)
            uv_run(&loop, UV_RUN_ONCE);
        snprintf(json, sizeof json, "%u", i);
        give_input(1, json);
    }
    wait_for_end(1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(notes.status[i], 0);
        ck_assert_int_eq(atoi(notes.text[i]), i);
    }
    expect_reports(1, "0/1 1/0 1/1 2/0 2/1 3/0 ");
}

static int agent_waits_a_little_for_input(void)
{
    uint64_t started = uv_hrtime();

    take_inputs(1, 0, 5);
    note_status(uv_hrtime() - started >= 5 * 1000 * 1000);
    return 0;
}

CASE(input_does_not_come_in_time)
{
    run_agent(agent_waits_a_little_for_input);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    ck_assert_int_eq(notes.status[1], 1);
    expect_reports(1, "0/1 0/0 ");
}

/* A run that credit wakes goes on waiting, and sends no report. */
CASE(credit_is_no_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    give_credit(1, 1);
    loop_comes_to_rest();
    ck_assert(!accounts[1].ended);
    give_input(1, "1");
    wait_for_end(1);
    expect_reports(1, "0/1 1/0 ");
}

CASE(cancelled_while_it_waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_str_eq(notes.text[0], "none");
}

/* A cancelled run no longer takes inputs. */
CASE(cancelled_before_it_takes_its_input)
{
    atomic_store(&open_gate, 0);
    start(1, agent_takes_what_came_before);
    give_input(1, "1");
    worker_cancel(worker, 1);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_int_eq(notes.status[i], -ECANCELED);
    ck_assert_uint_eq(accounts[1].taken, 0);
}

CASE(loop_rests_while_a_run_waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    ck_assert_msg(loop_comes_to_rest(), "the loop spins");
    worker_cancel(worker, 1);
    wait_for_end(1);
}

static int agent_says_what_it_hears(void)
{
    const char *json;
    int status = run_input(AGENT_FOREVER, &json);

    if (status == 0)
        status = agent_sleep(2); /* other runs take their inputs meanwhile */
    return status < 0 ? status : emit_event("heard", json);
}

CASE(inputs_reach_their_runs)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_says_what_it_hears);
    for (uint32_t run = 1; run <= 10; run++) {
        char json[8];
        snprintf(json, sizeof json, "%u", run);
        give_input(run, json);
        give_input(run, "\"not taken\"");
    }
    for (uint32_t run = 1; run <= 10; run++) {
        char json[8];
        wait_for_end(run);
        expect_finished(run);
        snprintf(json, sizeof json, "%u", run);
        expect_event(run, 0, "heard", json);
    }
}

/* The string of an input is valid until the next run_input(). */
static int agent_keeps_its_input(void)
{
    const char *first, *second;

    if (run_input(AGENT_FOREVER, &first) < 0)
        return -EIO;
    while (!atomic_load(&open_gate))
        agent_sleep(1);
    note_text(0, first);
    if (run_input(AGENT_FOREVER, &second) < 0)
        return -EIO;
    note_status(run_input(0, NULL));
    note_text(1, second);
    return 0;
}

CASE(input_lives_until_the_next_call)
{
    atomic_store(&open_gate, 0);
    start(1, agent_keeps_its_input);
    give_input(1, "\"first\"");
    while (accounts[1].taken < 1)
        uv_run(&loop, UV_RUN_ONCE);
    give_input(1, "\"second\"");
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_str_eq(notes.text[0], "\"first\"");
    ck_assert_str_eq(notes.text[1], "\"second\"");
}

static int agent_takes_a_long_input(void)
{
    const char *json;

    note_status(run_input(AGENT_FOREVER, &json));
    note_status((int)strlen(json));
    return 0;
}

CASE(long_input)
{
    char *json = long_string(WIRE_INPUT_MAX - 3, 0);

    start(1, agent_takes_a_long_input);
    give_input(1, json);
    wait_for_end(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], WIRE_INPUT_MAX - 1);
    free(json);
}

static atomic_int thread_is_done;

static void *thread_waits_for_input(void *captured)
{
    const char *json = NULL;

    ctx_bind(captured);
    ctx_release(captured);
    notes.status[8] = run_input(AGENT_FOREVER, &json);
    note_text(4, json);
    ctx_bind(NULL);
    atomic_store(&thread_is_done, 1);
    return NULL;
}

static int agent_waits_with_a_thread(void)
{
    int status = -pthread_create(&notes.thread, NULL, thread_waits_for_input, ctx_capture());

    take_inputs(1, 0, AGENT_FOREVER);
    while (!atomic_load(&thread_is_done) && agent_sleep(1) == 0)
        ;
    return status;
}

static void start_two_that_wait(void)
{
    atomic_store(&thread_is_done, 0);
    start(1, agent_waits_with_a_thread);
    wait_for_awaited(1, 2);
}

CASE(two_wait_for_input)
{
    start_two_that_wait();
    give_input(1, "\"one\"");
    while (accounts[1].taken < 1)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(accounts[1].awaited, 1);
    give_input(1, "\"two\"");
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[8], 0);
    ck_assert_str_ne(notes.text[0], notes.text[4]);
    expect_reports(1, "0/1 0/2 1/1 2/0 ");
}

CASE(two_inputs_at_once)
{
    start_two_that_wait();
    give_input(1, "\"one\"");
    give_input(1, "\"two\"");
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_str_ne(notes.text[0], notes.text[4]);
    ck_assert_uint_eq(accounts[1].taken, 2);
    ck_assert_uint_eq(accounts[1].awaited, 0);
}

CASE(two_are_cancelled_while_they_wait)
{
    start_two_that_wait();
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_int_eq(notes.status[8], -ECANCELED);
}

/* Returns while its thread waits for an input that never comes. */
static int agent_leaves_a_thread_that_waits(void)
{
    int status = -pthread_create(&notes.thread, NULL, thread_waits_for_input, ctx_capture());

    while (status == 0 && !atomic_load(&open_gate))
        status = agent_sleep(1);
    return status;
}

CASE(end_wakes_a_thread_that_waits_for_input)
{
    atomic_store(&open_gate, 0);
    atomic_store(&thread_is_done, 0);
    start(1, agent_leaves_a_thread_that_waits);
    wait_for_awaited(1, 1);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[8], -ECANCELED);
    ck_assert(loop_comes_to_rest());
}

CASES("two threads", .setup = setup_two_threads, .teardown = teardown);

/* Both threads are taken, so that the third run waits. */
CASE(input_before_it_has_a_thread)
{
    atomic_store(&open_gate, 0);
    start(1, agent_waits_at_gate);
    start(2, agent_waits_at_gate);
    start(3, agent_polls_for_input);
    wait_for_events(1, 1);
    wait_for_events(2, 1);
    give_input(3, "\"early\"");
    atomic_store(&open_gate, 1);
    wait_for_end(3);
    expect_finished(3);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_str_eq(notes.text[0], "\"early\"");
    ck_assert_int_eq(notes.status[1], -ETIMEDOUT);
    wait_for_end(1);
    wait_for_end(2);
}

static int agent_takes_input_and_sleeps(void)
{
    take_inputs(2, 0, AGENT_FOREVER);
    return agent_sleep(HOUR_MS);
}

static void fill_outbox(void)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    ck_assert(loop_comes_to_rest());
}

static void empty_outbox(void)
{
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        ck_assert(accounts[run].ended);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* A full outbox delays the report, not the input. */
CASE(input_is_taken_while_the_outbox_is_full)
{
    start(100, agent_takes_input_and_sleeps);
    wait_for_awaited(100, 1);
    fill_outbox();
    give_input(100, "1");
    give_input(100, "2");
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(notes.count, 2);
    empty_outbox();
    ck_assert_uint_eq(accounts[100].taken, 2);
    ck_assert_uint_eq(accounts[100].awaited, 0);
    worker_cancel(worker, 100);
    wait_for_end(100);
}

CASE(wait_begins_while_the_outbox_is_full)
{
    fill_outbox();
    start(100, agent_waits_for_input);
    ck_assert(loop_comes_to_rest());
    empty_outbox();
    expect_reports(100, "0/1 ");
    give_input(100, "1");
    wait_for_end(100);
    expect_finished(100);
    expect_reports(100, "0/1 1/0 ");
}

CASE(wait_ends_while_the_outbox_is_full)
{
    start(100, agent_waits_a_little_for_input);
    while (accounts[100].report_count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    fill_outbox();
    while (notes.count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    empty_outbox();
    wait_for_end(100);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    expect_reports(100, "0/1 0/0 ");
}

static int agent_polls_often(void)
{
    for (int i = 0; i < 100; i++) {
        const char *json;
        if (run_input(1, &json) != -ETIMEDOUT)
            return -EIO;
    }
    note_status(0);
    return agent_sleep(HOUR_MS);
}

/* A wait that ends before its report could leave is not reported. */
CASE(waits_that_end_while_the_outbox_is_full)
{
    fill_outbox();
    start(100, agent_polls_often);
    while (notes.count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    empty_outbox();
    ck_assert_uint_eq(accounts[100].report_count, 0);
    worker_cancel(worker, 100);
    wait_for_end(100);
}
