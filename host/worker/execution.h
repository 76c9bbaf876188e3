/* The whole of a job, from the call of handle() to its END frame. */
#ifndef WORKER_EXECUTION_H
#define WORKER_EXECUTION_H

struct fiber;
struct job;

struct execution {
    struct job *job;
    struct fiber *fiber; /* NULL: on this thread */
    int (*fn)(void *arg);
    /* fn has called pthread_exit(), and execution_run() does not return: end the job and give the
     * lock back. The thread ends then. Locked. */
    void (*lost)(void *arg);
    void *arg;
};

/*
 * Call fn(arg) as the job's first task, unless the job is stopped, and wait
 * for its subtasks. Return what fn returned, or -ECANCELED. Not locked, but on return it is: so
 * nothing comes between the last subtask and execution_end().
 */
int execution_run(struct execution *execution);

/* End the job, whether it was run or not: append its END frame and close what it left open.
 * Locked. */
void execution_end(struct job *job, int status);

#endif
