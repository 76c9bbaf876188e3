/*
 * The worker's loop is inside the callback that calls create(), and must not be run from
 * there. So a loading has a loop of its own, and a call that waits runs that loop until
 * it is woken:
 *
 *     agent_http_status() ──► exchange ──► job_wait() ──► run libcurl's loop, once and again
 *
 * To the code of exchanges it is a job like any other, without variables, whose events
 * nobody takes. All of it is made when the plugin waits first: most never do.
 */
#include "worker/loading.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/exchange.h"
#include "worker/httpclient.h"
#include "worker/job.h"
#include "worker/outbox.h"
#include "worker/refused.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

/* The longest that the loop sleeps at once: it looks at the clock then. */
#define TICK_MS 1000

struct loading {
    uint64_t deadline;
    uv_loop_t loop;
    uv_timer_t tick;
    struct sched *sched;
    struct http_client *http;
    struct job_host host;
    struct job *job; /* NULL until something waits */
    struct task task;
};

/* ---- the scheduler's driver: one thread, which is inside a call of the plugin's ---- */

static uint64_t loading_now(void *data)
{
    (void)data;
    return clock_now();
}

static uint64_t loading_turn_ms(void *data)
{
    struct loading *loading = data;

    return uv_now(&loading->loop);
}

static bool loading_is_loop(void *data)
{
    (void)data;
    return true;
}

static void on_tick(uv_timer_t *tick)
{
    (void)tick;
}

/* Sleep until something happens, at most until the deadline. */
static void loading_turn(struct loading *loading, uint64_t deadline)
{
    uint64_t now = clock_now(), ms = deadline > now ? (deadline - now) / CLOCK_MS + 1 : 0;

    uv_update_time(&loading->loop);
    uv_timer_start(&loading->tick, on_tick, ms < TICK_MS ? ms : TICK_MS, 0);
    uv_run(&loading->loop, UV_RUN_ONCE);
}

static void loading_wait(void *data, struct waiter *waiter, uint64_t deadline)
{
    struct loading *loading = data;
    uint64_t limit = deadline < loading->deadline ? deadline : loading->deadline;

    while (!waiter->woken && clock_now() < limit) {
        sched_unlock(loading->sched);
        http_client_turn(loading->http);
        if (!waiter->woken) /* by this thread, if at all */
            loading_turn(loading, limit);
        sched_lock(loading->sched);
    }
    if (!waiter->woken && limit < deadline)
        job_stop(loading->job);
}

static void loading_wake(void *data, struct waiter *waiter)
{
    (void)data;
    (void)waiter;
}

/* What is queued is done when the plugin waits. */
static void loading_poke(void *data)
{
    struct loading *loading = data;

    sched_set_poked(loading->sched, false);
}

static const struct sched_driver driver = {
    .now = loading_now,
    .turn_ms = loading_turn_ms,
    .is_loop = loading_is_loop,
    .wait = loading_wait,
    .wake = loading_wake,
    .poke = loading_poke,
    .poke_later = loading_poke,
    .destroy = free,
};

/* ---- life ---- */

static void drop_frames(void *data, struct buf *frames)
{
    (void)data;
    buf_consume(frames, buf_length(frames));
}

static void loading_open(struct loading *loading)
{
    uv_loop_init(&loading->loop);
    uv_timer_init(&loading->loop, &loading->tick);
    loading->sched = sched_create(&driver, loading);
    loading->http = http_client_create(&loading->loop, loading->sched);
    loading->host = (struct job_host){.sched = loading->sched,
                                      .outbox = outbox_create(loading->sched, drop_frames, NULL),
                                      .http = http_client_driver(loading->http)};
    loading->job = job_create(&loading->host, 0, "", 0);
    task_init(&loading->task, loading->job, NULL, NULL);
}

static struct task *loading_task(void *data)
{
    struct loading *loading = data;

    if (loading->job == NULL)
        loading_open(loading);
    return &loading->task;
}

struct loading *loading_begin(uint64_t deadline)
{
    struct loading *loading = mem_alloc(sizeof *loading);

    loading->deadline = deadline;
    task_set_loading(loading_task, loading);
    return loading;
}

static void loading_close(struct loading *loading)
{
    sched_lock(loading->sched);
    exchanges_close_all(loading->job);
    sched_unlock(loading->sched);
    task_finish(&loading->task);
    http_client_destroy(loading->http);
    uv_close((uv_handle_t *)&loading->tick, NULL);
    uv_run(&loading->loop, UV_RUN_DEFAULT);
    uv_loop_close(&loading->loop);
}

void loading_end(struct loading *loading)
{
    struct sched *sched = loading->sched;

    task_set_loading(NULL, NULL);
    if (loading->job == NULL) {
        free(loading);
        return;
    }
    loading_close(loading);
    sched_lock(sched);
    outbox_unref(loading->host.outbox);
    job_unref(loading->job);
    sched_unref(sched);
    sched_unlock(sched); /* frees the loading, too */
}
