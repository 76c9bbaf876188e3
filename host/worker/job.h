/*
 * A job is a run as its worker sees it: its variables, its credit, whether it
 * should stop, and how it ends. Tasks and captures hold references; the job is
 * over when handle() has returned, and gone when the last reference is.
 *
 * Everything but the flags is guarded by the outbox's lock.
 */
#ifndef WORKER_JOB_H
#define WORKER_JOB_H

#include "worker/outbox.h"
#include "worker/task.h"
#include "worker/vars.h"

#include <stdatomic.h>
#include <stdint.h>

struct job {
    struct outbox *outbox;
    const struct subtask_executor *executor;
    struct http_client *http;
    uint32_t number; /* on the link */
    unsigned refs;
    bool begun; /* handle() was, or is about to be, called */
    atomic_bool cancelled;
    atomic_bool stopping; /* it has failed: what still runs of it should end */
    atomic_bool over;
    size_t credit; /* bytes of events that may still leave */
    char *pairs;   /* the START frame: strings of the first variables */
    struct var *first;
    const struct var *vars; /* what handle() starts with */
    struct var **set;       /* what tasks set, to be freed */
    size_t set_count;
    size_t set_bytes;
    char *fail_code; /* of run_fail() */
    char *fail_message;
    char *result;                    /* of run_result() */
    STAILQ_HEAD(, job_input) inputs; /* that no task has taken; the front bounds them */
    uint32_t inputs_taken;
    uint32_t inputs_awaited;   /* tasks that wait for one */
    uint32_t awaited_reported; /* what the front was told last */
    uint32_t held;             /* tasks that wait for credit, as the front was told */
    TAILQ_HEAD(, task) waiting;
    TAILQ_HEAD(, agent_task) subtasks; /* that are not joined */
    unsigned subtask_count;
    TAILQ_HEAD(, agent_http) exchanges; /* that are not closed */
};

/* pairs: key NUL value NUL ..., copied. One reference. NULL if malformed. */
struct job *job_create(struct outbox *outbox, uint32_t number, const char *pairs, size_t length);

/* Locked. */
struct job *job_ref(struct job *job);
void job_unref(struct job *job);

/* Whether handle() has returned. Any thread, lock or not. */
bool job_is_over(const struct job *job);

/* Whether emitting and waiting make no sense any more. Any thread, lock or not. */
bool job_is_stopped(const struct job *job);

/* Wakes what waits in it. Locked. */
void job_wake(struct job *job);

/* Asks it to stop and wakes what waits in it. Locked. */
void job_cancel(struct job *job);

/* The same, because it has failed. Locked. */
void job_stop(struct job *job);

/* Lets so many more bytes leave. Locked. */
void job_credit(struct job *job, size_t bytes);

/* Hands it what a client says. Locked. */
void job_input(struct job *job, const char *json);

/*
 * Waits for an input until the deadline of the loop's clock, 0 is not at all,
 * NEVER for ever; *json is the caller's. 0, -ETIMEDOUT or -ECANCELED. The
 * current task only; locked.
 */
int job_take_input(struct job *job, struct task *task, uint64_t deadline, char **json);

/* Whether an event of this cost need not wait. Locked. */
bool job_has(const struct job *job, size_t cost);

/*
 * Waits until an event of this cost may leave, and takes the cost: 0, or
 * -ECANCELED. The current task only; locked.
 */
int job_spend(struct job *job, struct task *task, size_t cost);

/* Sets a variable for the task; -ENOSPC. Locked. */
int job_set(struct job *job, struct task *task, const char *key, const char *value);

/* Appends the END frame; status is what handle() returned. Locked. */
void job_finish(struct job *job, int status);

#endif
