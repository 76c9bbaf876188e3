#include "worker/task.h"

#include "base/mem.h"
#include "base/time.h"
#include "worker/emit.h"
#include "worker/job.h"
#include "worker/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct task *current;

struct task *task_current(void)
{
    return current;
}

void task_set_current(struct task *task)
{
    current = task;
}

void task_init(struct task *task, struct job *job, const struct var *vars, struct fiber *fiber)
{
    pthread_condattr_t monotonic;

    *task = (struct task){.job = job, .vars = vars, .fiber = fiber};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&task->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void task_finish(struct task *task)
{
    free(task->input);
    free(task->scope);
    pthread_cond_destroy(&task->wake);
}

int task_set_scope(struct task *task, const char *name)
{
    char *scope;
    int status = emit_scope(name, &scope);

    if (status < 0)
        return status;
    free(task->scope);
    task->scope = scope;
    return 0;
}

void task_inherit_scope(struct task *task, const struct task *parent)
{
    task->scope = parent->scope ? mem_strdup(parent->scope) : NULL;
}

/* The loop runs meanwhile, and nobody's task. */
static void wait_on_fiber(struct task *task, uint64_t deadline)
{
    struct outbox *outbox = task->job->outbox;

    outbox_unlock(outbox);
    current = NULL;
    fiber_park(task->fiber, deadline);
    current = task;
    outbox_lock(outbox);
    outbox_forget_ready(outbox, task);
}

static void wait_on_thread(struct task *task, uint64_t deadline)
{
    pthread_mutex_t *lock = outbox_mutex(task->job->outbox);
    struct timespec at = {.tv_sec = (time_t)(deadline / CLOCK_S),
                          .tv_nsec = (long)(deadline % CLOCK_S)};
    int status = 0;

    while (!task->woken && status == 0) {
        if (deadline == NEVER)
            status = pthread_cond_wait(&task->wake, lock);
        else
            status = pthread_cond_timedwait(&task->wake, lock, &at);
    }
}

int task_wait(struct task *task, uint64_t deadline)
{
    struct job *job = task->job;

    task->woken = false;
    TAILQ_INSERT_TAIL(&job->waiting, task, in_job);
    if (task->fiber)
        wait_on_fiber(task, deadline);
    else
        wait_on_thread(task, deadline);
    TAILQ_REMOVE(&job->waiting, task, in_job);
    return task->woken ? 0 : -ETIMEDOUT;
}

void task_wake(struct task *task)
{
    if (task->woken)
        return;
    task->woken = true;
    if (task->fiber)
        outbox_make_ready(task->job->outbox, task);
    else
        pthread_cond_signal(&task->wake);
}
