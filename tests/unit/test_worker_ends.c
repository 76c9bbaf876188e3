/* How runs start and end, and how the worker quits. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

CASES("ends on threads", .setup = setup_threads, .teardown = teardown);
CASES("ends on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(finished)
{
    run_agent(agent_nothing);
    expect_finished(1);
}

static int agent_returns_error(void)
{
    return -EIO;
}

CASE(failed_by_its_return_value)
{
    run_agent(agent_returns_error);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned -5 (Input/output error)", "");
}

static int agent_returns_7(void)
{
    return 7;
}

CASE(failed_by_a_positive_value)
{
    run_agent(agent_returns_7);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned 7 (not a negative errno)", "");
}

static int agent_fails(void)
{
    note_status(run_fail("no_model", "model %s: %d", "x", 503));
    note_status(run_fail("second", "reason"));
    run_result("{\"a\":1}");
    return 0;
}

CASE(first_reason_stays)
{
    run_agent(agent_fails);
    ck_assert_int_lt(notes.status[0], 0);
    ck_assert_int_lt(notes.status[1], 0);
    expect_end(1, WIRE_FAILED, "no_model", "model x: 503", "");
}

static int agent_fails_badly(void)
{
    return run_fail("not a code", "%2000d", 1);
}

CASE(bad_code_and_long_message)
{
    run_agent(agent_fails_badly);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_str_eq(accounts[1].code, "agent_error");
    ck_assert_uint_eq(strlen(accounts[1].message), 1023);
}

static int agent_gives_results(void)
{
    note_status(run_result("1"));
    note_status(run_result(" { \"a\" : [ 1 , 2 ] } "));
    note_status(run_result("{"));
    note_status(run_result(NULL));
    return 0;
}

CASE(last_result_counts)
{
    run_agent(agent_gives_results);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_int_eq(notes.status[2], -EINVAL);
    ck_assert_int_eq(notes.status[3], -EINVAL);
    expect_end(1, WIRE_FINISHED, "", "", "{\"a\":[1,2]}");
}

static int result_long(size_t letters)
{
    char *json = long_string(letters, 3);
    int status = run_result(json);

    free(json);
    return status;
}

static int agent_gives_long_results(void)
{
    note_status(result_long(AGENT_EVENT_MAX - 2));
    note_status(result_long(AGENT_EVENT_MAX - 1));
    return 0;
}

CASE(longest_result)
{
    run_agent(agent_gives_long_results);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -EMSGSIZE);
    ck_assert_uint_eq(strlen(accounts[1].result), AGENT_EVENT_MAX);
}

static int agent_fails_when_cancelled(void)
{
    run_result("1");
    agent_sleeps();
    return run_fail("stopped", "it was told to stop");
}

CASE(cancelled_whatever_it_says)
{
    start(1, agent_fails_when_cancelled);
    wait_for_events(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
}

static int start_bytes(uint32_t run, const char *pairs, size_t length)
{
    return worker_start(worker, run, pairs, length);
}

CASES("start and quit on threads", .setup = setup_threads, .teardown = teardown);
CASES("start and quit on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(bad_starts)
{
    ck_assert_int_eq(start_bytes(1, "", 0), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input", 6), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input\0{}", 8), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input\0{}\0x", 11), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "other\0{}", 9), -EPROTO);
    ck_assert_int_eq(start_bytes(WORKER_JOBS_MAX, "input\0{}", 9), -EPROTO);
    ck_assert_int_eq(start_bytes(UINT32_MAX, "input\0{}", 9), -EPROTO);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
}

CASE(number_is_taken)
{
    start(3, agent_sleeps);
    ck_assert_int_eq(start_bytes(3, "input\0\"helper\"", 15), -EPROTO);
    wait_for_events(3, 1);
    worker_cancel(worker, 3);
    wait_for_end(3);
    expect_cancelled(3);
}

CASE(number_is_free_again)
{
    struct account whole = {.credit = WIRE_WINDOW};

    for (int i = 0; i < 50; i++) {
        run_agent(agent_nothing);
        expect_finished(1);
        free(accounts[1].code);
        free(accounts[1].message);
        free(accounts[1].result);
        accounts[1] = whole;
    }
}

CASE(numbers_far_apart)
{
    start(RUNS - 1, agent_sleeps);
    start(0, agent_sleeps);
    start(RUNS / 2, agent_sleeps);
    for (uint32_t run = 0; run < RUNS; run++)
        worker_cancel(worker, run);
    wait_for_end(0);
    wait_for_end(RUNS / 2);
    wait_for_end(RUNS - 1);
}

CASE(quit_without_runs)
{
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 1);
    ck_assert_int_eq(life.destroyed, 1);
}

CASE(quit_ends_all_runs)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sleeps);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    for (uint32_t run = 1; run <= 10; run++) {
        ck_assert(accounts[run].ended);
        expect_cancelled(run);
    }
    ck_assert_int_eq(life.destroyed, 1);
}
