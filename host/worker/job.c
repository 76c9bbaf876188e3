#include "worker/job.h"

#include "agent.h"
#include "base/mem.h"
#include "base/time.h"
#include "wire/frames.h"
#include "worker/httpclient.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job_input {
    char *json;
    STAILQ_ENTRY(job_input) next; /* in job->inputs */
};

static size_t count_strings(const char *pairs, size_t length)
{
    size_t count = 0;

    for (size_t i = 0; i < length; i++)
        count += pairs[i] == '\0';
    return count;
}

/* Makes a chain of the pairs. */
static void job_read_pairs(struct job *job, size_t vars)
{
    const char *at = job->pairs;

    job->first = mem_alloc((vars + 1) * sizeof *job->first);
    for (size_t i = 0; i < vars; i++) {
        struct var *var = &job->first[i];
        var->next = job->vars;
        var->key = at;
        at += strlen(at) + 1;
        var->value = at;
        at += strlen(at) + 1;
        job->vars = var;
    }
}

struct job *job_create(struct outbox *outbox, uint32_t number, const char *pairs, size_t length)
{
    size_t strings = count_strings(pairs, length);
    struct job *job;

    if (strings % 2 || (length > 0 && pairs[length - 1] != '\0'))
        return NULL;
    job = mem_alloc(sizeof *job);
    job->outbox = outbox;
    job->number = number;
    job->refs = 1;
    job->credit = WIRE_WINDOW;
    job->pairs = mem_alloc(length + 1);
    memcpy(job->pairs, pairs, length);
    STAILQ_INIT(&job->inputs);
    TAILQ_INIT(&job->waiting);
    TAILQ_INIT(&job->subtasks);
    TAILQ_INIT(&job->exchanges);
    job_read_pairs(job, strings / 2);
    outbox_lock(outbox);
    outbox_hold(outbox);
    outbox_unlock(outbox);
    return job;
}

struct job *job_ref(struct job *job)
{
    job->refs++;
    return job;
}

/* The oldest input, which the caller frees; NULL if there is none. */
static char *job_pop_input(struct job *job)
{
    struct job_input *input = STAILQ_FIRST(&job->inputs);
    char *json;

    if (input == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&job->inputs, next);
    json = input->json;
    free(input);
    return json;
}

void job_unref(struct job *job)
{
    if (--job->refs > 0)
        return;
    while (!STAILQ_EMPTY(&job->inputs))
        free(job_pop_input(job));
    outbox_let_go(job->outbox);
    for (size_t i = 0; i < job->set_count; i++)
        free(job->set[i]);
    free(job->set);
    free(job->first);
    free(job->pairs);
    free(job->fail_code);
    free(job->fail_message);
    free(job->result);
    free(job);
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

void job_wake(struct job *job)
{
    struct task *task;

    TAILQ_FOREACH(task, &job->waiting, in_job)
        task_wake(task);
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

void job_credit(struct job *job, size_t bytes)
{
    job->credit += bytes;
    job_wake(job);
}

void job_input(struct job *job, const char *json)
{
    struct job_input *input = mem_alloc(sizeof *input);

    input->json = mem_strdup(json);
    STAILQ_INSERT_TAIL(&job->inputs, input, next);
    job_wake(job);
}

/*
 * Tells the front what it is at. When a wait begins, only if the outbox has
 * room: so each of the other two, that one is over and that an input was taken,
 * follows what was let through, and may be appended regardless.
 */
static void job_report_waiting(struct job *job)
{
    uint32_t counts[2] = {job->inputs_taken, job->inputs_awaited};

    if (job_is_over(job))
        return;
    job->awaited_reported = job->inputs_awaited;
    wire_append(outbox_frames(job->outbox), WIRE_WAITING, job->number, counts, sizeof counts);
}

/* Says that it waits, once the outbox has room, and waits until something happens. */
static int job_wait_for_input(struct job *job, struct task *task, uint64_t deadline)
{
    bool silent = job->awaited_reported != job->inputs_awaited;
    bool crowded = silent && outbox_is_full(job->outbox);
    int status;

    if (silent && !crowded)
        job_report_waiting(job);
    if (crowded)
        outbox_join_crowd(job->outbox, task);
    status = task_wait(task, deadline);
    if (crowded)
        outbox_leave_crowd(job->outbox, task);
    return status;
}

static void job_await_input(struct job *job, struct task *task, uint64_t deadline)
{
    int status = 0;

    job->inputs_awaited++;
    while (!job_is_stopped(job) && STAILQ_EMPTY(&job->inputs) && status == 0)
        status = job_wait_for_input(job, task, deadline);
    job->inputs_awaited--;
    if (STAILQ_EMPTY(&job->inputs) && job->awaited_reported > job->inputs_awaited)
        job_report_waiting(job);
}

int job_take_input(struct job *job, struct task *task, uint64_t deadline, char **json)
{
    if (STAILQ_EMPTY(&job->inputs) && !job_is_stopped(job) && deadline > 0)
        job_await_input(job, task, deadline);
    if (job_is_stopped(job))
        return -ECANCELED;
    if (STAILQ_EMPTY(&job->inputs))
        return -ETIMEDOUT;
    *json = job_pop_input(job);
    job->inputs_taken++;
    job_report_waiting(job);
    return 0;
}

bool job_has(const struct job *job, size_t cost)
{
    return job->credit >= cost && !outbox_is_full(job->outbox);
}

/*
 * Tells the front how many tasks wait for credit. Appended regardless of room: a
 * wait begins only while the outbox has room, and each ends once.
 */
static void job_report_held(struct job *job, uint32_t held)
{
    job->held = held;
    if (!job_is_over(job))
        wire_append(outbox_frames(job->outbox), WIRE_HELD, job->number, &held, sizeof held);
}

int job_spend(struct job *job, struct task *task, size_t cost)
{
    bool held = false;

    while (!job_is_stopped(job) && !job_has(job, cost)) {
        bool crowded = outbox_is_full(job->outbox);
        if (crowded) {
            outbox_join_crowd(job->outbox, task);
        } else if (!held) {
            held = true;
            job_report_held(job, job->held + 1);
        }
        task_wait(task, NEVER);
        if (crowded)
            outbox_leave_crowd(job->outbox, task);
    }
    if (held)
        job_report_held(job, job->held - 1);
    if (job_is_stopped(job))
        return -ECANCELED;
    job->credit -= cost;
    return 0;
}

int job_set(struct job *job, struct task *task, const char *key, const char *value)
{
    size_t size = vars_size(key, value);
    struct var *var;

    if (job->set_bytes + size > AGENT_CTX_MAX)
        return -ENOSPC;
    var = vars_push(task->vars, key, value);
    if (job->set_count % 16 == 0)
        job->set = mem_realloc(job->set, (job->set_count + 16) * sizeof *job->set);
    job->set[job->set_count++] = var;
    job->set_bytes += size;
    task->vars = var;
    return 0;
}

void job_finish(struct job *job, int status)
{
    struct wire_end end = {.status = WIRE_FINISHED, .code = "", .message = "", .result = ""};
    char message[128];

    if (atomic_load(&job->cancelled)) {
        end.status = WIRE_CANCELLED;
    } else if (job->fail_code) {
        end.status = WIRE_FAILED;
        end.code = job->fail_code;
        end.message = job->fail_message;
    } else if (status != 0) {
        end.status = WIRE_FAILED;
        end.code = "agent_error";
        snprintf(message, sizeof message, "handle() returned %d (%s)", status,
                 status < 0 ? strerror((int)(0u - (unsigned)status)) : "not a negative errno");
        end.message = message;
    } else if (job->result) {
        end.result = job->result;
    }
    atomic_store(&job->over, true);
    exchanges_close_all(job);
    job_wake(job);
    wire_append_end(outbox_frames(job->outbox), job->number, &end);
}
