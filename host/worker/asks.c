/*
 * A question gets its number before its event leaves, since the event has the number in it,
 * and is in the list from then on: so an answer finds its task however early it comes.
 *
 * CLOSED follows an event that was let through, so its frames are bounded by the questions
 * and may be appended whether or not the outbox has room.
 */
#include "worker/asks.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "wire/frames.h"
#include "worker/emit.h"
#include "worker/job.h"
#include "worker/outbox.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* On the stack of the task that asks. */
struct ask {
    uint32_t number;
    char *answer; /* NULL until it comes */
    TAILQ_ENTRY(ask) in_job;
};

void asks_init(struct asks *asks)
{
    *asks = (struct asks){0};
    TAILQ_INIT(&asks->list);
}

/* Emit the question with its id as the first member. */
static int emit_question(struct task *task, uint32_t number, const char *json)
{
    struct buf text = {0};
    struct emit emit;
    int status;

    buf_printf(&text, "{\"id\":\"q%" PRIu32 "\",%s", number, strchr(json, '{') + 1);
    buf_append(&text, "", 1);
    status = emit_of_question(&emit, buf_data(&text));
    if (status == 0 && emit_size(&emit, task->scope) > WIRE_QUESTION_MAX)
        status = -EMSGSIZE;
    if (status == 0)
        status = job_emit(task, &emit);
    buf_finish(&text);
    return status;
}

/* Wait for the answer, then tell the front that nobody does any longer. Locked. */
static int await_answer(struct task *task, struct ask *ask, uint64_t timeout)
{
    struct job *job = task->job;
    uint64_t deadline = time_after(sched_now(job_sched(job)), timeout);
    int status = 0;

    while (!job_is_stopped(job) && ask->answer == NULL && status == 0)
        status = job_wait(task, deadline);
    if (!job_is_over(job))
        wire_append(outbox_frames(job_host(job)->outbox), WIRE_CLOSED, job_number(job),
                    &ask->number, sizeof ask->number);
    if (job_is_stopped(job))
        return -ECANCELED;
    return ask->answer ? 0 : -ETIMEDOUT;
}

int ask_and_wait(struct task *task, const char *json, uint64_t timeout, char **answer)
{
    struct sched *sched = job_sched(task->job);
    struct asks *asks;
    struct ask ask = {0};
    int status;

    sched_lock(sched);
    asks = job_asks(task->job);
    if (asks->count >= WIRE_QUESTIONS_MAX) {
        sched_unlock(sched);
        return -EAGAIN;
    }
    ask.number = ++asks->newest;
    asks->count++;
    TAILQ_INSERT_TAIL(&asks->list, &ask, in_job);
    sched_unlock(sched);
    status = emit_question(task, ask.number, json);
    sched_lock(sched);
    if (status == 0)
        status = await_answer(task, &ask, timeout);
    TAILQ_REMOVE(&asks->list, &ask, in_job);
    asks->count--;
    sched_unlock(sched);
    if (status == 0)
        *answer = ask.answer;
    else
        free(ask.answer);
    return status;
}

void asks_answer(struct job *job, uint32_t number, const char *json)
{
    struct ask *ask;

    TAILQ_FOREACH(ask, &job_asks(job)->list, in_job) {
        if (ask->number == number && ask->answer == NULL) {
            ask->answer = mem_strdup(json);
            job_wake(job);
        }
    }
}
