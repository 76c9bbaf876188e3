/*
 * A task is what executes inside a job: the fiber or thread on which the host
 * calls handle(), that of a subtask, or a thread of the plugin's own that was
 * bound to the job. Each thread knows its current task.
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include "worker/sched.h"

struct job;
struct var;

struct task {
    struct waiter waiter;
    struct job *job;
    const struct var *vars;   /* what this task sees */
    bool bound;               /* by ctx_bind() */
    char *input;              /* the last that it took */
    char *answer;             /* the last that it got to a question */
    char *scope;              /* a JSON member that its events carry; NULL for none */
    TAILQ_ENTRY(task) in_job; /* in the job's list of tasks that wait */
};

TAILQ_HEAD(task_list, task);

/* Return the task that this thread executes, or NULL. */
struct task *task_current(void);
void task_set_current(struct task *task);

/*
 * While create() or selftest() is called on this thread: the task in which they may send
 * requests, which is not its current task, so they are in no run. get makes it
 * when it is needed first; NULL ends that.
 */
void task_set_loading(struct task *(*get)(void *data), void *data);

/* Return that task, or NULL. */
struct task *task_loading(void);

/* fiber is NULL for a thread. */
void task_init(struct task *task, struct job *job, const struct var *vars, struct fiber *fiber);
void task_finish(struct task *task);

/* Set the member "scope":NAME that its events carry, none for NULL; -EINVAL if the name is not
 * UTF-8. */
int task_set_scope(struct task *task, const char *name);
void task_inherit_scope(struct task *task, const struct task *parent);

#endif
