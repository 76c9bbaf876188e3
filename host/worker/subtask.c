#include "worker/subtask.h"

#include "agent.h"
#include "common/mem.h"

#include <errno.h>
#include <stdlib.h>

struct agent_task {
    struct task task; /* what executes it */
    int (*fn)(void *arg);
    void *arg;
    enum { QUEUED, RUNNING, ENDED } state;
    int result;
    unsigned
        refs; /* the job's list's, and its executor's until that has called; it has one itself */
    TAILQ_ENTRY(agent_task) in_job; /* in job->subtasks */
};

struct task *subtask_task(struct agent_task *subtask)
{
    return &subtask->task;
}

/* Locked. */
static void subtask_unref(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;

    if (--subtask->refs > 0)
        return;
    task_finish(&subtask->task);
    free(subtask);
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

static int job_add_subtask(struct job *job, struct agent_task *subtask)
{
    if (job_is_stopped(job))
        return -ECANCELED;
    if (job->subtask_count >= AGENT_TASKS_MAX)
        return -EAGAIN;
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
    status = job_add_subtask(job, subtask);
    outbox_unlock(job->outbox);
    if (status < 0) {
        task_finish(&subtask->task);
        free(subtask);
        return status;
    }
    status = job->executor->start(job->executor->data, subtask);
    if (status == 0) {
        *out = subtask;
        return 0;
    }
    outbox_lock(job->outbox);
    subtask->refs--;
    subtask_remove(subtask);
    outbox_unlock(job->outbox);
    return status;
}

/* One that comes too late is not called at all. Locked, but for the call. */
static void subtask_run(struct agent_task *subtask)
{
    struct job *job = subtask->task.job;
    struct task *before = task_current();

    subtask->state = RUNNING;
    subtask->result = -ECANCELED;
    if (!job_is_stopped(job)) {
        outbox_unlock(job->outbox);
        task_set_current(&subtask->task);
        subtask->result = subtask->fn(subtask->arg);
        task_set_current(before);
        outbox_lock(job->outbox);
    }
    subtask->state = ENDED;
    job_wake(job);
}

void subtask_execute(struct agent_task *subtask)
{
    struct outbox *outbox = subtask->task.job->outbox;

    outbox_lock(outbox);
    if (subtask->state == QUEUED)
        subtask_run(subtask);
    subtask_unref(subtask);
    outbox_unlock(outbox);
}

/* Locked. */
static int subtask_await(struct task *task, struct agent_task *subtask)
{
    int result;

    if (subtask->state == QUEUED && task->fiber == NULL)
        subtask_run(subtask);
    while (subtask->state != ENDED)
        task_wait(task, FIBER_NO_TIMEOUT);
    result = subtask->result;
    subtask_remove(subtask);
    return result;
}

int subtask_join(struct task *task, struct agent_task *subtask)
{
    struct outbox *outbox = task->job->outbox;
    int result;

    outbox_lock(outbox);
    result = subtask_await(task, subtask);
    outbox_unlock(outbox);
    return result;
}

void subtasks_join_all(struct task *task, bool failed)
{
    struct job *job = task->job;
    struct agent_task *subtask;

    outbox_lock(job->outbox);
    if (failed)
        job_stop(job);
    while ((subtask = TAILQ_FIRST(&job->subtasks)))
        subtask_await(task, subtask);
    outbox_unlock(job->outbox);
}
