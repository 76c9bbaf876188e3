#include "worker/subtask.h"

#include "agent.h"
#include "base/mem.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>

struct agent_task {
    struct task task; /* what executes it */
    int (*fn)(void *arg);
    void *arg;
    enum { SUBTASK_QUEUED, SUBTASK_RUNNING, SUBTASK_ENDED } state;
    bool joined; /* one waits for it, and will take it out of its run */
    int result;
    unsigned refs;                  /* the job's list's, and its executor's until that has called */
    TAILQ_ENTRY(agent_task) in_job; /* in job->subtasks */
};

struct task *subtask_task(struct agent_task *subtask)
{
    return &subtask->task;
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

    if (--subtask->refs > 0)
        return;
    subtask_free(subtask);
    job_unref(job);
}

/* Takes it out of its run. Locked. */
static void subtask_remove(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;

    TAILQ_REMOVE(&job->subtasks, subtask, in_job);
    job->subtask_count--;
    subtask_unref(subtask);
}

/* Locked. */
static int subtask_start(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;
    int status;

    if (job_is_stopped(job))
        return -ECANCELED;
    if (job->subtask_count >= AGENT_TASKS_MAX)
        return -EAGAIN;
    status = job->executor->start(job->executor->data, subtask);
    if (status < 0)
        return status;
    TAILQ_INSERT_TAIL(&job->subtasks, subtask, in_job);
    job->subtask_count++;
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
    outbox_lock(job->outbox);
    status = subtask_start(subtask);
    outbox_unlock(job->outbox);
    if (status < 0)
        subtask_free(subtask);
    else
        *out = subtask;
    return status;
}

/* One that comes too late is not called at all. Locked, but for the call. */
static void subtask_run(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;
    struct task *before = task_current();

    subtask->state = SUBTASK_RUNNING;
    subtask->result = -ECANCELED;
    if (!job_is_stopped(job)) {
        outbox_unlock(job->outbox);
        task_set_current(&subtask->task);
        subtask->result = subtask->fn(subtask->arg);
        task_set_current(before);
        outbox_lock(job->outbox);
    }
    subtask->state = SUBTASK_ENDED;
    job_wake(job);
}

void subtask_execute(struct agent_task *subtask)
{
    struct outbox *outbox = subtask->task.job->outbox;

    outbox_lock(outbox);
    if (subtask->state == SUBTASK_QUEUED)
        subtask_run(subtask);
    subtask_unref(subtask);
    outbox_unlock(outbox);
}

/*
 * Executes it here if it is for a thread and none has begun it; its executor
 * need not come any more. Locked, but for the call.
 */
static bool subtask_run_here(struct agent_task *subtask)
{
    const struct subtask_executor *executor = subtask->task.job->executor;

    if (subtask->state != SUBTASK_QUEUED || subtask->task.fiber)
        return false;
    if (executor->withdraw(executor->data, subtask))
        subtask->refs--;
    subtask_run(subtask);
    return true;
}

/* The handle's subtask; NULL if it is none that this one may join. Locked. */
static struct agent_task *job_find_subtask(struct job *job, const struct agent_task *handle)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job->subtasks, in_job) {
        if (subtask == handle)
            return subtask->joined ? NULL : subtask;
    }
    return NULL;
}

/* Locked. */
static int subtask_await(struct task *task, struct agent_task *subtask)
{
    int result;

    subtask->joined = true;
    subtask_run_here(subtask);
    while (subtask->state != SUBTASK_ENDED)
        task_wait(task, NEVER);
    result = subtask->result;
    subtask_remove(subtask);
    job_wake(task->job);
    return result;
}

int subtask_join(struct task *task, struct agent_task *handle)
{
    struct outbox *outbox = task->job->outbox;
    struct agent_task *subtask;
    int result;

    outbox_lock(outbox);
    result = job_is_over(task->job) ? -ECANCELED : -EINVAL;
    subtask = job_find_subtask(task->job, handle);
    if (subtask && &subtask->task != task)
        result = subtask_await(task, subtask);
    outbox_unlock(outbox);
    return result;
}

/* Those that have ended may still be joined by those that have not. Locked. */
static bool subtasks_have_ended(const struct job *job)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job->subtasks, in_job) {
        if (subtask->state != SUBTASK_ENDED || subtask->joined)
            return false;
    }
    return true;
}

/* Locked, but for the calls. */
static bool subtasks_run_one_here(struct job *job)
{
    struct agent_task *subtask;

    TAILQ_FOREACH(subtask, &job->subtasks, in_job) {
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
            task_wait(task, NEVER);
    }
    while (!TAILQ_EMPTY(&job->subtasks))
        subtask_remove(TAILQ_FIRST(&job->subtasks));
}
