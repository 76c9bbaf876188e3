/*
 * Deadlines that are all equally far away when they are set: a queue in the
 * order of time, and one timer.
 */
#ifndef HTTP_DEADLINES_H
#define HTTP_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct deadlines;

/* Part of whatever has one; zeroed is not set. */
struct deadline {
    uint64_t due; /* ms of the loop's clock */
    bool is_set;
    TAILQ_ENTRY(deadline) in_queue; /* in deadlines->queue */
};

/* over() is called once for a deadline that is over; it is not set any more then. */
struct deadlines *deadlines_create(uv_loop_t *loop, unsigned timeout_s,
                                   void (*over)(struct deadline *deadline));

/* Anew, if it is set. */
void deadline_set(struct deadlines *deadlines, struct deadline *deadline);

void deadline_clear(struct deadlines *deadlines, struct deadline *deadline);

/* None may be set. */
void deadlines_destroy(struct deadlines *deadlines);

#endif
