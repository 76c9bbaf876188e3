/* The serving process, whole: made of the other files here, run until it is told to stop. */
#ifndef FRONT_H
#define FRONT_H

#include "config/config.h"

/*
 * Serves until SIGINT or SIGTERM. The exit status. reread: makes the
 * configuration anew for SIGHUP and `sluice reload`; NULL and an error if
 * something in it is refused.
 */
int front_main(struct config *config,
               struct config *(*reread)(void *data, char *error, size_t size), void *data);

#endif
