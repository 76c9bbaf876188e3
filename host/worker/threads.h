/*
 * A pool of threads for work that may block. Threads are made as work needs
 * them, up to a limit; further work waits in order of arrival. The front bounds
 * the queue, by the live runs that it allows.
 */
#ifndef WORKER_THREADS_H
#define WORKER_THREADS_H

#include <stdbool.h>

struct threads;

struct threads *threads_create(unsigned most);

/* Run fn(data) on a thread, now or when one is free; -errno if there is no thread at all. */
int threads_submit(struct threads *threads, void (*fn)(void *data), void *data);

/* Take this work back; return false if a thread has begun it. */
bool threads_withdraw(struct threads *threads, void (*fn)(void *data), void *data);

/* Wait until all work is done and end the threads. NULL does nothing. */
void threads_destroy(struct threads *threads);

#endif
