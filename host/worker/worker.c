/*
 * How a job comes and goes:
 *
 *     START ──► worker_start(): a place in jobs[], then a fiber at once, or a
 *               thread of the pool when one is free
 *     CREDIT, INPUT, CANCEL ──► the job of that number; none: it has just ended
 *     handle() returned ──► its subtasks are joined, its END frame appended, its
 *               place given up, all under one lock
 *
 * A job that is cancelled before a thread is free ends at once; the thread then
 * finds it over. A worker that quits cancels all jobs, and leaves after the turn
 * in which none is live and the sink has taken all frames.
 */
#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "wire/frames.h"
#include "worker/asks.h"
#include "worker/execution.h"
#include "worker/fibers/fiber.h"
#include "worker/host_table.h"
#include "worker/httpclient.h"
#include "worker/inputs.h"
#include "worker/job.h"
#include "worker/loading.h"
#include "worker/outbox.h"
#include "worker/sched_loop.h"
#include "worker/subtask.h"
#include "worker/threads.h"
#include "worker/vars.h"
#include "worker/watchdog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    uint64_t created_at; /* of clock_now() */
    uv_loop_t *loop;
    struct plugin *plugin;
    struct watchdog *watchdog; /* of the fibers; NULL for none */
    struct fiber_pool *fibers; /* one of these two, by the plugin's mode */
    struct threads *threads;
    struct http_client *http;
    struct job_host job_host;
    struct subtask_executor subtasks;
    struct job **jobs; /* by number; with live: guarded by the scheduler's lock */
    size_t capacity;
    size_t live;
    bool quitting;
    bool left;
    const struct worker_sink *sink;
    void *data;
};

/* What a thread of the pool, or a fiber, needs to know. */
struct assignment {
    struct worker *worker;
    struct job *job;
};

static void worker_lock(struct worker *worker)
{
    sched_lock(worker->job_host.sched);
}

static void worker_unlock(struct worker *worker)
{
    sched_unlock(worker->job_host.sched);
}

/* ---- turns of the loop ---- */

static void worker_leave(struct worker *worker)
{
    worker->left = true;
    threads_destroy(worker->threads);
    worker->threads = NULL;
    plugin_destroy(worker->plugin);
    worker->plugin = NULL;
    worker->sink->left(worker->data);
}

static void on_turn_close(void *data)
{
    struct worker *worker = data;

    outbox_close_turn(worker->job_host.outbox);
}

static void on_turn_closed(void *data)
{
    struct worker *worker = data;
    struct outbox *outbox = worker->job_host.outbox;
    bool busy;

    if (outbox_hand_over(outbox)) {
        worker_lock(worker);
        outbox_follow_up(outbox);
        worker_unlock(worker);
    }
    http_client_turn(worker->http);
    if (!worker->quitting || worker->left)
        return;
    worker_lock(worker);
    busy = worker->live > 0 || !outbox_is_empty(outbox);
    worker_unlock(worker);
    if (!busy)
        worker_leave(worker);
}

struct worker *worker_create(uv_loop_t *loop, const struct worker_sink *sink, void *data)
{
    static const struct sched_turn turn = {.close = on_turn_close, .closed = on_turn_closed};
    struct worker *worker = mem_alloc(sizeof *worker);
    struct sched *sched = sched_loop_create(loop, &turn, worker);

    worker->created_at = clock_now();
    worker->loop = loop;
    worker->sink = sink;
    worker->data = data;
    worker->http = http_client_create(loop, sched);
    worker->job_host = (struct job_host){.sched = sched,
                                         .outbox = outbox_create(sched, sink->take, data),
                                         .executor = &worker->subtasks,
                                         .http = http_client_driver(worker->http)};
    return worker;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    threads_destroy(worker->threads);
    watchdog_stop(worker->watchdog);
    fiber_pool_destroy(worker->fibers);
    plugin_destroy(worker->plugin);
    http_client_destroy(worker->http);
    worker_lock(worker);
    outbox_unref(worker->job_host.outbox);
    worker_unlock(worker);
    sched_loop_destroy(worker->job_host.sched);
    free(worker->jobs);
    free(worker);
}

/* ---- subtasks ---- */

static void on_subtask_fiber(struct fiber *self, void *data)
{
    (void)self;
    subtask_execute(data);
}

static int start_subtask_fiber(void *data, struct agent_task *subtask)
{
    struct worker *worker = data;
    struct sched *sched = worker->job_host.sched;
    struct waiter *waiter = subtask_waiter(subtask);
    int status;

    if (!sched_is_loop(sched)) /* a thread of the plugin's own */
        return -ENOTSUP;
    status = fiber_prepare(worker->fibers, on_subtask_fiber, subtask, &waiter->fiber);
    if (status < 0)
        return status;
    sched_loop_make_ready(sched, waiter);
    return 0;
}

static bool is_on_threads(void *data)
{
    struct worker *worker = data;

    return worker->threads != NULL;
}

static void on_subtask_thread(void *data)
{
    subtask_execute(data);
}

static int start_subtask_thread(void *data, struct agent_task *subtask)
{
    struct worker *worker = data;

    return threads_submit(worker->threads, on_subtask_thread, subtask);
}

static bool withdraw_subtask_thread(void *data, struct agent_task *subtask)
{
    struct worker *worker = data;

    return threads_withdraw(worker->threads, on_subtask_thread, subtask);
}

/* ---- loading ---- */

int worker_open(struct worker *worker, const char *path, const char *file, struct refusal *refusal)
{
    return plugin_open(path, file, host_table(), &worker->plugin, refusal);
}

/* Make the fibers, each with exceptions of its own in every C++ runtime. */
static void worker_make_fibers(struct worker *worker, size_t stack_size)
{
    cxx_globals *runtimes[PLUGIN_RUNTIMES_MAX];
    size_t count = plugin_runtimes(worker->plugin, runtimes);

    worker->fibers = fiber_pool_create(worker->loop, stack_size);
    for (size_t i = 0; i < count; i++) {
        if (fiber_pool_add_runtime(worker->fibers, runtimes[i]) < 0)
            log_warn("the plugin has more than %d C++ runtimes: fibers may share the exceptions "
                     "of the others",
                     FIBER_RUNTIMES_MAX);
    }
}

int worker_create_plugin(struct worker *worker, const struct worker_settings *settings,
                         const char *config, const char *state, struct refusal *refusal)
{
    /* A tenth is left for the plugin to say why it fails. */
    struct loading *loading = loading_begin(
        settings->start_ms ? worker->created_at + settings->start_ms * (CLOCK_MS * 9 / 10) : NEVER);
    int status = plugin_create(worker->plugin, config, state, refusal);

    loading_end(loading);
    if (status < 0) {
        host_table_add_last_error(&refusal->why);
        return status;
    }
    if (worker_plugin(worker)->mode == AGENT_FIBER)
        worker_make_fibers(worker, settings->stack_size);
    else
        worker->threads = threads_create(settings->threads);
    worker->subtasks = (struct subtask_executor){
        .start = worker->fibers ? start_subtask_fiber : start_subtask_thread,
        .may_run_here = is_on_threads,
        .withdraw = withdraw_subtask_thread,
        .data = worker,
    };
    return 0;
}

void worker_watch(struct worker *worker, bool is_watched, enum log_level level)
{
    if (is_watched && worker->fibers && worker->watchdog == NULL)
        worker->watchdog = watchdog_start(worker->fibers, level);
    if (is_watched)
        return;
    watchdog_stop(worker->watchdog);
    worker->watchdog = NULL;
}

const struct agent_plugin *worker_plugin(const struct worker *worker)
{
    return worker->plugin ? plugin_info(worker->plugin) : NULL;
}

const struct card *worker_card(const struct worker *worker)
{
    return plugin_card(worker->plugin);
}

/* Locked. */
static struct job *worker_job(const struct worker *worker, uint32_t number)
{
    sched_assert_locked(worker->job_host.sched);
    return number < worker->capacity ? worker->jobs[number] : NULL;
}

/* Give the job a place; -EPROTO if it cannot have it. Locked. */
static int worker_add(struct worker *worker, struct job *job)
{
    uint32_t number = job_number(job);

    sched_assert_locked(worker->job_host.sched);
    if (number >= WORKER_JOBS_MAX || worker_job(worker, number))
        return -EPROTO;
    if (number >= worker->capacity) {
        size_t capacity = (number + 64u) * 2;
        worker->jobs = mem_realloc(worker->jobs, capacity * sizeof *worker->jobs);
        memset(worker->jobs + worker->capacity, 0,
               (capacity - worker->capacity) * sizeof *worker->jobs);
        worker->capacity = capacity;
    }
    worker->jobs[number] = job;
    worker->live++;
    return 0;
}

/* Locked. */
static void worker_finish(struct worker *worker, struct job *job, int status)
{
    sched_assert_locked(worker->job_host.sched);
    execution_end(job, status);
    worker->jobs[job_number(job)] = NULL;
    worker->live--;
    job_unref(job);
}

static int call_handle(void *arg)
{
    const struct assignment *assignment = arg;

    return plugin_handle(assignment->worker->plugin, vars_find(job_vars(assignment->job), "input"));
}

/* handle() has ended its thread. Locked. */
static void on_lost(void *arg)
{
    const struct assignment *assignment = arg;

    worker_finish(assignment->worker, assignment->job, -EIO);
    worker_unlock(assignment->worker);
}

/* Execute the whole of a job, on its fiber or thread. */
static void worker_execute(struct assignment *assignment, struct fiber *fiber)
{
    struct execution execution = {.job = assignment->job,
                                  .fiber = fiber,
                                  .fn = call_handle,
                                  .lost = on_lost,
                                  .arg = assignment};
    int status = execution_run(&execution);

    worker_finish(assignment->worker, assignment->job, status);
    worker_unlock(assignment->worker);
}

static void on_fiber(struct fiber *self, void *data)
{
    struct assignment assignment = *(struct assignment *)data;

    worker_execute(&assignment, self);
}

static void on_thread(void *data)
{
    struct assignment assignment = *(struct assignment *)data;
    bool over;

    free(data);
    worker_lock(assignment.worker);
    over = !job_begin(assignment.job); /* it was cancelled while it waited for a thread */
    if (over)
        job_unref(assignment.job);
    worker_unlock(assignment.worker);
    if (!over)
        worker_execute(&assignment, NULL);
}

/* ---- jobs ---- */

static int worker_assign(struct worker *worker, struct job *job)
{
    struct assignment here = {.worker = worker, .job = job};
    struct assignment *kept;
    int status;

    if (worker->fibers)
        return fiber_start(worker->fibers, on_fiber, &here);
    kept = mem_alloc(sizeof *kept);
    *kept = here;
    status = threads_submit(worker->threads, on_thread, kept);
    if (status < 0)
        free(kept);
    return status;
}

/* End a job that cannot be executed at all. */
static void worker_reject(struct worker *worker, struct job *job, int status)
{
    char message[128];

    snprintf(message, sizeof message, "the worker has no %s for this run: %s",
             worker->fibers ? "stack" : "thread", strerror(-status));
    log_error("%s", message);
    worker_lock(worker);
    job_fail(job, "overloaded", message);
    worker_finish(worker, job, status);
    worker_unlock(worker);
}

int worker_start(struct worker *worker, uint32_t number, const char *pairs, size_t length)
{
    struct job *job = job_create(&worker->job_host, number, pairs, length);
    int status;

    if (job == NULL)
        return -EPROTO;
    worker_lock(worker);
    status = vars_find(job_vars(job), "input") ? worker_add(worker, job) : -EPROTO;
    if (status < 0)
        job_unref(job);
    worker_unlock(worker);
    if (status < 0)
        return status;
    status = worker_assign(worker, job);
    if (status < 0)
        worker_reject(worker, job, status);
    return 0;
}

/* Cancel a job; if it still waits for a thread, it ends at once. Locked. */
static void worker_cancel_job(struct worker *worker, struct job *job)
{
    job_cancel(job);
    if (worker->fibers || job_has_begun(job))
        return;
    job_ref(job);
    worker_finish(worker, job, -ECANCELED);
}

void worker_cancel(struct worker *worker, uint32_t number)
{
    struct job *job;

    worker_lock(worker);
    job = worker_job(worker, number);
    if (job)
        worker_cancel_job(worker, job);
    worker_unlock(worker);
}

void worker_input(struct worker *worker, uint32_t number, uint32_t question, const char *json)
{
    struct job *job;

    worker_lock(worker);
    job = worker_job(worker, number);
    if (job && question > 0)
        asks_answer(job, question, json);
    else if (job)
        inputs_give(job, json);
    worker_unlock(worker);
}

void worker_credit(struct worker *worker, uint32_t number, size_t bytes)
{
    struct job *job;

    worker_lock(worker);
    job = worker_job(worker, number);
    if (job)
        job_add_credit(job, bytes);
    worker_unlock(worker);
}

void worker_send(struct worker *worker, int type, const void *data, size_t length)
{
    worker_lock(worker);
    wire_append(outbox_frames(worker->job_host.outbox), (enum wire_type)type, 0, data, length);
    worker_unlock(worker);
}

void worker_save_state(struct worker *worker)
{
    char *state = plugin_save_state(worker->plugin);

    worker_send(worker, WIRE_STATE, state, state ? strlen(state) : 0);
    free(state);
}

void worker_flush(struct worker *worker)
{
    sched_loop_flush(worker->job_host.sched);
}

bool worker_try_lock(struct worker *worker)
{
    return sched_try_lock(worker->job_host.sched);
}

void worker_rescue(struct worker *worker, const struct worker_crash *crash)
{
    outbox_rescue(worker->job_host.outbox, worker->sink->rescue);
    worker->sink->crashed(worker->data, crash);
}

size_t worker_overflow(const struct worker *worker, uintptr_t address, uintptr_t stack_pointer)
{
    return worker->fibers ? fiber_pool_overflow(worker->fibers, address, stack_pointer) : 0;
}

void worker_quit(struct worker *worker)
{
    worker->quitting = true;
    worker_lock(worker);
    for (size_t i = 0; i < worker->capacity; i++) {
        if (worker->jobs[i])
            worker_cancel_job(worker, worker->jobs[i]);
    }
    sched_poke(worker->job_host.sched);
    worker_unlock(worker);
}
