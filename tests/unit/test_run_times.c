/* Readers that leave, the time to linger, deadlines. */
#include "../case.h"
#include "run_fixture.h"

/* Start a run with this time to linger, and let its reader leave. */
static void leave_run(uint64_t linger_ms)
{
    request.linger_ms = linger_ms;
    start_run();
    run_leave(&reader.subscriber);
    ck_assert_ptr_null(reader.subscriber.run);
}

CASES("leave", .setup = setup_runs, .teardown = teardown);

CASE(last_leaves_without_linger)
{
    leave_run(0);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE_LOOP(last_leaves_a_queued_run, 0, 2)
{
    request.linger_ms = _i ? 2 : 0;
    run = create_run();
    subscribe(&reader);
    run_leave(&reader.subscriber);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_uint_eq(told.cancels, 0);
}

CASE(lingers_without_end)
{
    leave_run(NEVER);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_str_eq(replay(0).types, "run a done ");
}

CASE(lingers_for_its_time)
{
    uint64_t left_at;

    leave_run(5);
    left_at = uv_now(&loop);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(append("a", "1"), 0);
    while (told.cancels == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(told.at_ms, left_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    pass(20);
    ck_assert_uint_eq(told.cancels, 1);
}

CASE(reader_comes_back)
{
    leave_run(5);
    subscribe_after(&reader, 1);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    run_leave(&reader.subscriber);
    while (told.cancels == 0)
        uv_run(&loop, UV_RUN_ONCE);
}

CASE(another_reader_stays)
{
    struct reader other = {.lazy = false};

    request.linger_ms = 0;
    start_run();
    subscribe(&other);
    run_leave(&reader.subscriber);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
    run_leave(&other.subscriber);
    ck_assert_uint_eq(told.cancels, 1);
    buf_finish(&other.text);
}

/* A reader that unsubscribes is done; only a reader that leaves starts the time to linger. */
CASE(unsubscribing_is_not_leaving)
{
    request.linger_ms = 0;
    start_run();
    run_unsubscribe(&reader.subscriber);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
}

CASE_LOOP(leaves_after_the_end, 0, 2)
{
    request.linger_ms = (uint64_t)_i;
    start_run();
    ck_assert_int_eq(finish(), 0);
    run_leave(&reader.subscriber);
    pass(10);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
}

CASE(ends_while_it_lingers)
{
    leave_run(5);
    ck_assert_int_eq(finish(), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
}

CASE(ignored_after_its_time_to_linger)
{
    request.grace_ms = 2;
    leave_run(2);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
}

static const char late_done[] = "{\"status\":\"failed\",\"error\":{\"code\":\"deadline\","
                                "\"message\":\"the run took longer than its deadline allows\"}}";

CASES("deadline", .setup = setup_runs, .teardown = teardown);

CASE(deadline_of_a_queued_run)
{
    uint64_t created_at = uv_now(&loop);

    request.deadline_ms = 5;
    run = create_run();
    subscribe(&reader);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(uv_now(&loop), created_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("done ", late_done);
}

CASE(deadline_of_a_running_run)
{
    request.deadline_ms = 5;
    start_run();
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    pass(10);
    ck_assert_uint_eq(told.ignored, 0);
    expect_stream("run done ", late_done);
}

CASE(deadline_of_an_agent_that_ignores_it)
{
    request.deadline_ms = 2;
    request.grace_ms = 2;
    start_run();
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", late_done);
}

CASE(ends_before_its_deadline)
{
    request.deadline_ms = 5;
    start_run();
    ck_assert_int_eq(finish(), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASE(deadline_comes_while_it_lingers)
{
    request.deadline_ms = 5;
    leave_run(HOUR_MS);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
}

CASE(deadline_comes_within_its_grace)
{
    request.deadline_ms = 5;
    request.grace_ms = HOUR_MS;
    start_run();
    run_cancel(run);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
}

/* A time too far to represent never comes. */
CASE(times_do_not_overflow)
{
    request.deadline_ms = request.grace_ms = NEVER - 1;
    leave_run(NEVER - 1);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
    run_cancel(run);
    pass(5);
    ck_assert_uint_eq(told.ignored, 0);
}
