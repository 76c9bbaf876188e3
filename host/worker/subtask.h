/*
 * Subtasks: what an agent starts with task_spawn() to do several things at
 * once inside one run. Each has a task of its own, on a fiber or a thread of
 * the pool, and sees the variables of its parent as they were.
 *
 * A run ends when its subtasks have: subtasks_join_all() waits for those that
 * nobody has joined. A handle is validated against the run's list before it is
 * used: so joining twice is an error, not a crash.
 */
#ifndef WORKER_SUBTASK_H
#define WORKER_SUBTASK_H

#include "worker/task.h"

#include <stdbool.h>

/* Part of a job: those that are not joined. Guarded by the scheduler's lock. */
struct subtasks {
    TAILQ_HEAD(, agent_task) list;
    unsigned count;
};

void subtasks_init(struct subtasks *subtasks);

/* Where subtasks are executed: a worker. */
struct subtask_executor {
    /*
     * Arrange that subtask_execute() is called once, soon; in fiber mode set
     * the fiber of subtask_waiter(). -errno. Locked.
     */
    int (*start)(void *data, struct agent_task *subtask);
    /* Return whether this thread may execute a subtask that none has begun, as it waits for it.
     * Locked. */
    bool (*may_run_here)(void *data);
    /* Return true if the executor no longer calls subtask_execute(). Locked. */
    bool (*withdraw)(void *data, struct agent_task *subtask);
    void *data;
};

/* Spawn one from this task. -EAGAIN: the run has AGENT_TASKS_MAX; or another -errno. Not locked. */
int subtask_spawn(struct task *parent, int (*fn)(void *arg), void *arg, struct agent_task **out);

/* Wait for it and set its result; the handle is no longer valid. Return false, and the result is
 * -EINVAL, if the handle was not valid before. -ECANCELED: the run is over. Not locked. */
bool subtask_join(struct task *task, struct agent_task *subtask, int *result);

/*
 * Join all of the run's; if failed, tell them to stop first. The task must be
 * the current one. Locked; the run has no subtask until the lock is given back.
 */
void subtasks_join_all(struct task *task, bool failed);

/* For executors: execute the whole of it, on its fiber or thread. Not locked. */
void subtask_execute(struct agent_task *subtask);

struct waiter *subtask_waiter(struct agent_task *subtask);

#endif
