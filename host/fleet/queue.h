/*
 * The runs of one deployment that wait for a worker, first come first served.
 * A run that ends while it waits stays in the queue until queue_first() or
 * queue_purge() meets it.
 */
#ifndef FLEET_QUEUE_H
#define FLEET_QUEUE_H

#include "run/run.h"

#include <sys/queue.h>

struct queued;

/* Embedded in the deployment. */
struct queue {
    STAILQ_HEAD(, queued) runs;
    size_t length;
};

void queue_init(struct queue *queue);

/* Add a run at the end; the queue holds a reference. */
void queue_push(struct queue *queue, struct run *run);

/* Return the first run that has not ended, or NULL. */
struct run *queue_first(struct queue *queue);

/* Remove the first run. */
void queue_pop(struct queue *queue);

/* Remove the runs that have ended. */
void queue_purge(struct queue *queue);

/* Fail all runs as unavailable; the reason is for people. */
void queue_fail(struct queue *queue, const char *reason);

#endif
