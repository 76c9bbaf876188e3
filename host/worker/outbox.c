#include "worker/outbox.h"

#include "base/mem.h"
#include "worker/task.h"

#include <pthread.h>
#include <stdlib.h>

/* So many bytes of events are not held back. */
#define HELD_MAX (4u * 1024)

struct outbox {
    pthread_mutex_t lock;
    pthread_t loop_thread;
    struct buf frames;
    struct buf leaving; /* the loop's: what the sink did not take yet */
    TAILQ_HEAD(ready_list, task) ready;
    TAILQ_HEAD(, task) crowd;
    bool poked;
    bool urgent;             /* the frames are not only events */
    bool held;               /* they wait for next_ms */
    uint64_t handed_over_at; /* ms of the loop's clock */
    uv_timer_t next_ms;
    int handles;
    unsigned holders; /* jobs: threads bound to one may lock at any time */
    uv_async_t wake_up;
    uv_idle_t turn_end; /* active when the turn has something to end */
    const struct outbox_sink *sink;
    void *data;
};

static void on_turn_end(uv_idle_t *idle)
{
    outbox_flush(idle->data);
}

static void on_wake_up(uv_async_t *async)
{
    outbox_flush(async->data);
}

static void on_next_ms(uv_timer_t *timer)
{
    outbox_flush(timer->data);
}

struct outbox *outbox_create(uv_loop_t *loop, const struct outbox_sink *sink, void *data)
{
    struct outbox *outbox = mem_alloc(sizeof *outbox);

    pthread_mutex_init(&outbox->lock, NULL);
    outbox->loop_thread = pthread_self();
    TAILQ_INIT(&outbox->ready);
    TAILQ_INIT(&outbox->crowd);
    uv_async_init(loop, &outbox->wake_up, on_wake_up);
    uv_idle_init(loop, &outbox->turn_end);
    uv_timer_init(loop, &outbox->next_ms);
    outbox->wake_up.data = outbox->turn_end.data = outbox->next_ms.data = outbox;
    outbox->handles = 3;
    outbox->sink = sink;
    outbox->data = data;
    return outbox;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct outbox *outbox = handle->data;
    bool held;

    if (--outbox->handles > 0)
        return;
    outbox_lock(outbox);
    held = outbox->holders > 0;
    outbox_unlock(outbox);
    if (held) /* the process ends; its threads may not have */
        return;
    pthread_mutex_destroy(&outbox->lock);
    buf_finish(&outbox->frames);
    buf_finish(&outbox->leaving);
    free(outbox);
}

void outbox_destroy(struct outbox *outbox)
{
    uv_close((uv_handle_t *)&outbox->wake_up, on_handle_closed);
    uv_close((uv_handle_t *)&outbox->turn_end, on_handle_closed);
    uv_close((uv_handle_t *)&outbox->next_ms, on_handle_closed);
}

void outbox_lock(struct outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
}

void outbox_unlock(struct outbox *outbox)
{
    pthread_mutex_unlock(&outbox->lock);
}

pthread_mutex_t *outbox_mutex(struct outbox *outbox)
{
    return &outbox->lock;
}

bool outbox_is_loop(const struct outbox *outbox)
{
    return pthread_equal(pthread_self(), outbox->loop_thread);
}

void outbox_poke(struct outbox *outbox)
{
    if (outbox->poked)
        return;
    outbox->poked = true;
    if (outbox_is_loop(outbox))
        uv_idle_start(&outbox->turn_end, on_turn_end);
    else
        uv_async_send(&outbox->wake_up);
}

struct buf *outbox_frames(struct outbox *outbox)
{
    outbox->urgent = true;
    outbox_poke(outbox);
    return &outbox->frames;
}

struct buf *outbox_event_frames(struct outbox *outbox)
{
    if (!outbox->held || buf_length(&outbox->frames) >= HELD_MAX)
        outbox_poke(outbox);
    return &outbox->frames;
}

bool outbox_is_full(const struct outbox *outbox)
{
    return buf_length(&outbox->frames) >= OUTBOX_MAX;
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return buf_length(&outbox->frames) == 0 && buf_length(&outbox->leaving) == 0;
}

void outbox_hold(struct outbox *outbox)
{
    outbox->holders++;
}

void outbox_let_go(struct outbox *outbox)
{
    outbox->holders--;
}

void outbox_join_crowd(struct outbox *outbox, struct task *task)
{
    TAILQ_INSERT_TAIL(&outbox->crowd, task, in_crowd);
}

void outbox_leave_crowd(struct outbox *outbox, struct task *task)
{
    TAILQ_REMOVE(&outbox->crowd, task, in_crowd);
}

void outbox_make_ready(struct outbox *outbox, struct task *task)
{
    task->ready = true;
    TAILQ_INSERT_TAIL(&outbox->ready, task, in_ready);
    outbox_poke(outbox);
}

void outbox_forget_ready(struct outbox *outbox, struct task *task)
{
    if (!task->ready)
        return;
    task->ready = false;
    TAILQ_REMOVE(&outbox->ready, task, in_ready);
}

/* Continues the fibers that were ready; those that become so meanwhile wait for the next round. */
static void outbox_run_ready(struct outbox *outbox)
{
    struct task *last = TAILQ_LAST(&outbox->ready, ready_list);
    struct task *task;
    bool done = last == NULL;

    while (!done && (task = TAILQ_FIRST(&outbox->ready))) {
        done = task == last;
        outbox_forget_ready(outbox, task);
        outbox_unlock(outbox);
        fiber_resume(task->fiber);
        outbox_lock(outbox);
    }
}

/* If the sink took all, what had to wait behind that is next. */
static void outbox_hand_over(struct outbox *outbox)
{
    outbox->sink->take(outbox->data, &outbox->leaving);
    outbox_lock(outbox);
    if (buf_length(&outbox->leaving) == 0 && buf_length(&outbox->frames) > 0)
        outbox_poke(outbox);
    outbox_unlock(outbox);
}

/* Whether the frames may leave in this turn; else next_ms is started. Locked. */
static bool outbox_may_hand_over(struct outbox *outbox)
{
    uint64_t now = uv_now(outbox->turn_end.loop);
    size_t length = buf_length(&outbox->frames);
    bool may = outbox->urgent || now > outbox->handed_over_at || length >= HELD_MAX;

    if (length == 0)
        return false;
    if (may) {
        outbox->urgent = outbox->held = false;
        outbox->handed_over_at = now;
    } else if (!outbox->held) {
        outbox->held = true;
        uv_timer_start(&outbox->next_ms, on_next_ms, 1, 0);
    }
    return may;
}

/* What is poked while it runs is done by it, but for fibers that become ready at its end. */
void outbox_flush(struct outbox *outbox)
{
    struct task *task;

    outbox_lock(outbox);
    outbox->poked = true;
    uv_idle_stop(&outbox->turn_end);
    outbox_run_ready(outbox);
    if (buf_length(&outbox->leaving) == 0 && outbox_may_hand_over(outbox))
        buf_swap(&outbox->leaving, &outbox->frames);
    if (!outbox_is_full(outbox)) {
        TAILQ_FOREACH(task, &outbox->crowd, in_crowd)
            task_wake(task);
    }
    outbox->poked = !TAILQ_EMPTY(&outbox->ready);
    if (outbox->poked)
        uv_idle_start(&outbox->turn_end, on_turn_end);
    outbox_unlock(outbox);
    if (buf_length(&outbox->leaving) > 0)
        outbox_hand_over(outbox);
    outbox->sink->turn_ended(outbox->data);
}
