/* Patience (base/patience.h) with many, of one common timeout: a FIFO and a single timer. */
#ifndef HTTP_DEADLINES_H
#define HTTP_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct deadlines;

/* Part of its owner; zeroed is not set. */
struct deadline {
    uint64_t due; /* by patience_now() */
    bool is_set;
    TAILQ_ENTRY(deadline) in_queue; /* in deadlines->queue */
};

/* over() runs once per expired deadline, after it was cleared. */
struct deadlines *deadlines_create(uv_loop_t *loop, unsigned timeout_s,
                                   void (*over)(struct deadline *deadline));

/* Restarts it if already set. */
void deadline_set(struct deadlines *deadlines, struct deadline *deadline);

void deadline_clear(struct deadlines *deadlines, struct deadline *deadline);

/* No deadline may be set. */
void deadlines_destroy(struct deadlines *deadlines);

#endif
