/*
 * Tasks take turns, so that a test runs each time the same: one goes on until
 * it waits or ends, then comes the one whose wait is over first, at which the
 * clock is set. Each has a thread, handle()'s is that of the test. A thread that the agent
 * has bound to the run has no turn: it goes on as it likes, and the clock jumps
 * to where it wants to wait.
 */
#ifndef HARNESS_TURN_H
#define HARNESS_TURN_H

#include "harness/run.h"

#include <pthread.h>

struct agent_task {
    struct run *run;
    const struct var *vars; /* what it sees */
    char *scope;            /* the member that its events carry; NULL for none */
    char *input;            /* the last that it took */
    bool bound;             /* has no turn */
    enum { TASK_QUEUED, TASK_RUNNING, TASK_ENDED } state;
    int (*fn)(void *arg);
    void *arg;
    int result;
    uint64_t wake_ms; /* when it wants the next turn */
    uint64_t order;   /* among those that want it at the same time */
    pthread_cond_t turn;
    pthread_t thread;
    bool has_thread;
    bool joined;                    /* or being so */
    TAILQ_ENTRY(agent_task) in_run; /* in run->tasks */
};

/* The task that this thread executes, or NULL. */
struct agent_task *task_current(void);
void task_set_current(struct agent_task *task);

/* Locked, as all that follows. A task of the run that sees what the parent sees, NULL for none. */
void task_init(struct agent_task *task, struct run *run, const struct agent_task *parent);
void task_finish(struct agent_task *task);

/* Others have their turns, at least until this time. The current task only. */
void task_wait(struct agent_task *task, uint64_t wake_ms);

/* Tasks that wait look again whether they should. */
void run_wake(struct run *run);

/* 0, -EAGAIN, -ECANCELED or -ENOTSUP. */
int turn_spawn(struct agent_task *parent, int (*fn)(void *arg), void *arg, struct agent_task **out);

/* Waits for the end of a task and frees it; its result, or -EINVAL if there is no such task. */
int turn_join(struct agent_task *task, const struct agent_task *handle);

/* Joins all of the run's. The task of handle() only. */
void turn_join_all(struct agent_task *first);

#endif
