#include "harness/turn.h"

#include "base/log.h"
#include "base/mem.h"
#include "harness/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some_ended = PTHREAD_COND_INITIALIZER; /* for those without a turn */
static _Thread_local struct agent_task *current;

void run_lock(void)
{
    pthread_mutex_lock(&lock);
}

void run_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

struct agent_task *task_current(void)
{
    return current;
}

void task_set_current(struct agent_task *task)
{
    current = task;
}

void task_init(struct agent_task *task, struct run *run, const struct agent_task *parent)
{
    *task = (struct agent_task){.run = run, .vars = parent ? parent->vars : run->first};
    if (parent && parent->scope)
        task->scope = mem_strdup(parent->scope);
    pthread_cond_init(&task->turn, NULL);
}

void task_finish(struct agent_task *task)
{
    free(task->scope);
    free(task->input);
    pthread_cond_destroy(&task->turn);
}

/* ---- turns -------------------------------------------------------------- */

static uint64_t task_due(const struct agent_task *task)
{
    return task->wake_ms > task->run->now_ms ? task->wake_ms : task->run->now_ms;
}

static bool task_precedes(const struct agent_task *task, const struct agent_task *other)
{
    return task_due(task) < task_due(other) ||
           (task_due(task) == task_due(other) && task->order < other->order);
}

/* Whose turn is next. */
static struct agent_task *run_next(const struct run *run)
{
    struct agent_task *task, *next = NULL;

    TAILQ_FOREACH(task, &run->tasks, in_run) {
        if (!task->bound && task->state != TASK_ENDED &&
            (next == NULL || task_precedes(task, next)))
            next = task;
    }
    return next;
}

/* Sets the clock to this time, or cancels the run if it comes first to where it should be. */
static void run_pass_time(struct run *run, uint64_t until_ms)
{
    bool cancel = !run->cancelled && until_ms >= run->cancel_ms;

    if (cancel && run->cancel_ms == NEVER)
        test_log(run->test, "warn", "the run waits for what never comes, and is cancelled");
    if (cancel)
        until_ms = run->cancel_ms;
    if (until_ms > run->now_ms && until_ms != NEVER)
        run->now_ms = until_ms;
    if (cancel)
        run_cancel(run);
}

static void *task_main(void *data);

static void task_start(struct agent_task *task)
{
    int status = pthread_create(&task->thread, NULL, task_main, task);

    if (status)
        log_fatal("a task has no thread: %s", strerror(status));
    task->has_thread = true;
}

static void run_pass_turn(struct run *run)
{
    run_pass_time(run, task_due(run_next(run)));
    run->turn = run_next(run);
    if (task_due(run->turn) == NEVER)
        log_fatal("the agent's tasks wait for each other");
    if (run->turn->state == TASK_QUEUED && !run->turn->has_thread)
        task_start(run->turn);
    else
        pthread_cond_signal(&run->turn->turn);
}

void task_wait(struct agent_task *task, uint64_t wake_ms)
{
    struct run *run = task->run;

    if (task->bound) {
        run_pass_time(run, wake_ms);
        return;
    }
    task->wake_ms = wake_ms;
    task->order = ++run->order;
    run_pass_turn(run);
    while (run->turn != task)
        pthread_cond_wait(&task->turn, &lock);
}

void run_wake(struct run *run)
{
    struct agent_task *task;

    TAILQ_FOREACH(task, &run->tasks, in_run) {
        if (task->wake_ms > run->now_ms)
            task->wake_ms = run->now_ms;
    }
}

/* ---- tasks -------------------------------------------------------------- */

/* One that comes too late is not called at all. */
static void task_execute(struct agent_task *task)
{
    struct agent_task *before = current;

    task->state = TASK_RUNNING;
    task->result = -ECANCELED;
    if (!run_is_stopped(task->run)) {
        current = task;
        run_unlock();
        task->result = task->fn(task->arg);
        run_lock();
        current = before;
    }
    task->state = TASK_ENDED;
    run_wake(task->run);
    pthread_cond_broadcast(&some_ended);
}

/* Begins when it is its turn. */
static void *task_main(void *data)
{
    struct agent_task *task = data;
    struct run *run = task->run;

    run_lock();
    task_execute(task);
    run_pass_turn(run);
    run_unlock();
    return NULL;
}

int turn_spawn(struct agent_task *parent, int (*fn)(void *arg), void *arg, struct agent_task **out)
{
    struct run *run = parent->run;
    struct agent_task *task;

    if (run_is_stopped(run))
        return -ECANCELED;
    if (run->task_count >= AGENT_TASKS_MAX)
        return -EAGAIN;
    if (parent->bound && run->fibers)
        return -ENOTSUP;
    task = mem_alloc(sizeof *task);
    task_init(task, run, parent);
    task->fn = fn;
    task->arg = arg;
    task->order = ++run->order;
    TAILQ_INSERT_TAIL(&run->tasks, task, in_run);
    run->task_count++;
    *out = task;
    return 0;
}

/* On a thread without a turn: one that has not begun is executed there, as on the host's. */
static void await_bound(struct agent_task *other)
{
    if (other->state == TASK_QUEUED) {
        other->bound = true;
        task_execute(other);
    }
    while (other->state != TASK_ENDED)
        pthread_cond_wait(&some_ended, &lock);
}

/* Frees one that has ended. */
static int task_remove(struct agent_task *task)
{
    struct run *run = task->run;
    int result = task->result;

    if (task->has_thread) { /* what it does at its end may call us */
        run_unlock();
        pthread_join(task->thread, NULL);
        run_lock();
    }
    TAILQ_REMOVE(&run->tasks, task, in_run);
    run->task_count--;
    task_finish(task);
    free(task);
    run_wake(run);
    return result;
}

/* One that nobody joins yet, or NULL. */
static struct agent_task *run_find(const struct run *run, const struct agent_task *handle)
{
    struct agent_task *task;

    TAILQ_FOREACH(task, &run->tasks, in_run) {
        if (task == handle && task->fn && !task->joined)
            return task;
    }
    return NULL;
}

int turn_join(struct agent_task *task, const struct agent_task *handle)
{
    struct agent_task *other = run_find(task->run, handle);

    if (other == NULL || other == task)
        return task->run->over ? -ECANCELED : -EINVAL;
    other->joined = true;
    if (task->bound)
        await_bound(other);
    while (other->state != TASK_ENDED)
        task_wait(task, NEVER);
    return task_remove(other);
}

/* The first that has not ended, or that another task is about to remove; NULL for none. */
static struct agent_task *next_live(struct agent_task *first)
{
    struct agent_task *task = TAILQ_NEXT(first, in_run);

    while (task && task->state == TASK_ENDED && !task->joined)
        task = TAILQ_NEXT(task, in_run);
    return task;
}

void turn_join_all(struct agent_task *first)
{
    struct agent_task *task;

    while (next_live(first))
        task_wait(first, NEVER);
    while ((task = TAILQ_NEXT(first, in_run)))
        task_remove(task);
}
