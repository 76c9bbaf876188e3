#include "worker/execution.h"

#include "worker/exchange.h"
#include "worker/job.h"
#include "worker/subtask.h"

#include <errno.h>
#include <stdbool.h>

/* Kept while fn is called. */
struct call {
    struct execution *execution;
    struct task task;
};

/* fn is over; wait for its subtasks. On return it is locked. */
static void call_finish(struct call *call, bool failed)
{
    struct job *job = call->execution->job;

    sched_lock(job_sched(job));
    subtasks_join_all(&call->task, failed || job_has_failed(job));
    task_set_current(NULL);
    task_finish(&call->task);
}

/* fn has called pthread_exit(). */
static void on_thread_exit(void *data)
{
    struct call *call = data;

    task_set_current(&call->task);
    job_fail_exit(call->execution->job, "handle()");
    call_finish(call, true);
    call->execution->lost(call->execution->arg);
}

static int call_on_thread(struct call *call)
{
    int status;

    pthread_cleanup_push(on_thread_exit, call);
    status = call->execution->fn(call->execution->arg);
    pthread_cleanup_pop(0);
    return status;
}

int execution_run(struct execution *execution)
{
    struct job *job = execution->job;
    struct call call = {.execution = execution};
    int status = -ECANCELED;

    task_init(&call.task, job, job_vars(job), execution->fiber);
    task_set_current(&call.task);
    /* Clean-up handlers are a thread's, not a fiber's. */
    if (!job_is_stopped(job))
        status = execution->fiber ? execution->fn(execution->arg) : call_on_thread(&call);
    call_finish(&call, status != 0);
    return status;
}

void execution_end(struct job *job, int status)
{
    job_finish(job, status);
    exchanges_close_all(job);
}
