/* A worker process: how it is started, killed and reaped. */
#ifndef FLEET_SPAWN_H
#define FLEET_SPAWN_H

#include "fleet/image.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct why;

/* A process; part of its owner. */
struct child {
    uv_signal_t exits; /* the owner closes it */
    pid_t pid;         /* stays when the process is reaped, and may be another's then */
    bool is_reaped;
    /* Called once, from the loop; signal is 0 if it exited by itself. */
    void (*exited)(struct child *child, int status, int signal);
    void *data; /* the owner's */
};

struct spawn_settings {
    const struct image *image;
    char *const *env;  /* NULL: the front's own */
    bool is_overheard; /* the front reads what it prints and logs; else it shares standard error */
};

/* The front's ends; the caller's to close. */
struct spawn_ends {
    int link;
    int out, log; /* see fleet/output.h; -1 unless the worker is overheard */
};

/* Open the workers' program, before the first worker. -errno, and why. */
int spawn_prepare(struct why *why);

/* Return 0 if this process's user may execute it, or -errno. */
int spawn_check(void);

/*
 * Start a worker. Return -errno; the owner must close child->exits, also after a
 * failure. Set child's exited and data before.
 */
int spawn_worker(uv_loop_t *loop, struct child *child, const struct spawn_settings *settings,
                 struct spawn_ends *ends);

/* Send SIGKILL to the process and what it has forked, unless it is reaped. */
void child_kill(const struct child *child);

#endif
