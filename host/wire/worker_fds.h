/*
 * The descriptors that a worker is started with: fleet/spawn.c puts them
 * there, worker/main.c takes them.
 */
#ifndef WIRE_WORKER_FDS_H
#define WIRE_WORKER_FDS_H

enum worker_fd {
    WORKER_FD_SOCKET = 0, /* the link to the front; worker/main.c moves it away from stdin */
    WORKER_FD_OUT = 1,    /* the front's standard error, as is 2: what a plugin prints is logged */
    WORKER_FD_LOG = 2,
    WORKER_FD_IMAGE = 3, /* the plugin's private copy */
    WORKER_FD_COUNT
};

#endif
