/* Agents that wait for credit, or for a sink that takes no more. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdatomic.h>

CASES("credit on threads", .setup = setup_threads, .teardown = teardown);
CASES("credit on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(waits_without_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    for (size_t i = 1; i <= 5; i++) {
        ck_assert(!accounts[1].ended);
        give_credit(1, CHUNK_COST);
        wait_for_events(1, IN_WINDOW + i);
        ck_assert_uint_eq(accounts[1].events, IN_WINDOW + i);
    }
    wait_for_end(1);
    expect_finished(1);
}

static void wait_for_held(uint32_t run, uint32_t tasks)
{
    while (accounts[run].held != tasks)
        uv_run(&loop, UV_RUN_ONCE);
}

CASE(says_that_it_is_held)
{
    start(1, agent_floods);
    wait_for_held(1, 1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
    give_credit(1, CHUNK_COST);
    wait_for_events(1, IN_WINDOW + 1);
    wait_for_held(1, 1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW + 1);
    give_credit(1, WIRE_WINDOW);
    wait_for_end(1);
    ck_assert_uint_eq(accounts[1].held, 0);
}

CASE(credit_that_does_not_do_changes_nothing)
{
    start(1, agent_floods);
    wait_for_held(1, 1);
    give_credit(1, 1);
    loop_comes_to_rest();
    ck_assert_uint_eq(accounts[1].held, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
}

CASE(nothing_is_held_that_has_credit)
{
    start(1, agent_emits);
    wait_for_end(1);
    ck_assert_uint_eq(accounts[1].held, 0);
}

CASE(all_credit_at_once)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    give_credit(1, WIRE_WINDOW);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW + 5);
}

/* The rest of the window counts; credit that is one byte short is too little. */
CASE(too_little_credit)
{
    size_t missing = CHUNK_COST - WIRE_WINDOW % CHUNK_COST;

    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    give_credit(1, 1);
    give_credit(1, missing - 2);
    loop_comes_to_rest();
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
    give_credit(1, 1);
    wait_for_events(1, IN_WINDOW + 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
}

CASE(cancelled_without_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
}

CASE(others_go_on_while_one_waits)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    start(2, agent_emits);
    wait_for_end(2);
    expect_finished(2);
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    wait_for_end(1);
}

/* The loop sleeps while a run waits for its reader. */
CASE(loop_rests_while_a_run_has_no_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    ck_assert_msg(loop_comes_to_rest(), "the loop spins");
    worker_cancel(worker, 1);
    wait_for_end(1);
}

CASE(sink_takes_a_little_at_a_time)
{
    sink_takes = 777;
    start_plugin(1, "\"recursion\"");
    start(2, agent_emits_too_much);
    give_credit(2, 2 * WIRE_WINDOW);
    while (!accounts[1].ended || !accounts[2].ended) {
        uv_run(&loop, UV_RUN_NOWAIT);
        worker_flush(worker);
    }
    ck_assert_uint_eq(accounts[1].events, 5);
    ck_assert_uint_eq(accounts[2].events, 3);
}

/* More frames than the outbox takes, with a sink that takes nothing at first. */
CASE(full_outbox)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= FLOODS; run++)
        start(run, agent_fills_its_window);
    loop_comes_to_rest();
    ck_assert_uint_eq(record_count, 0);
    sink_takes = SIZE_MAX;
    for (uint32_t run = 1; run <= FLOODS; run++) {
        while (!accounts[run].ended) {
            worker_flush(worker);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, IN_WINDOW);
    }
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* Frames that came while the sink took nothing must leave after the sink can take more. Fiber mode
 * makes this deterministic: no frame is in flight. */
CASE(sink_catches_up)
{
    sink_takes = 0;
    start_plugin(1, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    start_plugin(2, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(accounts[1].events, 1);
    ck_assert(accounts[1].ended);
    ck_assert_uint_eq(accounts[2].events, 1);
    ck_assert(accounts[2].ended);
}

CASE(quits_when_the_sink_catches_up)
{
    sink_takes = 0;
    start_plugin(1, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    start_plugin(2, "\"helper\"");
    worker_quit(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 0);
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 1);
}

/* The outbox is bounded: agents wait while it is full. */
CASE(full_outbox_makes_agents_wait)
{
    size_t ended = 0;

    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    loop_comes_to_rest();
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        ended += accounts[run].ended;
    ck_assert_uint_lt(ended, 2 * FLOODS);
    ck_assert_uint_le(record_count * CHUNK_COST, 2 * OUTBOX_MAX + 2 * CHUNK_COST);
    for (uint32_t run = 1; run <= 2 * FLOODS; run++) {
        while (!accounts[run].ended) {
            worker_flush(worker);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
}

/* One flush wakes all agents that wait. */
CASE(waiting_agents_go_on_when_the_sink_catches_up)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    ck_assert(loop_comes_to_rest());
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    for (uint32_t run = 1; run <= 2 * FLOODS; run++) {
        ck_assert(accounts[run].ended);
        ck_assert_uint_eq(accounts[run].events, IN_WINDOW);
    }
}

/* Floods half of a window. */
static int task_floods(void *arg)
{
    struct task_note *note = arg;

    for (size_t i = 0; i < IN_WINDOW / 2 && note->status == 0; i++)
        note->status = emit_long(CHUNK - 2, 0);
    return note->status;
}

static int agent_floods_with_tasks(void)
{
    struct agent_task *tasks[6];

    for (int i = 0; i < 6; i++)
        task_spawn(task_floods, &tasked[i], &tasks[i]);
    atomic_store(&tasked[7].begun, true);
    for (int i = 0; i < 6; i++)
        note_status(task_join(tasks[i]));
    return 0;
}

CASES("credit of tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("credit of tasks on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(tasks_wait_for_credit)
{
    start(1, agent_floods_with_tasks);
    wait_for_events(1, IN_WINDOW);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
    give_credit(1, CHUNK_COST);
    wait_for_events(1, IN_WINDOW + 1);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    give_credit(1, 2 * WIRE_WINDOW);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW / 2 * 6);
}

CASE(tasks_without_credit_are_cancelled)
{
    start(1, agent_floods_with_tasks);
    wait_for_events(1, IN_WINDOW);
    while (!atomic_load(&tasked[7].begun))
        uv_run(&loop, UV_RUN_NOWAIT);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    for (int i = 0; i < 6; i++) /* some may have ended before */
        ck_assert(notes.status[i] == 0 || notes.status[i] == -ECANCELED);
    ck_assert(notes.status[0] || notes.status[1] || notes.status[2] || notes.status[3] ||
              notes.status[4] || notes.status[5]);
}
