/* The whole of a job, from the call of handle() to its END frame. */
#ifndef WORKER_EXECUTION_H
#define WORKER_EXECUTION_H

struct fiber;
struct job;

/*
 * Call fn(arg) as the job's first task, unless the job is stopped, and wait
 * for its subtasks. Return what fn returned, or -ECANCELED. On the fiber, or on
 * this thread if it is NULL; not locked, but on return it is: so nothing comes
 * between the last subtask and execution_end().
 */
int execution_run(struct job *job, struct fiber *fiber, int (*fn)(void *arg), void *arg);

/* End the job, whether it was run or not: append its END frame and close what it left open.
 * Locked. */
void execution_end(struct job *job, int status);

#endif
