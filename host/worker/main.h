/*
 * The worker as a process: the front starts it as `sluice worker`, with a socket
 * to the front as its standard input. It leaves when it is told to, and at once
 * when the front is gone.
 */
#ifndef WORKER_MAIN_H
#define WORKER_MAIN_H

/* version is the front's. Return the exit status of the process. */
int worker_main(const char *version);

#endif
