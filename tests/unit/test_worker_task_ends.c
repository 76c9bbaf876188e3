/* Tasks and the end of their run: it returns, fails, is cancelled, or the worker quits. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdatomic.h>

static int agent_leaves_two_tasks(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_echoes, &tasked[0], &task));
    note_status(task_spawn(task_echoes, &tasked[1], &task));
    emit_event("left", "{}");
    return 0;
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(run_ends_when_its_tasks_have)
{
    start(1, agent_leaves_two_tasks);
    wait_for_events(1, 1);
    wait_for_awaited(1, 2);
    give_input(1, "1");
    wait_for_events(1, 2);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    give_input(1, "2");
    wait_for_end(1);
    expect_finished(1);
    expect_event(1, 0, "left", "{}");
    ck_assert_uint_eq(accounts[1].events, 3);
    ck_assert_int_eq(tasked[0].status, 0);
    ck_assert_int_eq(tasked[1].status, 0);
}

/* Spawn both tasks and return; the second has the handle of the first, which returns 42. */
static int leave_joined(int (*first)(void *), int (*second)(void *))
{
    struct agent_task *task;

    tasked[0].result = 42;
    note_status(task_spawn(first, &tasked[0], &task));
    tasked[1].handle = task;
    note_status(task_spawn(second, &tasked[1], &task));
    return 0;
}

static void expect_joined(int (*agent)(void))
{
    start(1, agent);
    wait_for_awaited(1, 1);
    ck_assert(loop_comes_to_rest());
    give_input(1, "1");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(tasked[1].join_status, 42);
}

static int task_joins(void *arg)
{
    struct task_note *note = arg;

    note->join_status = task_join(note->handle);
    return 0;
}

static int agent_leaves_one_to_the_other(void)
{
    return leave_joined(task_echoes, task_joins);
}

CASE(tasks_join_each_other_when_handle_has_returned)
{
    expect_joined(agent_leaves_one_to_the_other);
}

/* Joins a task that has ended before. */
static int task_joins_late(void *arg)
{
    struct task_note *note = arg;
    const char *json;

    note->status = run_input(AGENT_FOREVER, &json);
    note->join_status = task_join(note->handle);
    return 0;
}

static int agent_leaves_a_late_one(void)
{
    return leave_joined(task_returns, task_joins_late);
}

CASE(task_that_has_ended_is_joined_late)
{
    expect_joined(agent_leaves_a_late_one);
}

static int task_sleeps(void *arg)
{
    struct task_note *note = arg;

    note->called = true;
    emit_event("asleep", "{}");
    atomic_store(&note->begun, true);
    note->status = agent_sleep(HOUR_MS);
    return note->status;
}

/* Spawn sleepers, and return after all of them have begun. */
static int spawn_sleepers(struct agent_task **tasks, int count)
{
    int status = 0;

    for (int i = 0; i < count && status == 0; i++)
        status = task_spawn(task_sleeps, &tasked[i], &tasks[i]);
    for (int i = 0; i < count && status == 0; i++) {
        while (!atomic_load(&tasked[i].begun) && status == 0)
            status = agent_sleep(1);
    }
    return status;
}

static int agent_fails_with_tasks(void)
{
    struct agent_task *tasks[3];

    note_status(spawn_sleepers(tasks, 3));
    return -EIO;
}

static int agent_says_it_fails_with_tasks(void)
{
    struct agent_task *tasks[3];

    note_status(spawn_sleepers(tasks, 3));
    run_fail("tired", "of it");
    return 0;
}

static void expect_sleepers_stopped(int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert(tasked[i].called);
        ck_assert_int_eq(tasked[i].status, -ECANCELED);
    }
}

CASE(failure_stops_the_tasks)
{
    run_agent(agent_fails_with_tasks);
    expect_sleepers_stopped(3);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_str_eq(accounts[1].code, "agent_error");
}

CASE(failure_that_was_said_stops_the_tasks)
{
    run_agent(agent_says_it_fails_with_tasks);
    expect_sleepers_stopped(3);
    expect_end(1, WIRE_FAILED, "tired", "of it", "");
}

static int agent_joins_sleepers(void)
{
    struct agent_task *tasks[3], *late;

    note_status(spawn_sleepers(tasks, 3));
    emit_event("joining", "{}");
    for (int i = 0; i < 3; i++)
        note_status(task_join(tasks[i]));
    note_status(task_spawn(task_returns, &tasked[5], &late));
    return 0;
}

CASE(cancelled_while_it_joins)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    expect_sleepers_stopped(3);
    ck_assert_int_eq(notes.status[0], 0);
    for (int i = 1; i <= 4; i++)
        ck_assert_int_eq(notes.status[i], -ECANCELED);
    ck_assert(!tasked[5].called);
}

CASE(cancelled_while_its_tasks_are_waited_for)
{
    start(1, agent_leaves_two_tasks);
    wait_for_awaited(1, 2);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(tasked[0].status, -ECANCELED);
    ck_assert_int_eq(tasked[1].status, -ECANCELED);
}

CASE(quits_with_tasks)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    start(2, agent_leaves_two_tasks);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    expect_cancelled(1);
    expect_cancelled(2);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

CASE(cancelled_while_it_joins_ends_at_once)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    for (int turn = 0; turn < 4; turn++)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert(accounts[1].ended);
}

static int agent_sleeps_before_it_joins(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_returns, &tasked[0], &task));
    emit_event("spawned", "{}");
    note_status(agent_sleep(HOUR_MS));
    note_status(task_join(task));
    return 0;
}

CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);
CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* The task waits for the only thread, or for the first turn of the loop. */
CASE(cancelled_before_a_task_began)
{
    start(1, agent_sleeps_before_it_joins);
    if (worker_plugin(worker)->mode == AGENT_THREAD)
        wait_for_events(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert(!tasked[0].called);
}
