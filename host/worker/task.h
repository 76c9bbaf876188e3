/*
 * A task is what executes inside a job: the fiber or thread on which the host
 * calls handle(), or a thread of the plugin's own that was bound to the job.
 * Each thread knows its current one.
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include "worker/fibers/fiber.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

struct job;
struct var;

struct task {
    struct job *job;
    const struct var *vars; /* what this task sees */
    struct fiber *fiber;    /* NULL on a thread */
    bool bound;             /* by ctx_bind() */
    bool woken;
    bool ready;                 /* in the outbox's ready list */
    char *input;                /* the last that it took */
    char *scope;                /* a JSON member that its events carry; NULL for none */
    pthread_cond_t wake;        /* of a thread */
    TAILQ_ENTRY(task) in_job;   /* in job->waiting */
    TAILQ_ENTRY(task) in_crowd; /* in outbox->crowd */
    TAILQ_ENTRY(task) in_ready; /* in outbox->ready */
};

/* The task that this thread executes, or NULL. */
struct task *task_current(void);
void task_set_current(struct task *task);

/* fiber is NULL for a thread. */
void task_init(struct task *task, struct job *job, const struct var *vars, struct fiber *fiber);
void task_finish(struct task *task);

/* What its events carry: "scope":NAME; -EINVAL if the name is not UTF-8. NULL for nothing. */
int task_set_scope(struct task *task, const char *name);
void task_inherit_scope(struct task *task, const struct task *parent);

/*
 * Waits until task_wake() or the deadline of the clock, which may be NEVER:
 * 0 or -ETIMEDOUT. Gives the lock back meanwhile, and the loop its turn, also
 * when the deadline is over. The current task only; locked.
 */
int task_wait(struct task *task, uint64_t deadline);

/* Any thread; locked. */
void task_wake(struct task *task);

#endif
