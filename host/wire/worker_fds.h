/*
 * The descriptors that a worker is started with: fleet/spawn.c puts them
 * there, worker/main.c takes them.
 */
#ifndef WIRE_WORKER_FDS_H
#define WIRE_WORKER_FDS_H

enum worker_fd {
    WORKER_FD_SOCKET = 0, /* the link to the front; worker/main.c moves it away from stdin */
    WORKER_FD_OUT = 1,    /* a pipe to the front, as is 2: what a plugin prints */
    WORKER_FD_ERROR = 2,
    WORKER_FD_IMAGE = 3,  /* the plugin's private copy */
    WORKER_FD_LOG = 4,    /* a socket for records of base/log_fact.h; without it, 1 and 2 are the
                             front's standard error, which the worker also logs to */
    WORKER_FD_BINARY = 5, /* the program that is executed; worker/main.c closes it */
    WORKER_FD_COUNT
};

#endif
