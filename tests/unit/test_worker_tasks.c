/* Spawning and joining tasks. */
#include "../case.h"
#include "agent_http.h"
#include "worker/host_table.h"
#include "worker_fixture.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static int agent_joins_tasks(void)
{
    static const int results[] = {7, -EIO, 0};
    struct agent_task *tasks[3];

    for (int i = 0; i < 3; i++) {
        tasked[i].result = results[i];
        note_status(task_spawn(task_returns, &tasked[i], &tasks[i]));
    }
    for (int i = 2; i >= 0; i--)
        note_status(task_join(tasks[i]));
    return 0;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(tasks_have_results)
{
    run_agent(agent_joins_tasks);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(notes.status[i], 0);
        ck_assert(tasked[i].called);
    }
    ck_assert_int_eq(notes.status[3], 0);
    ck_assert_int_eq(notes.status[4], -EIO);
    ck_assert_int_eq(notes.status[5], 7);
    expect_finished(1);
}

static int agent_joins_wrongly(void)
{
    struct agent_task *task;

    note_status(task_spawn(NULL, NULL, &task));
    note_status(task_spawn(task_returns, &tasked[0], NULL));
    note_status(task_join(NULL));
    note_status(task_spawn(task_returns, &tasked[0], &task));
    note_status(task_join(task));
    note_status(task_join(task));
    note_status(task_join((struct agent_task *)&tasked[0]));
    return 0;
}

CASE(joined_wrongly)
{
    static const int wanted[] = {-EINVAL, -EINVAL, -EINVAL, 0, 0, -EINVAL, -EINVAL};

    run_agent(agent_joins_wrongly);
    ck_assert_uint_eq(notes.count, 7);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(notes.status[i], wanted[i]);
    expect_finished(1);
}

/* Make a tree of tasks; return the number of its leaves, or a negative errno. */
static int task_grows(void *arg)
{
    int depth = (int)(intptr_t)arg, leaves[2];
    struct agent_task *tasks[2];
    void *below = (void *)(intptr_t)(depth - 1);

    if (depth == 0)
        return emit_event("leaf", "1") < 0 ? -EIO : 1;
    for (int i = 0; i < 2; i++) {
        int status = task_spawn(task_grows, below, &tasks[i]);
        if (status < 0)
            return status;
    }
    for (int i = 0; i < 2; i++)
        leaves[i] = task_join(tasks[i]);
    return leaves[0] < 0 || leaves[1] < 0 ? -EIO : leaves[0] + leaves[1];
}

static int agent_grows(void)
{
    return task_grows((void *)6) == 64 ? 0 : -EIO;
}

CASE(tasks_spawn_tasks)
{
    for (uint32_t run = 1; run <= 8; run++)
        start(run, agent_grows);
    for (uint32_t run = 1; run <= 8; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 64);
    }
}

/* Each task spawns one, as deep as the limit allows; returns the depth. */
static int task_digs(void *arg)
{
    int depth = (int)(intptr_t)arg;
    struct agent_task *task;
    int status = task_spawn(task_digs, (void *)(intptr_t)(depth + 1), &task);

    if (status == -EAGAIN)
        return depth;
    return status < 0 ? status : task_join(task);
}

static int agent_digs(void)
{
    note_status(task_digs((void *)0));
    return 0;
}

CASE(deep_tasks)
{
    run_agent(agent_digs);
    ck_assert_int_eq(notes.status[0], AGENT_TASKS_MAX);
    expect_finished(1);
}

static int agent_spawns_too_many(void)
{
    struct agent_task *tasks[AGENT_TASKS_MAX], *more;
    int status = 0;

    for (int i = 0; i < AGENT_TASKS_MAX; i++)
        status += task_spawn(task_returns, &tasked[i % TASKS], &tasks[i]);
    note_status(status);
    note_status(task_spawn(task_returns, &tasked[0], &more));
    note_status(task_join(tasks[AGENT_TASKS_MAX / 2]));
    note_status(task_spawn(task_returns, &tasked[0], &more));
    note_status(task_spawn(task_returns, &tasked[0], &more));
    return 0;
}

CASE(most_tasks)
{
    static const int wanted[] = {0, -EAGAIN, 0, 0, -EAGAIN};

    run_agent(agent_spawns_too_many);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(notes.status[i], wanted[i]);
    expect_finished(1);
}

static void *spawn_on_this_thread(void *captured)
{
    struct agent_task *task = NULL;

    note_status(ctx_bind(captured));
    note_status(task_spawn(task_returns, &tasked[0], &task));
    note_status(task ? task_join(task) : -ENXIO);
    ctx_bind(NULL);
    return NULL;
}

static int agent_spawns_from_a_thread(void)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t thread;

    tasked[0].result = 5;
    pthread_create(&thread, NULL, spawn_on_this_thread, captured);
    pthread_join(thread, NULL);
    ctx_release(captured);
    return 0;
}

CASE(bound_thread_spawns)
{
    bool threads = worker_plugin(worker)->mode == AGENT_THREAD;

    run_agent(agent_spawns_from_a_thread);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], threads ? 0 : -ENOTSUP);
    ck_assert_int_eq(notes.status[2], threads ? 5 : -ENXIO);
    expect_finished(1);
}

static void *join_on_this_thread(void *captured)
{
    note_status(ctx_bind(captured));
    atomic_store(&tasked[2].begun, true);
    note_status(task_join(tasked[0].handle));
    ctx_bind(NULL);
    atomic_store(&tasked[1].begun, true);
    return NULL;
}

/* The task is queued when the thread joins it. The thread must not execute it in fiber mode. */
static int agent_joins_from_a_thread(void)
{
    struct agent_ctx *captured = ctx_capture();
    struct agent_task *task;
    pthread_t thread;
    int status = 0;

    tasked[0].result = 5;
    note_status(task_spawn(task_echoes, &tasked[0], &task));
    tasked[0].handle = task;
    pthread_create(&thread, NULL, join_on_this_thread, captured);
    while (!atomic_load(&tasked[2].begun))
        sched_yield();
    for (int i = 0; i < 1000; i++)
        sched_yield();
    tasked[2].called = tasked[0].called;
    while (!atomic_load(&tasked[1].begun) && status == 0)
        status = agent_sleep(1);
    pthread_join(thread, NULL);
    ctx_release(captured);
    return status;
}

CASE(bound_thread_joins)
{
    start(1, agent_joins_from_a_thread);
    wait_for_awaited(1, 1);
    give_input(1, "1");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_int_eq(notes.status[2], 5);
    ck_assert(worker_plugin(worker)->mode == AGENT_THREAD || !tasked[2].called);
}

/* After its run is over, a bound thread gets only -ECANCELED. */
static void *use_run_until_it_is_over(void *captured)
{
    struct agent_http_request request = {.url = "http://127.0.0.1:1/"};
    struct agent_task *task;
    struct agent_http *http;
    int status;

    ctx_bind(captured);
    ctx_release(captured);
    do
        status = task_spawn(task_returns, &tasked[0], &task);
    while (status != -ECANCELED);
    note_status(status);
    note_status(task_join((struct agent_task *)&tasked[0]));
    note_status(agent_host_table->http_open(&request, &http));
    ctx_bind(NULL);
    return NULL;
}

static int agent_leaves_a_thread_that_spawns(void)
{
    struct agent_ctx *captured = ctx_capture();

    return -pthread_create(&notes.thread, NULL, use_run_until_it_is_over, captured);
}

CASE(bound_thread_spawns_until_the_run_is_over)
{
    run_agent(agent_leaves_a_thread_that_spawns);
    pthread_join(notes.thread, NULL);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
}

/* Spawns and joins often; joined tasks must not take memory. */
static int agent_spawns_and_joins(void)
{
    struct agent_task *task;
    struct mallinfo2 before = mallinfo2(), after;
    int status = 0;

    for (int i = 0; i < 20000 && status == 0; i++) {
        status = task_spawn(task_returns, &tasked[0], &task);
        if (status == 0)
            status = task_join(task);
    }
    after = mallinfo2();
    note_status(status);
    note_status(after.uordblks < before.uordblks + 100000);
    return 0;
}

CASE(tasks_that_were_joined_take_no_memory)
{
    run_agent(agent_spawns_and_joins);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 1);
}

static int task_counts(void *arg)
{
    (void)arg;
    atomic_fetch_add(&calls, 1);
    return emit_event("call", "{}");
}

/* Spawns tasks, and joins some of them in between. */
static int agent_spawns_many(void)
{
    struct agent_task *tasks[40];

    for (int i = 0; i < 40; i++) {
        if (task_spawn(task_counts, NULL, &tasks[i]) < 0)
            return -EIO;
        if (i % 3 == 2)
            task_join(tasks[i - i % 2]);
        if (i % 5 == 0)
            agent_sleep(0);
    }
    return 0;
}

CASE(many_tasks_of_many_runs)
{
    enum { COUNT = 40 };

    for (uint32_t run = 1; run <= COUNT; run++)
        start(run, agent_spawns_many);
    for (uint32_t run = 1; run <= COUNT; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 40);
    }
    ck_assert_uint_eq(atomic_load(&calls), COUNT * 40);
}

static int task_joins_itself(void *arg)
{
    struct task_note *note = arg;

    while (note->handle == NULL)
        agent_sleep(1);
    return task_join(note->handle);
}

static int agent_whose_task_joins_itself(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_joins_itself, &tasked[0], &task));
    tasked[0].handle = task;
    note_status(task_join(task));
    return 0;
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(task_cannot_join_itself)
{
    run_agent(agent_whose_task_joins_itself);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    expect_finished(1);
}
