/*
 * The states of a subtask:
 *
 *     QUEUED ──► RUNNING ──► ENDED ──► joined, and gone
 *       │                      ▲
 *       └── by its joiner ─────┘
 *
 * On threads, whoever joins a subtask that no thread has begun executes it: so
 * a pool that is full of runs that wait for their subtasks goes on. Its
 * executor may still call subtask_execute() for it, which then finds nothing to
 * do; hence two references, that of the run's list and that of the executor.
 */
#include "worker/subtask.h"

#include "agent.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/job.h"

#include <errno.h>
#include <stdlib.h>

struct agent_task {
    struct task task; /* what executes it */
    int (*fn)(void *arg);
    void *arg;
    enum { SUBTASK_QUEUED, SUBTASK_RUNNING, SUBTASK_ENDED } state;
    bool joined; /* one waits for it, and will take it out of its run */
    int result;
    unsigned refs;
    TAILQ_ENTRY(agent_task) in_job; /* in subtasks->list */
};

void subtasks_init(struct subtasks *subtasks)
{
    *subtasks = (struct subtasks){0};
    TAILQ_INIT(&subtasks->list);
}

struct waiter *subtask_waiter(struct agent_task *subtask)
{
    return &subtask->task.waiter;
}

static void subtask_free(struct agent_task *subtask)
{
    task_finish(&subtask->task);
    free(subtask);
}

/* Locked. */
static void subtask_unref(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;

    sched_assert_locked(job_sched(subtask->task.job));
    if (--subtask->refs > 0)
        return;
    subtask_free(subtask);
    job_unref(job);
}

/* Takes it out of its run. Locked. */
static void subtask_remove(struct agent_task *subtask)
{
    struct subtasks *subtasks = job_subtasks(subtask->task.job);

    TAILQ_REMOVE(&subtasks->list, subtask, in_job);
    subtasks->count--;
    subtask_unref(subtask);
}

/* Locked. */
static int subtask_start(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;
    struct subtasks *subtasks = job_subtasks(job);
    const struct subtask_executor *executor;
    int status;

    sched_assert_locked(job_sched(subtask->task.job));
    if (job_is_stopped(job))
        return -ECANCELED;
    if (subtasks->count >= AGENT_TASKS_MAX)
        return -EAGAIN;
    executor = job_host(job)->executor;
    status = executor->start(executor->data, subtask);
    if (status < 0)
        return status;
    TAILQ_INSERT_TAIL(&subtasks->list, subtask, in_job);
    subtasks->count++;
    job_ref(job);
    subtask->refs = 2;
    return 0;
}

int subtask_spawn(struct task *parent, int (*fn)(void *arg), void *arg, struct agent_task **out)
{
    struct job *job = parent->job;
    struct agent_task *subtask = mem_alloc(sizeof *subtask);
    int status;

    task_init(&subtask->task, job, parent->vars, NULL);
    task_inherit_scope(&subtask->task, parent);
    subtask->fn = fn;
    subtask->arg = arg;
    sched_lock(job_sched(job));
    status = subtask_start(subtask);
    sched_unlock(job_sched(job));
    if (status < 0)
        subtask_free(subtask);
    else
        *out = subtask;
    return status;
}

/* Locked. */
static void subtask_end(struct agent_task *subtask)
{
    subtask->state = SUBTASK_ENDED;
    job_wake(subtask->task.job);
}

/* fn has called pthread_exit() on a thread of the pool. */
static void on_thread_exit(void *data)
{
    struct agent_task *subtask = data;
    struct sched *sched = job_sched(subtask->task.job);

    job_fail_exit(subtask->task.job, "a task");
    sched_lock(sched);
    subtask_end(subtask);
    subtask_unref(subtask);
    sched_unlock(sched);
}

/* The same on the thread of its joiner, which ends with it. */
static void on_joiner_exit(void *data)
{
    struct agent_task *subtask = data;
    struct sched *sched = job_sched(subtask->task.job);

    job_fail_exit(subtask->task.job, "a task");
    sched_lock(sched);
    subtask->joined = false;
    subtask_end(subtask);
    sched_unlock(sched);
}

static int subtask_call(struct agent_task *subtask, void (*on_exit)(void *data))
{
    int result;

    /* Clean-up handlers are a thread's, not a fiber's. */
    if (subtask->task.waiter.fiber)
        return subtask->fn(subtask->arg);
    pthread_cleanup_push(on_exit, subtask);
    result = subtask->fn(subtask->arg);
    pthread_cleanup_pop(0);
    return result;
}

/* Execute the subtask, unless its run is stopped. on_exit() is called if it ends its thread.
 * Locked, but for the call. */
static void subtask_run(struct agent_task *subtask, void (*on_exit)(void *data))
{
    struct job *job = subtask->task.job;
    struct task *before = task_current();

    sched_assert_locked(job_sched(subtask->task.job));
    subtask->state = SUBTASK_RUNNING;
    subtask->result = -ECANCELED;
    if (!job_is_stopped(job)) {
        sched_unlock(job_sched(job));
        task_set_current(&subtask->task);
        subtask->result = subtask_call(subtask, on_exit);
        task_set_current(before);
        sched_lock(job_sched(job));
    }
    subtask_end(subtask);
}

void subtask_execute(struct agent_task *subtask)
{
    struct sched *sched = job_sched(subtask->task.job);

    sched_lock(sched);
    if (subtask->state == SUBTASK_QUEUED)
        subtask_run(subtask, on_thread_exit);
    subtask_unref(subtask);
    sched_unlock(sched);
}

/* Execute it here, if none has begun it and this thread may. Locked, but for the call. */
static bool subtask_run_here(struct agent_task *subtask)
{
    const struct subtask_executor *executor = job_host(subtask->task.job)->executor;

    sched_assert_locked(job_sched(subtask->task.job));
    if (subtask->state != SUBTASK_QUEUED || !executor->may_run_here(executor->data))
        return false;
    if (executor->withdraw(executor->data, subtask))
        subtask->refs--;
    subtask_run(subtask, on_joiner_exit);
    return true;
}

/* Wait until another task has done something. Locked. */
static void subtask_wait(struct task *task)
{
    task->waiter.needs_task = true;
    job_wait(task, NEVER);
    task->waiter.needs_task = false;
}

/* Return the subtask of this handle, or NULL if it may not be joined. Locked. */
static struct agent_task *job_find_subtask(struct job *job, const struct agent_task *handle)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job_subtasks(job)->list, in_job) {
        if (subtask == handle)
            return subtask->joined ? NULL : subtask;
    }
    return NULL;
}

/* Locked. */
static int subtask_await(struct task *task, struct agent_task *subtask)
{
    int result;

    sched_assert_locked(job_sched(task->job));
    subtask->joined = true;
    subtask_run_here(subtask);
    while (subtask->state != SUBTASK_ENDED)
        subtask_wait(task);
    result = subtask->result;
    subtask_remove(subtask);
    job_wake(task->job);
    return result;
}

bool subtask_join(struct task *task, struct agent_task *handle, int *result)
{
    struct sched *sched = job_sched(task->job);
    struct agent_task *subtask;
    bool over, found;

    sched_lock(sched);
    over = job_is_over(task->job);
    *result = over ? -ECANCELED : -EINVAL;
    subtask = job_find_subtask(task->job, handle);
    found = subtask && &subtask->task != task;
    if (found)
        *result = subtask_await(task, subtask);
    sched_unlock(sched);
    return found || over;
}

/* Return whether none executes, and none is about to be joined. Locked. */
static bool subtasks_have_ended(struct job *job)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job_subtasks(job)->list, in_job) {
        if (subtask->state != SUBTASK_ENDED || subtask->joined)
            return false;
    }
    return true;
}

/* Locked, but for the call. */
static bool subtasks_run_one_here(struct job *job)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job_subtasks(job)->list, in_job) {
        if (subtask_run_here(subtask))
            return true;
    }
    return false;
}

void subtasks_join_all(struct task *task, bool failed)
{
    struct job *job = task->job;

    if (failed)
        job_stop(job);
    while (!subtasks_have_ended(job)) {
        if (!subtasks_run_one_here(job))
            subtask_wait(task);
    }
    while (!TAILQ_EMPTY(&job_subtasks(job)->list))
        subtask_remove(TAILQ_FIRST(&job_subtasks(job)->list));
}
