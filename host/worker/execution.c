#include "worker/execution.h"

#include "worker/exchange.h"
#include "worker/job.h"
#include "worker/subtask.h"

#include <errno.h>

int execution_run(struct job *job, struct fiber *fiber, int (*fn)(void *arg), void *arg)
{
    struct task task;
    int status = -ECANCELED;

    task_init(&task, job, job_vars(job), fiber);
    task_set_current(&task);
    if (!job_is_stopped(job))
        status = fn(arg);
    sched_lock(job_sched(job));
    subtasks_join_all(&task, status != 0 || job_has_failed(job));
    task_set_current(NULL);
    task_finish(&task);
    return status;
}

void execution_end(struct job *job, int status)
{
    job_finish(job, status);
    exchanges_close_all(job);
}
