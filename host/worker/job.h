/*
 * A job is a run as its worker sees it: its variables, its credit, whether it
 * should stop, and how it ends. Tasks and captures hold references; the job is
 * over when handle() has returned, and gone when the last reference is.
 *
 * Everything but the flags is guarded by the scheduler's lock.
 */
#ifndef WORKER_JOB_H
#define WORKER_JOB_H

#include "worker/task.h"

#include <stddef.h>

struct asks;
struct emit;
struct exchanges;
struct http_driver;
struct inputs;
struct outbox;
struct refused;
struct subtask_executor;
struct subtasks;

struct job;

/* What all jobs of a worker share. */
struct job_host {
    struct sched *sched;
    struct outbox *outbox;
    const struct subtask_executor *executor;
    const struct http_driver *http;
    /* If set, called when a plugin ends the thread that executes it; does not return. */
    void (*thread_ended)(const char *function);
};

/* pairs: key NUL value NUL ..., copied. One reference. Return NULL if they are malformed. Not
 * locked. */
struct job *job_create(const struct job_host *host, uint32_t number, const char *pairs,
                       size_t length);

/* Locked. */
struct job *job_ref(struct job *job);
void job_unref(struct job *job);

/* Surroundings of the job; once the job is over, only scheduler and outbox are there. */
struct sched *job_sched(const struct job *job);
const struct job_host *job_host(const struct job *job);
uint32_t job_number(const struct job *job); /* on the link */

/* The variables that handle() starts with. */
const struct var *job_vars(const struct job *job);

/* Parts of the job; the file of that name looks after each. Locked. */
struct asks *job_asks(struct job *job);
struct inputs *job_inputs(struct job *job);
struct subtasks *job_subtasks(struct job *job);
struct exchanges *job_exchanges(struct job *job);
struct refused **job_refused(struct job *job); /* NULL until something is */

/* Note that handle() is about to be called; return false if the job is over. Locked. */
bool job_begin(struct job *job);
bool job_has_begun(const struct job *job);

/* Return whether handle() has returned. Any thread, lock or not. */
bool job_is_over(const struct job *job);

/* Return whether emitting and waiting no longer make sense. Any thread, lock or not. */
bool job_is_stopped(const struct job *job);

/*
 * Wait until the task is woken or the deadline, which may be NEVER or over: 0
 * or -ETIMEDOUT. The task must be the current one, or a loading's. Locked; gives the lock back
 * meanwhile.
 */
int job_wait(struct task *task, uint64_t deadline);

/* Wake what waits in it. Locked. */
void job_wake(struct job *job);

/* Ask it to stop, and wake what waits in it. Locked. */
void job_cancel(struct job *job);

/* The same, because it has failed. Locked. */
void job_stop(struct job *job);

/* Let this many more bytes of events leave. Locked. */
void job_add_credit(struct job *job, size_t bytes);

/*
 * Emit an event of the current task, once its cost is covered by the job's
 * credit and the outbox has room: 0, -EMSGSIZE or -ECANCELED. A text that is too
 * long leaves in pieces, with no event of another task between them. The event
 * may point to the agent's own strings. Not locked.
 */
int job_emit(struct task *task, struct emit *emit);

/* Set a variable for the task; -ENOSPC. Locked. */
int job_set_var(struct job *job, struct task *task, const char *key, const char *value);

/* Say why it fails, and what it results in. The first failure and the last result count. Locked. */
void job_fail(struct job *job, const char *code, const char *message);
/* Say that it fails because this function of the agent's called pthread_exit(). Not locked. */
void job_fail_exit(struct job *job, const char *function);

bool job_has_failed(const struct job *job);
void job_set_result(struct job *job, char *json); /* takes the JSON over */

/* The job is over: append its END frame. status is what handle() returned. Locked. */
void job_finish(struct job *job, int status);

#endif
