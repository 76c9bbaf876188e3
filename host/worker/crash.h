/*
 * What is told when a plugin ends its process: by a fatal signal, or by exit() and its like.
 * The events that were emitted leave first; then the log says what happened, in which run and
 * where; then the signal takes its course, as it would have without this.
 *
 * One worker a process.
 */
#ifndef WORKER_CRASH_H
#define WORKER_CRASH_H

#include <uv.h>

struct worker;

/* Watch this process, from before the plugin is loaded, on the loop's thread. path is what is
 * loaded, file what the operator calls it. */
void crash_watch(uv_loop_t *loop, struct worker *worker, const char *path, const char *file);

/* An exit from now on is the host's own, and the worker is no longer there to be asked. */
void crash_leave(void);

/* Let this thread, which executes the plugin's code, report that its stack is used up. */
void crash_prepare_thread(void);

/* Report that the plugin called this function, and end the process. */
_Noreturn void crash_exit(const char *call);

/* The same for pthread_exit() on the loop's thread, as a clean-up handler. */
void crash_on_pthread_exit(void *unused);

#endif
