/* Inputs of a run, and a run that waits for them. */
#include "../case.h"
#include "run_fixture.h"

#include <errno.h>
#include <string.h>

static int give(const char *json)
{
    return run_give_input(run, json, strlen(json));
}

CASES("queued", .setup = setup, .teardown = teardown);

CASE(input_while_queued)
{
    ck_assert_int_eq(give("1"), -ENXIO);
    ck_assert_uint_eq(told.inputs, 0);
}

CASES("inputs", .setup = setup_running, .teardown = teardown);

CASE(input_reaches_the_executor)
{
    ck_assert_int_eq(run_give_input(run, "{\"a\":1} behind it", 7), 0);
    ck_assert_uint_eq(told.inputs, 1);
    ck_assert_str_eq(told.last_input, "{\"a\":1}");
}

CASE_LOOP(input_after_the_end, 0, 2)
{
    if (_i)
        run_abort(run, RUN_ERROR_deadline, NULL); /* its agent still runs */
    else
        ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(give("1"), -ENXIO);
    ck_assert_uint_eq(told.inputs, 0);
}

CASE(most_inputs)
{
    for (unsigned i = 0; i < RUN_INPUTS_MAX; i++)
        ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("1"), -EAGAIN);
    ck_assert_uint_eq(told.inputs, RUN_INPUTS_MAX);
    ck_assert_int_eq(run_set_waiting(run, 3, 0), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("1"), -EAGAIN);
    ck_assert_int_eq(run_set_waiting(run, RUN_INPUTS_MAX + 3, 1), 0);
    ck_assert_int_eq(give("1"), 0);
}

CASE(input_that_the_executor_cannot_take)
{
    told.input_status = -EAGAIN;
    for (unsigned i = 0; i < 2 * RUN_INPUTS_MAX; i++)
        ck_assert_int_eq(give("1"), -EAGAIN);
    told.input_status = 0;
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_set_waiting(run, 2, 0), -EPROTO);
}

CASE(waits_for_input)
{
    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert(!run_has_ended(run));
    ck_assert_int_eq(run_set_waiting(run, 0, 2), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    ck_assert_uint_eq(eventlog_last(run_log(run)), 1); /* waiting is no event */
}

CASE_LOOP(ends_while_it_waits, 0, 3)
{
    static const enum run_state states[] = {RUN_finished, RUN_failed, RUN_cancelled};

    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    if (_i == WIRE_CANCELLED)
        run_cancel(run);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(end_run((enum wire_status)_i, "", "", ""), 0);
    ck_assert_int_eq(run_get_state(run), states[_i]);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

/* A worker can take only inputs that it was sent, and each only once. */
CASE(forged_counts)
{
    ck_assert_int_eq(run_set_waiting(run, 1, 0), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, UINT32_MAX, 1), -EPROTO);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("2"), 0);
    ck_assert_int_eq(run_set_waiting(run, 3, 1), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, 2, 0), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 1), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, 0, 1), -EPROTO);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE(input_to_an_agent_that_is_being_cancelled)
{
    run_cancel(run);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
}
