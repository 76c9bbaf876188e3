/*
 * Tells of fibers that hold the loop: while one does, no other run of the worker goes on. Each hold
 * of WATCHDOG_MS or more is told once, with its run and a backtrace, at most one a second.
 */
#ifndef WORKER_WATCHDOG_H
#define WORKER_WATCHDOG_H

#include "base/log.h"

#define WATCHDOG_MS 100

struct fiber_pool;
struct watchdog;

/* Watch the fibers of this thread's loop, and log at this level; NULL if that cannot be done. One
 * watchdog a process. */
struct watchdog *watchdog_start(const struct fiber_pool *fibers, enum log_level level);

/* NULL does nothing. */
void watchdog_stop(struct watchdog *watchdog);

#endif
