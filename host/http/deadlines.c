#include "http/deadlines.h"

#include "base/mem.h"

#include <stdlib.h>

struct deadlines {
    uv_timer_t timer; /* runs until the first deadline, or one that was first when it was set */
    uint64_t timeout_ms;
    void (*over)(struct deadline *deadline);
    TAILQ_HEAD(, deadline) queue;
};

static void on_timer(uv_timer_t *timer);

static void deadlines_wait(struct deadlines *deadlines)
{
    const struct deadline *first = TAILQ_FIRST(&deadlines->queue);
    uint64_t now = uv_now(deadlines->timer.loop);

    if (first && !uv_is_active((uv_handle_t *)&deadlines->timer))
        uv_timer_start(&deadlines->timer, on_timer, first->due > now ? first->due - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct deadlines *deadlines = timer->data;
    struct deadline *first;

    while ((first = TAILQ_FIRST(&deadlines->queue)) && first->due <= uv_now(timer->loop)) {
        deadline_clear(deadlines, first);
        deadlines->over(first);
    }
    deadlines_wait(deadlines);
}

void deadline_set(struct deadlines *deadlines, struct deadline *deadline)
{
    deadline_clear(deadlines, deadline);
    deadline->due = uv_now(deadlines->timer.loop) + deadlines->timeout_ms;
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

    uv_timer_init(loop, &deadlines->timer);
    deadlines->timer.data = deadlines;
    deadlines->timeout_ms = timeout_s * UINT64_C(1000);
    deadlines->over = over;
    TAILQ_INIT(&deadlines->queue);
    return deadlines;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void deadlines_destroy(struct deadlines *deadlines)
{
    uv_close((uv_handle_t *)&deadlines->timer, on_closed);
}
