/* Cancelling a run, and an agent that ignores it. */
#include "../case.h"
#include "run_fixture.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* If it is not 0, the clock is made up: each look at it takes a millisecond. */
static uint64_t made_up_ms;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (made_up_ms == 0 || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE))
        return (int)syscall(SYS_clock_gettime, clock, now);
    made_up_ms++;
    now->tv_sec = (time_t)(made_up_ms / 1000);
    now->tv_nsec = (long)(made_up_ms % 1000 * 1000000);
    return 0;
}

CASES("cancel", .setup = setup_running, .teardown = teardown);

CASE(cancel_says_so)
{
    run_cancel(run);
    run_cancel(run);
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE(grace_without_end)
{
    run_cancel(run);
    pass(20);
    ck_assert_uint_eq(told.ignored, 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASES("cancel in time", .setup = setup_runs, .teardown = teardown);

CASE(ignored_after_its_grace)
{
    uint64_t cancelled_at;

    request.grace_ms = 5;
    start_run();
    run_cancel(run);
    cancelled_at = told.at_ms;
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(told.at_ms, cancelled_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
    run_cancel(run);
    pass(20);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(told.ignored, 1);
}

/* Events after the end are dropped. */
CASE(ignored_agent_goes_on)
{
    request.grace_ms = 0;
    start_run();
    run_cancel(run);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(append("late", "1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
}

CASE(ignored_after_an_abort)
{
    request.grace_ms = 5;
    start_run();
    run_abort(run, RUN_ERROR_shutdown, NULL);
    ck_assert_uint_eq(told.cancels, 1);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    pass(20);
    ck_assert_uint_eq(told.ignored, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

CASE_LOOP(stops_within_its_grace, 0, 2)
{
    request.grace_ms = 5;
    start_run();
    if (_i)
        run_abort(run, RUN_ERROR_shutdown, NULL);
    else
        run_cancel(run);
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    pass(20);
    ck_assert_uint_eq(told.ignored, 0);
}

static void on_second_cancel(uv_timer_t *timer)
{
    (void)timer;
    run_cancel(run);
    run_abort(run, RUN_ERROR_shutdown, NULL);
}

/* The grace counts from the first cancellation: with the second one it would end at 40 ms. */
CASE(second_cancel_gives_no_more_time)
{
    uint64_t cancelled_at;
    uv_timer_t later;

    request.grace_ms = 30;
    start_run();
    made_up_ms = uv_now(&loop);
    run_cancel(run);
    cancelled_at = told.at_ms;
    uv_timer_init(&loop, &later);
    uv_timer_start(&later, on_second_cancel, 10, 0);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert(!uv_is_active((uv_handle_t *)&later));
    ck_assert_uint_ge(told.at_ms, cancelled_at + 30);
    ck_assert_uint_lt(told.at_ms, cancelled_at + 40);
    uv_close((uv_handle_t *)&later, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    made_up_ms = 0;
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(told.ignored, 1);
}

/* Ends the run at once, like an executor that kills its worker. */
static void on_ignored_end(void *data, uint32_t number)
{
    on_ignored(data, number);
    ck_assert_int_eq(end_run(WIRE_FAILED, "worker_crashed", "", ""), 0);
}

CASE(executor_ends_an_ignored_run_at_once)
{
    struct executor killer = executor;

    killer.ignored = on_ignored_end;
    request.grace_ms = 1;
    run = create_run();
    run_start(run, &agent, &killer, &told, told.number);
    run_cancel(run);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
}
