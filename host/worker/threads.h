/*
 * A pool of threads that run jobs which may block. Threads are made as jobs
 * need them, up to a most; further jobs wait in order of arrival. The queue is
 * bounded by the live runs that the front allows.
 */
#ifndef WORKER_THREADS_H
#define WORKER_THREADS_H

#include <stdbool.h>

struct threads;

struct threads *threads_create(unsigned most);

/* Runs fn(data) on a thread, now or when one is free; -errno if there is none at all. */
int threads_submit(struct threads *threads, void (*fn)(void *data), void *data);

/* Takes back what was submitted so and no thread has begun; whether there was any. */
bool threads_withdraw(struct threads *threads, void (*fn)(void *data), void *data);

/* Waits until all jobs are done and ends the threads. NULL is fine. */
void threads_destroy(struct threads *threads);

#endif
