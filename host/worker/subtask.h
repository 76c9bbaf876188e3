/*
 * Subtasks: what an agent starts with task_spawn() to do several things at
 * once inside one run. Each has a task of its own, on a fiber or a thread of
 * the pool, and sees the variables of the one that spawned it as they were.
 *
 *     QUEUED ──► RUNNING ──► ENDED
 *
 * On threads, a subtask that none has begun yet is executed by the one that
 * joins it: so a pool that is full of runs that wait for their subtasks goes on.
 *
 * A run ends when its subtasks have: subtasks_join_all() waits for those that
 * nobody has joined. A handle is that of a subtask in the run's list, and
 * compared with those before it is followed: so joining twice is an error, no
 * crash.
 */
#ifndef WORKER_SUBTASK_H
#define WORKER_SUBTASK_H

#include "worker/job.h"

/* Where subtasks are executed: a worker. */
struct subtask_executor {
    /*
     * Calls subtask_execute() once, soon; in fiber mode it sets
     * subtask_task()->fiber. -errno. Locked.
     */
    int (*start)(void *data, struct agent_task *subtask);
    /* Whether it does not call any more; for those that are not on fibers. Locked. */
    bool (*withdraw)(void *data, struct agent_task *subtask);
    void *data;
};

/* Spawned by this task. -EAGAIN: the run has AGENT_TASKS_MAX; other -errno. Not locked. */
int subtask_spawn(struct task *parent, int (*fn)(void *arg), void *arg, struct agent_task **out);

/* Its result; the handle is not valid any more. -EINVAL if it was not before. Not locked. */
int subtask_join(struct task *task, struct agent_task *subtask);

/*
 * Joins all of the run's; if failed, they are told to stop. The current task
 * only; locked, and the run has no subtask until the lock is given back.
 */
void subtasks_join_all(struct task *task, bool failed);

/* For executors: the whole of it, on its fiber or thread. Not locked. */
void subtask_execute(struct agent_task *subtask);

struct task *subtask_task(struct agent_task *subtask);

#endif
