/*
 * Questions: what tasks of a run ask people. Each has a number, and a task gets the answer
 * to its own ask. See run/questions.h for the other side.
 */
#ifndef WORKER_ASKS_H
#define WORKER_ASKS_H

#include <stdint.h>
#include <sys/queue.h>

struct job;
struct task;

/* Part of a job; guarded by the scheduler's lock. */
struct asks {
    TAILQ_HEAD(, ask) list; /* those that a task waits for */
    unsigned count;
    uint32_t newest; /* the number that was given last */
};

void asks_init(struct asks *asks);

/*
 * Emit the question, an object without the member "id", and wait for its answer, which is the
 * caller's. timeout is in nanoseconds from when the question has left, or NEVER.
 * 0, -ETIMEDOUT, -ECANCELED, -EMSGSIZE, or -EAGAIN if the run has too many. The task must
 * be the current one. Not locked.
 */
int ask_and_wait(struct task *task, const char *json, uint64_t timeout, char **answer);

/* Hand over the answer to the question of this number; if no task waits for it, drop it. Locked. */
void asks_answer(struct job *job, uint32_t number, const char *json);

#endif
