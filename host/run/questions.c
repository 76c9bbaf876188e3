/*
 * The way of a question, which the worker numbers:
 *
 *     EVENT input_request ──► open ── run_answer ──► answered ──► gone
 *                              │        INPUT            CLOSED ▲
 *                              └────────────────────────────────┘
 *                               timed out, or its task was told to stop
 *
 * The front may have sent an answer while the worker says that the task no longer waits.
 * The worker then drops the answer, since nobody waits for its number.
 */
#include "run/inside.h"

#include "base/json.h"
#include "base/json_schema.h"
#include "base/mem.h"
#include "base/why.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a question takes besides its text, about. */
#define QUESTION_SIZE 128

void questions_init(struct questions *questions)
{
    TAILQ_INIT(&questions->list);
}

/* Return the number of an id as the host writes it, or 0. */
static uint32_t read_id(const char *id)
{
    size_t digits = *id == 'q' ? strspn(id + 1, "0123456789") : 0;
    unsigned long long number;

    if (digits == 0 || digits >= QUESTION_ID_MAX || id[1] == '0' || id[1 + digits] != '\0')
        return 0;
    number = strtoull(id + 1, NULL, 10);
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static struct question *find(const struct run *run, uint32_t number)
{
    struct question *question;

    TAILQ_FOREACH(question, &run->questions.list, in_run) {
        if (question->number == number)
            return question;
    }
    return NULL;
}

const struct question *run_question_next(const struct run *run, const struct question *question)
{
    do {
        question = question ? TAILQ_NEXT(question, in_run) : TAILQ_FIRST(&run->questions.list);
    } while (question && question->answer_size > 0);
    return question;
}

const struct question *run_question_find(const struct run *run, const char *id)
{
    const struct question *question = find(run, read_id(id));

    return question && question->answer_size == 0 ? question : NULL;
}

const struct question *run_question_at(const struct run *run, uint64_t sequence)
{
    const struct question *question = NULL;

    while ((question = run_question_next(run, question)) && question->sequence != sequence)
        ;
    return question;
}

/* Return the number of the question that the JSON asks, or 0. */
static uint32_t read_number(const struct event *event)
{
    struct buf id = {0};
    uint32_t number = 0;

    if (json_member_text(event->json, event->json_length, "id", &id) && buf_length(&id) > 0) {
        buf_append(&id, "", 1);
        number = read_id(buf_data(&id));
    }
    buf_finish(&id);
    return number;
}

int questions_open(struct run *run, const struct event *event, uint64_t sequence)
{
    struct questions *questions = &run->questions;
    struct question *question;
    uint32_t number;

    if (questions->count >= WIRE_QUESTIONS_MAX || event->json_length > WIRE_QUESTION_MAX ||
        json_check(event->json, event->json_length) != (ssize_t)event->json_length ||
        *event->json != '{')
        return -EPROTO;
    number = read_number(event);
    if (number == 0 || find(run, number))
        return -EPROTO;
    question = mem_alloc(sizeof *question);
    snprintf(question->id, sizeof question->id, "q%" PRIu32, number);
    question->number = number;
    question->sequence = sequence;
    question->json = mem_copy(event->json, event->json_length);
    question->length = event->json_length;
    TAILQ_INSERT_TAIL(&questions->list, question, in_run);
    questions->count++;
    questions->open++;
    questions->size += QUESTION_SIZE + question->length;
    if (number > questions->newest)
        questions->newest = number;
    runs_account(run->runs, run);
    return 0;
}

static void drop(struct run *run, struct question *question)
{
    struct questions *questions = &run->questions;

    if (question->answer_size == 0)
        eventlog_close(run->log, question->sequence);
    TAILQ_REMOVE(&questions->list, question, in_run);
    questions->count--;
    questions->open -= question->answer_size == 0;
    questions->size -= QUESTION_SIZE + question->length + question->answer_size;
    questions->answers -= question->answer_size;
    free((char *)question->json);
    free(question);
}

int questions_close(struct run *run, uint32_t number)
{
    struct question *question = find(run, number);

    if (question == NULL)
        return -EPROTO;
    drop(run, question);
    runs_account(run->runs, run);
    return 0;
}

void questions_clear(struct run *run)
{
    while (!TAILQ_EMPTY(&run->questions.list))
        drop(run, TAILQ_FIRST(&run->questions.list));
}

/* A schema that is none was refused when the agent asked; a worker that lies gets any answer. */
int run_question_check(const struct question *question, const char *json, size_t length,
                       struct why *why)
{
    struct json_schema *schema = NULL;
    size_t schema_length;
    const char *text;
    int status = 0;

    if (!json_member_find(question->json, question->length, "schema", &text, &schema_length))
        return 0;
    if (json_schema_read(text, schema_length, &schema, why) == 0 &&
        json_schema_check(schema, json, length, why) < 0)
        status = -EINVAL;
    json_schema_destroy(schema);
    return status;
}

int run_answer(struct run *run, const char *id, const char *json, size_t length)
{
    bool has_room = runs_make_room(run->runs, run->quota->name, length);
    uint32_t number = read_id(id);
    struct questions *questions = &run->questions;
    struct question *question = find(run, number);
    struct why why = {0};
    int status;

    if (run->executor == NULL || run_has_ended(run))
        return -ENXIO;
    if (question == NULL || question->answer_size > 0)
        return number > 0 && number <= questions->newest ? -EALREADY : -ENOENT;
    status = run_question_check(question, json, length, &why);
    why_finish(&why);
    if (status < 0)
        return status;
    if (questions->answers > 0 && questions->answers + length > RUN_INPUTS_SIZE)
        return -EAGAIN;
    if (!has_room)
        return -EDQUOT;
    status = run->executor->input(run->executor_data, run->number, number, json, length);
    if (status < 0)
        return status;
    run_hear(run);
    question->answer_size = length;
    eventlog_close(run->log, question->sequence);
    questions->open--;
    questions->size += length;
    questions->answers += length;
    run_set_asking(run);
    runs_account(run->runs, run);
    return 0;
}
