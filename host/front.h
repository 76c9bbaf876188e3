/* The serving process: makes its parts, runs them until it is told to stop, and stops them. */
#ifndef FRONT_H
#define FRONT_H

#include "config/config.h"

struct why;

/* Exit status: stopped, but a worker or the read of a file could not be ended. */
#define FRONT_LEFT_BEHIND 3

/*
 * Serve until SIGINT, SIGTERM or SIGQUIT; return the exit status. reread() makes the
 * configuration anew for SIGHUP and `sluice reload`, or returns NULL and an error.
 */
int front_main(struct config *config, struct config *(*reread)(void *data, struct why *why),
               void *data);

#endif
