/*
 * The states of a job. Any of the three ways to stop it wakes all that waits in
 * it, and each waiting call then returns -ECANCELED:
 *
 *     created ──► begun ──────────────────────────► over ──► gone
 *        │          │  job_cancel(): the front       ▲       (last reference)
 *        │          │  job_stop(): it has failed     │
 *        │          └──► stopped, until handle() ────┤ job_finish()
 *        │               returns                     │
 *        └──► cancelled before a thread was free ────┘
 *
 * A job that is over may still be referred to: by a capture of the agent's, or
 * by a thread that is bound to it. The job holds the scheduler and the outbox for
 * such a thread; the rest of the worker may be gone. So every call looks at
 * job_is_stopped() or job_is_over() before anything else.
 *
 * How a job ends, in this order: cancelled counts more than a failure, that of
 * run_fail() more than a negative return, and any of them more than a result. A
 * negative return says why the last call that failed with it was refused, if one was.
 */
#include "worker/job.h"

#include "agent.h"
#include "base/mem.h"
#include "base/time.h"
#include "wire/frames.h"
#include "worker/asks.h"
#include "worker/emit.h"
#include "worker/exchange.h"
#include "worker/inputs.h"
#include "worker/outbox.h"
#include "worker/refused.h"
#include "worker/subtask.h"
#include "worker/vars.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job_vars {
    char *pairs; /* the START frame: strings of the first variables */
    struct var *first;
    const struct var *newest;
    struct var **set; /* what tasks set, to be freed */
    size_t set_count;
    size_t set_bytes;
};

struct job_outcome {
    char *fail_code; /* of run_fail() */
    char *fail_message;
    char *result; /* of run_result() */
};

struct job {
    struct job_host host;
    uint32_t number;
    unsigned refs;
    bool begun;
    atomic_bool cancelled;
    atomic_bool stopping;
    atomic_bool over;
    size_t credit;              /* bytes of events that may still leave */
    uint32_t held;              /* tasks that wait for credit, as the front was told */
    const struct task *cutting; /* emits a text in pieces, while others wait; NULL for none */
    struct task_list waiting;
    struct job_vars vars;
    struct job_outcome outcome;
    struct inputs inputs;
    struct asks asks;
    struct subtasks subtasks;
    struct exchanges exchanges;
    struct refused *refused;
};

/* ---- life ---- */

/* Make a chain of the pairs; false if they are malformed. */
static bool job_read_pairs(struct job_vars *vars, const char *pairs, size_t length)
{
    size_t strings = 0;
    const char *at;

    for (size_t i = 0; i < length; i++)
        strings += pairs[i] == '\0';
    if (strings % 2 || (length > 0 && pairs[length - 1] != '\0'))
        return false;
    at = vars->pairs = memcpy(mem_alloc(length + 1), pairs, length);
    vars->first = mem_alloc((strings / 2 + 1) * sizeof *vars->first);
    for (size_t i = 0; i < strings / 2; i++) {
        struct var *var = &vars->first[i];
        var->next = vars->newest;
        var->key = at;
        at += strlen(at) + 1;
        var->value = at;
        at += strlen(at) + 1;
        vars->newest = var;
    }
    return true;
}

struct job *job_create(const struct job_host *host, uint32_t number, const char *pairs,
                       size_t length)
{
    struct job *job = mem_alloc(sizeof *job);

    if (!job_read_pairs(&job->vars, pairs, length)) {
        free(job);
        return NULL;
    }
    job->host = *host;
    job->number = number;
    job->refs = 1;
    job->credit = WIRE_WINDOW;
    TAILQ_INIT(&job->waiting);
    inputs_init(&job->inputs);
    asks_init(&job->asks);
    subtasks_init(&job->subtasks);
    exchanges_init(&job->exchanges);
    sched_lock(host->sched);
    sched_ref(host->sched);
    outbox_ref(host->outbox);
    sched_unlock(host->sched);
    return job;
}

struct job *job_ref(struct job *job)
{
    sched_assert_locked(job->host.sched);
    job->refs++;
    return job;
}

void job_unref(struct job *job)
{
    sched_assert_locked(job->host.sched);
    if (--job->refs > 0)
        return;
    inputs_finish(&job->inputs);
    refused_destroy(job->refused);
    outbox_unref(job->host.outbox);
    sched_unref(job->host.sched);
    for (size_t i = 0; i < job->vars.set_count; i++)
        free(job->vars.set[i]);
    free(job->vars.set);
    free(job->vars.first);
    free(job->vars.pairs);
    free(job->outcome.fail_code);
    free(job->outcome.fail_message);
    free(job->outcome.result);
    free(job);
}

struct sched *job_sched(const struct job *job)
{
    return job->host.sched;
}

const struct job_host *job_host(const struct job *job)
{
    return &job->host;
}

uint32_t job_number(const struct job *job)
{
    return job->number;
}

const struct var *job_vars(const struct job *job)
{
    return job->vars.newest;
}

struct inputs *job_inputs(struct job *job)
{
    sched_assert_locked(job->host.sched);
    return &job->inputs;
}

struct asks *job_asks(struct job *job)
{
    sched_assert_locked(job->host.sched);
    return &job->asks;
}

struct subtasks *job_subtasks(struct job *job)
{
    sched_assert_locked(job->host.sched);
    return &job->subtasks;
}

struct exchanges *job_exchanges(struct job *job)
{
    sched_assert_locked(job->host.sched);
    return &job->exchanges;
}

struct refused **job_refused(struct job *job)
{
    sched_assert_locked(job->host.sched);
    return &job->refused;
}

/* ---- whether it goes on ---- */

bool job_begin(struct job *job)
{
    sched_assert_locked(job->host.sched);
    job->begun = true;
    return !job_is_over(job);
}

bool job_has_begun(const struct job *job)
{
    sched_assert_locked(job->host.sched);
    return job->begun;
}

bool job_is_over(const struct job *job)
{
    return atomic_load_explicit(&job->over, memory_order_relaxed);
}

bool job_is_stopped(const struct job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed) ||
           atomic_load_explicit(&job->stopping, memory_order_relaxed) || job_is_over(job);
}

int job_wait(struct task *task, uint64_t deadline)
{
    struct task *current = task_current(); /* none in create() */
    struct job *job = task->job;
    int status;

    sched_assert_locked(job->host.sched);
    TAILQ_INSERT_TAIL(&job->waiting, task, in_job);
    task_set_current(NULL);
    status = sched_wait(job->host.sched, &task->waiter, deadline);
    task_set_current(current);
    TAILQ_REMOVE(&job->waiting, task, in_job);
    return status;
}

void job_wake(struct job *job)
{
    struct task *task;

    sched_assert_locked(job->host.sched);
    TAILQ_FOREACH(task, &job->waiting, in_job)
        sched_wake(job->host.sched, &task->waiter);
}

void job_cancel(struct job *job)
{
    atomic_store(&job->cancelled, true);
    job_wake(job);
}

void job_stop(struct job *job)
{
    atomic_store(&job->stopping, true);
    job_wake(job);
}

/* ---- what it emits and sets ---- */

void job_add_credit(struct job *job, size_t bytes)
{
    sched_assert_locked(job->host.sched);
    job->credit += bytes;
    job_wake(job);
}

/* Locked. */
static bool job_can_afford(const struct job *job, const struct task *task, size_t cost)
{
    sched_assert_locked(job->host.sched);
    return job->credit >= cost && !outbox_is_full(job->host.outbox) &&
           (job->cutting == NULL || job->cutting == task);
}

/*
 * Tell the front how many tasks wait for credit. The frame is appended whether
 * or not there is room: a wait begins only while there is, and each ends once.
 */
static void job_report_held(struct job *job, uint32_t held)
{
    sched_assert_locked(job->host.sched);
    job->held = held;
    if (!job_is_over(job))
        wire_append(outbox_frames(job->host.outbox), WIRE_HELD, job->number, &held, sizeof held);
}

/* Wait for credit and room. Locked. */
static void job_await_credit(struct job *job, struct task *task, size_t cost)
{
    bool held = false;

    sched_assert_locked(job->host.sched);
    while (!job_is_stopped(job) && !job_can_afford(job, task, cost)) {
        struct outbox_place place;
        bool crowded = outbox_is_full(job->host.outbox);
        if (crowded) {
            outbox_join_crowd(job->host.outbox, &place, &task->waiter);
        } else if (!held) {
            held = true;
            job_report_held(job, job->held + 1);
        }
        job_wait(task, NEVER);
        if (crowded)
            outbox_leave_crowd(job->host.outbox, &place);
    }
    if (held)
        job_report_held(job, job->held - 1);
}

/* Emit a text that is too long for one event. */
static int job_emit_pieces(struct task *task, struct emit *emit)
{
    struct job *job = task->job;
    char *kept = mem_copy(emit->text, emit->length); /* as another fiber may write over it */
    struct emit piece;
    int status = 0;

    emit->text = kept;
    sched_lock(job->host.sched);
    while (job->cutting && !job_is_stopped(job))
        job_wait(task, NEVER);
    if (!job_is_stopped(job))
        job->cutting = task;
    sched_unlock(job->host.sched);
    while (emit->length > 0 && status == 0)
        status = emit_cut(emit, task->scope, &piece) ? job_emit(task, &piece) : -EMSGSIZE;
    sched_lock(job->host.sched);
    if (job->cutting == task) {
        job->cutting = NULL;
        job_wake(job);
    }
    sched_unlock(job->host.sched);
    free(kept);
    return status;
}

int job_emit(struct task *task, struct emit *emit)
{
    struct job *job = task->job;
    size_t length = emit_size(emit, task->scope);
    size_t cost = wire_charge(emit->type_length, length);
    char kept_type[AGENT_TYPE_MAX];
    char *kept = NULL;
    int status = 0;

    if (length > AGENT_EVENT_MAX)
        return emit->is_delta ? job_emit_pieces(task, emit) : -EMSGSIZE;
    sched_lock(job->host.sched);
    if (!job_is_stopped(job) && !job_can_afford(job, task, cost)) {
        /* While this one waits, another fiber may write over the strings. */
        emit->type = memcpy(kept_type, emit->type, emit->type_length);
        emit->text = kept = mem_copy(emit->text, emit->length);
        job_await_credit(job, task, cost);
    }
    if (job_is_stopped(job)) {
        status = -ECANCELED;
    } else {
        /* The strings may be invalid: in a crash the frame must not be there yet. */
        struct buf *frames = outbox_event_frames(job->host.outbox);
        job->credit -= cost;
        emit_write(emit, task->scope,
                   wire_write_event(frames, job->number, emit->type, emit->type_length, length));
        wire_append_written(frames, emit->type_length, length);
    }
    sched_unlock(job->host.sched);
    free(kept);
    return status;
}

int job_set_var(struct job *job, struct task *task, const char *key, const char *value)
{
    struct job_vars *vars = &job->vars;
    size_t size = vars_size(key, value);
    struct var *var;

    sched_assert_locked(job->host.sched);
    if (vars->set_bytes + size > AGENT_CTX_MAX)
        return -ENOSPC;
    var = vars_push(task->vars, key, value);
    if (vars->set_count % 16 == 0)
        vars->set = mem_realloc(vars->set, (vars->set_count + 16) * sizeof *vars->set);
    vars->set[vars->set_count++] = var;
    vars->set_bytes += size;
    task->vars = var;
    return 0;
}

/* ---- how it ends ---- */

void job_fail(struct job *job, const char *code, const char *message)
{
    sched_assert_locked(job->host.sched);
    if (job->outcome.fail_code)
        return;
    job->outcome.fail_code = mem_strdup(code);
    job->outcome.fail_message = mem_strdup(message);
}

void job_fail_exit(struct job *job, const char *function)
{
    char *message = mem_printf("%s ended its thread with pthread_exit(): it must return", function);

    if (job->host.thread_ended)
        job->host.thread_ended(function);
    sched_lock(job->host.sched);
    job_fail(job, "agent_error", message);
    sched_unlock(job->host.sched);
    free(message);
}

bool job_has_failed(const struct job *job)
{
    sched_assert_locked(job->host.sched);
    return job->outcome.fail_code != NULL;
}

void job_set_result(struct job *job, char *json)
{
    sched_assert_locked(job->host.sched);
    free(job->outcome.result);
    job->outcome.result = json;
}

void job_finish(struct job *job, int status)
{
    const struct job_outcome *outcome = &job->outcome;
    struct wire_end end = {.status = WIRE_FINISHED, .code = "", .message = "", .result = ""};
    const char *reason = refused_reason(job->refused, status);
    char message[128];

    sched_assert_locked(job->host.sched);
    if (atomic_load(&job->cancelled)) {
        end.status = WIRE_CANCELLED;
    } else if (outcome->fail_code) {
        end.status = WIRE_FAILED;
        end.code = outcome->fail_code;
        end.message = outcome->fail_message;
    } else if (status != 0) {
        end.status = WIRE_FAILED;
        end.code = "agent_error";
        snprintf(message, sizeof message, "handle() returned %d (%s)", status,
                 refused_word(status));
        end.message = reason ? reason : message;
    } else if (outcome->result) {
        end.result = outcome->result;
    }
    atomic_store(&job->over, true);
    job_wake(job);
    wire_append_end(outbox_frames(job->host.outbox), job->number, &end);
}
