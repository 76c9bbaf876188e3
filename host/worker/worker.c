#include "worker/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "wire/frames.h"
#include "worker/fibers/fiber.h"
#include "worker/host_table.h"
#include "worker/httpclient.h"
#include "worker/job.h"
#include "worker/subtask.h"
#include "worker/threads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    uv_loop_t *loop;
    struct outbox *outbox;
    struct plugin *plugin;
    struct fiber_pool *fibers; /* one of these two, by the plugin's mode */
    struct threads *threads;
    struct job **jobs; /* by number; with live: guarded by the outbox's lock */
    size_t capacity;
    size_t live;
    struct subtask_executor subtasks;
    struct http_client *http;
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

static void on_take(void *data, struct buf *frames)
{
    struct worker *worker = data;

    worker->sink->take(worker->data, frames);
}

static void worker_leave(struct worker *worker)
{
    worker->left = true;
    threads_destroy(worker->threads);
    worker->threads = NULL;
    plugin_destroy(worker->plugin);
    worker->plugin = NULL;
    worker->sink->left(worker->data);
}

static void on_turn_ended(void *data)
{
    struct worker *worker = data;
    bool busy;

    http_client_turn(worker->http);
    if (!worker->quitting || worker->left)
        return;
    outbox_lock(worker->outbox);
    busy = worker->live > 0 || !outbox_is_empty(worker->outbox);
    outbox_unlock(worker->outbox);
    if (!busy)
        worker_leave(worker);
}

struct worker *worker_create(uv_loop_t *loop, const struct worker_sink *sink, void *data)
{
    static const struct outbox_sink outbox_sink = {.take = on_take, .turn_ended = on_turn_ended};
    struct worker *worker = mem_alloc(sizeof *worker);

    worker->loop = loop;
    worker->sink = sink;
    worker->data = data;
    worker->outbox = outbox_create(loop, &outbox_sink, worker);
    worker->http = http_client_create(loop, worker->outbox);
    return worker;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    threads_destroy(worker->threads);
    fiber_pool_destroy(worker->fibers);
    plugin_destroy(worker->plugin);
    http_client_destroy(worker->http);
    outbox_destroy(worker->outbox);
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
    struct task *task = subtask_task(subtask);
    int status;

    if (!outbox_is_loop(worker->outbox)) /* a thread of the plugin's own */
        return -ENOTSUP;
    status = fiber_prepare(worker->fibers, on_subtask_fiber, subtask, &task->fiber);
    if (status < 0)
        return status;
    outbox_make_ready(worker->outbox, task);
    return 0;
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

static int add_logged(int status, struct plugin_refusal *refusal)
{
    char logged[512];
    size_t length = strlen(refusal->reason);

    host_table_last_error(logged, sizeof logged);
    if (logged[0])
        snprintf(refusal->reason + length, sizeof refusal->reason - length, ": %s", logged);
    return status;
}

int worker_open(struct worker *worker, const char *path, const char *file,
                struct plugin_refusal *refusal)
{
    return plugin_open(path, file, host_table(), &worker->plugin, refusal);
}

int worker_create_plugin(struct worker *worker, const struct worker_settings *settings,
                         const char *config, const char *state, struct plugin_refusal *refusal)
{
    int status = plugin_create(worker->plugin, config, state, refusal);

    if (status < 0)
        return add_logged(status, refusal);
    if (worker_plugin(worker)->mode == AGENT_FIBER)
        worker->fibers = fiber_pool_create(worker->loop, settings->stack_size);
    else
        worker->threads = threads_create(settings->threads);
    worker->subtasks.data = worker;
    worker->subtasks.start = worker->fibers ? start_subtask_fiber : start_subtask_thread;
    worker->subtasks.withdraw = withdraw_subtask_thread;
    return 0;
}

const struct agent_plugin *worker_plugin(const struct worker *worker)
{
    return worker->plugin ? plugin_info(worker->plugin) : NULL;
}

/* Locked. */
static struct job *worker_job(const struct worker *worker, uint32_t number)
{
    return number < worker->capacity ? worker->jobs[number] : NULL;
}

/* Gives the job a place; -EPROTO if it cannot have it. Locked. */
static int worker_add(struct worker *worker, struct job *job)
{
    if (job->number >= WORKER_JOBS_MAX || worker_job(worker, job->number))
        return -EPROTO;
    if (job->number >= worker->capacity) {
        size_t capacity = (job->number + 64u) * 2;
        worker->jobs = mem_realloc(worker->jobs, capacity * sizeof *worker->jobs);
        memset(worker->jobs + worker->capacity, 0,
               (capacity - worker->capacity) * sizeof *worker->jobs);
        worker->capacity = capacity;
    }
    worker->jobs[job->number] = job;
    worker->live++;
    return 0;
}

/* Locked. */
static void worker_finish(struct worker *worker, struct job *job, int status)
{
    job_finish(job, status);
    worker->jobs[job->number] = NULL;
    worker->live--;
    job_unref(job);
}

/* The whole of a job, on its fiber or thread. */
static void worker_execute(const struct assignment *assignment, struct fiber *fiber)
{
    struct job *job = assignment->job;
    struct task task;
    int status = -ECANCELED;

    task_init(&task, job, job->vars, fiber);
    task_set_current(&task);
    if (!job_is_stopped(job))
        status = plugin_handle(assignment->worker->plugin, vars_find(job->vars, "input"));
    outbox_lock(assignment->worker->outbox);
    subtasks_join_all(&task, status != 0 || job->fail_code);
    worker_finish(assignment->worker, job, status);
    outbox_unlock(assignment->worker->outbox);
    task_set_current(NULL);
    task_finish(&task);
}

static void on_fiber(struct fiber *self, void *data)
{
    struct assignment assignment = *(struct assignment *)data;

    worker_execute(&assignment, self);
}

static void on_thread(void *data)
{
    struct assignment assignment = *(struct assignment *)data;
    struct outbox *outbox = assignment.worker->outbox;
    bool over;

    free(data);
    outbox_lock(outbox);
    over = job_is_over(assignment.job); /* it was cancelled while it waited for a thread */
    assignment.job->begun = true;
    if (over)
        job_unref(assignment.job);
    outbox_unlock(outbox);
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

/* The worker could not execute it at all. */
static void worker_reject(struct worker *worker, struct job *job, int status)
{
    char message[128];

    snprintf(message, sizeof message, "the worker has no %s for this run: %s",
             worker->fibers ? "stack" : "thread", strerror(-status));
    log_error("%s", message);
    outbox_lock(worker->outbox);
    job->fail_code = mem_strdup("overloaded");
    job->fail_message = mem_strdup(message);
    worker_finish(worker, job, status);
    outbox_unlock(worker->outbox);
}

int worker_start(struct worker *worker, uint32_t number, const char *pairs, size_t length)
{
    struct job *job = job_create(worker->outbox, number, pairs, length);
    int status;

    if (job == NULL || vars_find(job->vars, "input") == NULL)
        status = -EPROTO;
    else {
        job->executor = &worker->subtasks;
        job->http = worker->http;
        outbox_lock(worker->outbox);
        status = worker_add(worker, job);
        outbox_unlock(worker->outbox);
    }
    if (status < 0) {
        if (job) {
            outbox_lock(worker->outbox);
            job_unref(job);
            outbox_unlock(worker->outbox);
        }
        return status;
    }
    status = worker_assign(worker, job);
    if (status < 0)
        worker_reject(worker, job, status);
    return 0;
}

/* One that still waits for a thread ends at once; the thread then finds it over. Locked. */
static void worker_cancel_job(struct worker *worker, struct job *job)
{
    job_cancel(job);
    if (worker->fibers || job->begun)
        return;
    job_ref(job);
    worker_finish(worker, job, -ECANCELED);
}

void worker_cancel(struct worker *worker, uint32_t number)
{
    struct job *job;

    outbox_lock(worker->outbox);
    job = worker_job(worker, number);
    if (job)
        worker_cancel_job(worker, job);
    outbox_unlock(worker->outbox);
}

void worker_input(struct worker *worker, uint32_t number, const char *json)
{
    struct job *job;

    outbox_lock(worker->outbox);
    job = worker_job(worker, number);
    if (job)
        job_input(job, json);
    outbox_unlock(worker->outbox);
}

void worker_credit(struct worker *worker, uint32_t number, size_t bytes)
{
    struct job *job;

    outbox_lock(worker->outbox);
    job = worker_job(worker, number);
    if (job)
        job_credit(job, bytes);
    outbox_unlock(worker->outbox);
}

void worker_send(struct worker *worker, int type, const void *data, size_t length)
{
    outbox_lock(worker->outbox);
    wire_append(outbox_frames(worker->outbox), (enum wire_type)type, 0, data, length);
    outbox_unlock(worker->outbox);
}

void worker_save_state(struct worker *worker)
{
    char *state = plugin_save_state(worker->plugin, WIRE_STATE_MAX);

    worker_send(worker, WIRE_STATE, state, state ? strlen(state) : 0);
    free(state);
}

void worker_flush(struct worker *worker)
{
    outbox_flush(worker->outbox);
}

void worker_quit(struct worker *worker)
{
    worker->quitting = true;
    outbox_lock(worker->outbox);
    for (size_t i = 0; i < worker->capacity; i++) {
        if (worker->jobs[i])
            worker_cancel_job(worker, worker->jobs[i]);
    }
    outbox_poke(worker->outbox);
    outbox_unlock(worker->outbox);
}
