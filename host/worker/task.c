/*
 * The states of a task. Only job_wait() makes it wait, in the job's list, and
 * sched_wake() or the deadline ends that:
 *
 *                        job_wait()
 *     init ──► executes ────────────► waits ──► finish
 *                 ▲                     │
 *                 └─────────────────────┘
 *                  woken, or the deadline
 *
 * While a task waits on a fiber, its thread executes others; so the current
 * task of a thread is none then, and job_wait() sets it again.
 */
#include "worker/task.h"

#include "base/mem.h"
#include "worker/emit.h"

#include <stdlib.h>

static _Thread_local struct task *current;

struct task *task_current(void)
{
    return current;
}

void task_set_current(struct task *task)
{
    current = task;
}

static _Thread_local struct task *(*get_loading)(void *data);
static _Thread_local void *loading_data;

void task_set_loading(struct task *(*get)(void *data), void *data)
{
    get_loading = get;
    loading_data = data;
}

struct task *task_loading(void)
{
    return get_loading ? get_loading(loading_data) : NULL;
}

void task_init(struct task *task, struct job *job, const struct var *vars, struct fiber *fiber)
{
    *task = (struct task){.job = job, .vars = vars};
    waiter_init(&task->waiter, fiber);
}

void task_finish(struct task *task)
{
    free(task->input);
    free(task->answer);
    free(task->scope);
    waiter_finish(&task->waiter);
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
