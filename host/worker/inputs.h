/* Inputs: messages of clients to a run, which wait until a task of the run takes them. */
#ifndef WORKER_INPUTS_H
#define WORKER_INPUTS_H

#include <stdint.h>
#include <sys/queue.h>

struct job;
struct task;

/* Part of a job; guarded by the scheduler's lock. */
struct inputs {
    STAILQ_HEAD(, input) queue; /* the front bounds it */
    uint32_t taken;
    uint32_t awaited;  /* tasks that wait for one */
    uint32_t reported; /* `awaited`, as the front was told last */
};

void inputs_init(struct inputs *inputs);
void inputs_finish(struct inputs *inputs);

/* Hand the job what a client says. Locked. */
void inputs_give(struct job *job, const char *json);

/*
 * Wait for an input until the deadline, where 0 is not at all and NEVER for
 * ever; *json is the caller's. 0, -ETIMEDOUT or -ECANCELED. The task must be
 * the current one. Locked.
 */
int inputs_take(struct task *task, uint64_t deadline, char **json);

#endif
