#include "http/deadlines.h"

#include "base/mem.h"
#include "base/patience.h"

#include <stdlib.h>

struct deadlines {
    struct patience
        timer; /* runs until the deadline that is first, or was first when the timer was set */
    uint64_t timeout_ms;
    void (*over)(struct deadline *deadline);
    TAILQ_HEAD(, deadline) queue;
};

static void on_time(void *data);

static uint64_t deadlines_now(const struct deadlines *deadlines)
{
    return patience_now(deadlines->timer.timer.loop);
}

static void deadlines_wait(struct deadlines *deadlines)
{
    const struct deadline *first = TAILQ_FIRST(&deadlines->queue);
    uint64_t now = deadlines_now(deadlines);

    if (first && !patience_is_active(&deadlines->timer))
        patience_start(&deadlines->timer, first->due > now ? first->due - now : 0, on_time);
}

static void on_time(void *data)
{
    struct deadlines *deadlines = data;
    struct deadline *first;

    while ((first = TAILQ_FIRST(&deadlines->queue)) && first->due <= deadlines_now(deadlines)) {
        deadline_clear(deadlines, first);
        deadlines->over(first);
    }
    deadlines_wait(deadlines);
}

void deadline_set(struct deadlines *deadlines, struct deadline *deadline)
{
    deadline_clear(deadlines, deadline);
    deadline->due = deadlines_now(deadlines) + deadlines->timeout_ms;
    deadline->is_set = true;
    TAILQ_INSERT_TAIL(&deadlines->queue, deadline, in_queue);
    deadlines_wait(deadlines);
}

void deadline_clear(struct deadlines *deadlines, struct deadline *deadline)
{
    if (deadline->is_set)
        TAILQ_REMOVE(&deadlines->queue, deadline, in_queue);
    deadline->is_set = false;
}

struct deadlines *deadlines_create(uv_loop_t *loop, unsigned timeout_s,
                                   void (*over)(struct deadline *deadline))
{
    struct deadlines *deadlines = mem_alloc(sizeof *deadlines);

    patience_init(loop, &deadlines->timer, deadlines);
    deadlines->timeout_ms = timeout_s * UINT64_C(1000);
    deadlines->over = over;
    TAILQ_INIT(&deadlines->queue);
    return deadlines;
}

static void on_closed(uv_handle_t *handle)
{
    struct patience *patience = handle->data;

    free(patience->data);
}

void deadlines_destroy(struct deadlines *deadlines)
{
    uv_close((uv_handle_t *)&deadlines->timer.timer, on_closed);
}
