#include "fleet/queue.h"

#include "base/mem.h"

#include <stdlib.h>

struct queued {
    struct run *run;
    STAILQ_ENTRY(queued) in_queue; /* in queue->runs */
};

void queue_init(struct queue *queue)
{
    STAILQ_INIT(&queue->runs);
    queue->length = 0;
}

void queue_push(struct queue *queue, struct run *run)
{
    struct queued *queued = mem_alloc(sizeof *queued);

    queued->run = run_ref(run);
    STAILQ_INSERT_TAIL(&queue->runs, queued, in_queue);
    queue->length++;
}

void queue_pop(struct queue *queue)
{
    struct queued *queued = STAILQ_FIRST(&queue->runs);

    STAILQ_REMOVE_HEAD(&queue->runs, in_queue);
    queue->length--;
    run_unref(queued->run);
    free(queued);
}

struct run *queue_first(struct queue *queue)
{
    while (!STAILQ_EMPTY(&queue->runs)) {
        struct run *run = STAILQ_FIRST(&queue->runs)->run;
        if (!run_has_ended(run))
            return run;
        queue_pop(queue);
    }
    return NULL;
}

void queue_purge(struct queue *queue)
{
    for (size_t left = queue->length; left > 0; left--) {
        struct queued *queued = STAILQ_FIRST(&queue->runs);
        if (run_has_ended(queued->run)) {
            queue_pop(queue);
            continue;
        }
        STAILQ_REMOVE_HEAD(&queue->runs, in_queue);
        STAILQ_INSERT_TAIL(&queue->runs, queued, in_queue);
    }
}

void queue_fail(struct queue *queue, const char *reason)
{
    struct run *run;

    while ((run = queue_first(queue))) {
        run_ref(run);
        queue_pop(queue);
        run_abort(run, RUN_ERROR_unavailable, reason);
        run_unref(run);
    }
}
