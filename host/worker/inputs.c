/*
 * The front is told what the agent is at, by WAITING frames with two counts:
 * inputs that were taken, and tasks that wait for one. The beginning of a wait
 * is told only if the outbox has room. So the two other reports, that a wait is
 * over and that an input was taken, follow a frame that was let through, and
 * may be appended regardless.
 */
#include "worker/inputs.h"

#include "base/mem.h"
#include "wire/frames.h"
#include "worker/job.h"
#include "worker/outbox.h"

#include <errno.h>
#include <stdlib.h>

struct input {
    char *json;
    STAILQ_ENTRY(input) next; /* in inputs->queue */
};

void inputs_init(struct inputs *inputs)
{
    *inputs = (struct inputs){0};
    STAILQ_INIT(&inputs->queue);
}

/* Return the oldest input, which the caller frees; NULL if there is none. */
static char *inputs_pop(struct inputs *inputs)
{
    struct input *input = STAILQ_FIRST(&inputs->queue);
    char *json;

    if (input == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&inputs->queue, next);
    json = input->json;
    free(input);
    return json;
}

void inputs_finish(struct inputs *inputs)
{
    while (!STAILQ_EMPTY(&inputs->queue))
        free(inputs_pop(inputs));
}

void inputs_give(struct job *job, const char *json)
{
    struct input *input = mem_alloc(sizeof *input);

    input->json = mem_strdup(json);
    STAILQ_INSERT_TAIL(&job_inputs(job)->queue, input, next);
    job_wake(job);
}

/* Locked. */
static void inputs_report(struct job *job)
{
    struct inputs *inputs = job_inputs(job);
    uint32_t counts[2] = {inputs->taken, inputs->awaited};

    sched_assert_locked(job_sched(job));
    if (job_is_over(job))
        return;
    inputs->reported = inputs->awaited;
    wire_append(outbox_frames(job_host(job)->outbox), WIRE_WAITING, job_number(job), counts,
                sizeof counts);
}

/* Report the wait once the outbox has room, and wait until something happens. Locked. */
static int inputs_wait(struct task *task, uint64_t deadline)
{
    struct job *job = task->job;
    struct inputs *inputs = job_inputs(job);
    struct outbox *outbox = job_host(job)->outbox;
    bool silent = inputs->reported != inputs->awaited;
    bool crowded = silent && outbox_is_full(outbox);
    struct outbox_place place;
    int status;

    sched_assert_locked(job_sched(task->job));
    if (silent && !crowded)
        inputs_report(job);
    if (crowded)
        outbox_join_crowd(outbox, &place, &task->waiter);
    status = job_wait(task, deadline);
    if (crowded)
        outbox_leave_crowd(outbox, &place);
    return status;
}

/* Locked. */
static void inputs_await(struct task *task, uint64_t deadline)
{
    struct job *job = task->job;
    struct inputs *inputs = job_inputs(job);
    int status = 0;

    sched_assert_locked(job_sched(task->job));
    inputs->awaited++;
    while (!job_is_stopped(job) && STAILQ_EMPTY(&inputs->queue) && status == 0)
        status = inputs_wait(task, deadline);
    inputs->awaited--;
    if (STAILQ_EMPTY(&inputs->queue) && inputs->reported > inputs->awaited)
        inputs_report(job);
}

int inputs_take(struct task *task, uint64_t deadline, char **json)
{
    struct job *job = task->job;
    struct inputs *inputs = job_inputs(job);

    sched_assert_locked(job_sched(task->job));
    if (STAILQ_EMPTY(&inputs->queue) && !job_is_stopped(job) && deadline > 0)
        inputs_await(task, deadline);
    if (job_is_stopped(job))
        return -ECANCELED;
    if (STAILQ_EMPTY(&inputs->queue))
        return -ETIMEDOUT;
    *json = inputs_pop(inputs);
    inputs->taken++;
    inputs_report(job);
    return 0;
}
