/* Questions of a run: what is open, who is answered, and how long a run waits for a person. */
#include "../case.h"
#include "base/why.h"
#include "run/inside.h"
#include "run_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ask(unsigned number)
{
    char json[64];

    snprintf(json, sizeof json, "{\"id\":\"q%u\",\"message\":\"%u?\"}", number, number);
    return append("input_request", json);
}

static int answer(const char *id, const char *json)
{
    return run_answer(run, id, json, strlen(json));
}

static int give(const char *json)
{
    return run_give_input(run, json, strlen(json));
}

static void expect_described(const char *part)
{
    struct buf json = {0};
    char *text;

    run_describe(run, &json);
    text = buf_steal(&json);
    ck_assert_msg(strstr(text, part) != NULL, "%s lacks %s", text, part);
    free(text);
}

static void expect_no_questions(void)
{
    struct buf json = {0};
    char *text;

    ck_assert_ptr_null(run_question_next(run, NULL));
    run_describe(run, &json);
    text = buf_steal(&json);
    ck_assert_ptr_null(strstr(text, "questions"));
    free(text);
}

CASES("questions", .setup = setup_running, .teardown = teardown);

CASE(opens)
{
    const struct question *question;

    expect_no_questions();
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    question = run_question_find(run, "q1");
    ck_assert_str_eq(question->json, "{\"id\":\"q1\",\"message\":\"1?\"}");
    ck_assert_uint_eq(question->length, strlen(question->json));
    ck_assert_uint_eq(question->sequence, 2); /* after `run` */
    ck_assert_ptr_eq(run_question_at(run, 2), question);
    ck_assert_ptr_null(run_question_at(run, 1));
    ck_assert_ptr_null(run_question_at(run, 3));
    ck_assert_ptr_eq(run_question_next(run, NULL), question);
    ck_assert_ptr_null(run_question_next(run, question));
    expect_described("\"status\":\"waiting\"");
    expect_described("\"questions\":[{\"id\":\"q1\",\"message\":\"1?\"}]");
    ck_assert_str_eq(stream_of(&reader).types, "run input_request ");
}

/* Two tasks ask at once, and the second is answered first. */
CASE(answers_go_to_who_has_asked)
{
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(ask(2), 0);
    expect_described("\"questions\":[{\"id\":\"q1\",\"message\":\"1?\"},{\"id\":\"q2\"");
    ck_assert_int_eq(answer("q2", "true"), 0);
    ck_assert_uint_eq(told.last_question, 2);
    ck_assert_str_eq(told.last_input, "true");
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    expect_described("\"questions\":[{\"id\":\"q1\",\"message\":\"1?\"}]");
    ck_assert_int_eq(run_close_question(run, 2), 0);
    ck_assert_int_eq(answer("q1", "false"), 0);
    ck_assert_uint_eq(told.last_question, 1);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    expect_no_questions();
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE(each_is_answered_once)
{
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_int_eq(answer("q1", "2"), -EALREADY);
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(answer("q1", "3"), -EALREADY);
    ck_assert_uint_eq(told.inputs, 1);
}

CASE_LOOP(wrong_ids, 0, 14)
{
    static const char *const ids[] = {
        "q3",  "q0", "",  "q",   "2",   "q02",         "q1 ",
        "q-1", "Q1", "x", "q1q", "qq1", "q4294967297", "q99999999999",
    };

    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(ask(2), 0);
    ck_assert_int_eq(answer(ids[_i], "1"), -ENOENT);
    ck_assert_ptr_null(run_question_find(run, ids[_i]));
    ck_assert_uint_eq(told.inputs, 0);
}

CASE(closed_without_an_answer)
{
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    expect_no_questions();
    ck_assert_int_eq(answer("q1", "1"), -EALREADY);
}

CASE_LOOP(ends_with_open_questions, 0, 2)
{
    ck_assert_int_eq(ask(1), 0);
    if (_i)
        run_abort(run, RUN_ERROR_deadline, NULL);
    else
        ck_assert_int_eq(finish(), 0);
    expect_no_questions();
    ck_assert_int_eq(answer("q1", "1"), -ENXIO);
    if (_i) { /* its agent still runs */
        ck_assert_int_eq(run_close_question(run, 1), 0);
        ck_assert_int_eq(ask(2), 0);
        expect_no_questions();
    }
}

CASE(most_bytes_of_answers)
{
    size_t length = RUN_INPUTS_SIZE;
    char *json = malloc(length);

    memset(json, '1', length);
    told.input_status = -ENOBUFS; /* the fixture keeps none so long */
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(ask(2), 0);
    ck_assert_int_eq(answer("q1", "1"), -ENOBUFS);
    told.input_status = 0;
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_int_eq(run_answer(run, "q2", json, length), -EAGAIN);
    ck_assert_ptr_nonnull(run_question_find(run, "q2"));
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(answer("q2", "1"), 0);
    free(json);
}

/* The client is charged for what is open, and no longer for what is closed. */
CASE(memory)
{
    size_t before = runs_memory(runs);
    char *json = malloc(WIRE_QUESTION_MAX + 1);

    memset(json, ' ', WIRE_QUESTION_MAX);
    snprintf(json, 32, "{\"id\":\"q1\",\"a\":\"");
    memset(json + strlen(json), 'x', WIRE_QUESTION_MAX - strlen("{\"id\":\"q1\",\"a\":\""));
    memcpy(json + WIRE_QUESTION_MAX - 2, "\"}", 3);
    ck_assert_int_eq(append("input_request", json), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_ge(runs_memory(runs), before + WIRE_QUESTION_MAX);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_uint_ge(runs_memory(runs), before + WIRE_QUESTION_MAX);
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_uint_eq(run->questions.size, 0);
    ck_assert_uint_eq(run->questions.count, 0);
    free(json);
}

/* ---- schemas ---- */

#define ASKED(schema) "{\"id\":\"q1\",\"message\":\"?\",\"schema\":" schema "}"

CASE(answer_that_does_not_match)
{
    struct why why = {0};

    ck_assert_int_eq(append("input_request", ASKED("{\"type\":\"boolean\"}")), 0);
    ck_assert_int_eq(answer("q1", "\"yes\""), -EINVAL);
    ck_assert_int_eq(run_question_check(run_question_find(run, "q1"), "1", 1, &why), -EINVAL);
    ck_assert_str_ne(why_text(&why), "");
    ck_assert_int_eq(run_question_check(run_question_find(run, "q1"), "true", 4, &why), 0);
    why_finish(&why);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_uint_eq(told.inputs, 0);
    ck_assert_int_eq(answer("q1", " true "), 0);
}

/* Only a worker that lies has such a schema. */
CASE_LOOP(schema_that_is_none, 0, 4)
{
    static const char *const asked[] = {ASKED("1"), ASKED("\"x\""), ASKED("{\"type\":7}"),
                                        ASKED("{\"pattern\":\"(\"}")};

    ck_assert_int_eq(append("input_request", asked[_i]), 0);
    ck_assert_int_eq(answer("q1", "\"yes\""), 0);
}

/* ---- inputs that name no question ---- */

CASE(plain_input_for_an_agent_that_only_asks)
{
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(give("1"), -EBUSY);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_int_eq(give("1"), 0); /* as before a question */
    ck_assert_uint_eq(told.last_question, 0);
}

CASE(plain_input_for_an_agent_that_does_both)
{
    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_uint_eq(told.last_question, 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(give("2"), 0);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

/* ---- a lying worker ---- */

CASE_LOOP(forged_questions, 0, 11)
{
    static const char *const forged[] = {
        "1",
        "[]",
        "{}",
        "{\"message\":\"?\"}",
        "{\"id\":1}",
        "{\"id\":\"\"}",
        "{\"id\":\"1\"}",
        "{\"id\":\"q0\"}",
        "{\"id\":\"q1\"",
        "{\"id\": \"q1\"}",
        "{\"a\":{\"id\":\"q1\"}}",
    };

    ck_assert_int_eq(append("input_request", forged[_i]), -EPROTO);
    expect_no_questions();
}

CASE(forged_numbers)
{
    ck_assert_int_eq(run_close_question(run, 1), -EPROTO);
    ck_assert_int_eq(ask(1), 0);
    ck_assert_int_eq(ask(1), -EPROTO);
    ck_assert_int_eq(run_close_question(run, 2), -EPROTO);
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(run_close_question(run, 1), -EPROTO);
}

CASE(too_many)
{
    for (unsigned i = 1; i <= WIRE_QUESTIONS_MAX; i++)
        ck_assert_int_eq(ask(i), 0);
    ck_assert_int_eq(ask(WIRE_QUESTIONS_MAX + 1), -EPROTO);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_int_eq(ask(WIRE_QUESTIONS_MAX + 1), -EPROTO);
    ck_assert_int_eq(run_close_question(run, 1), 0);
    ck_assert_int_eq(ask(WIRE_QUESTIONS_MAX + 1), 0);
}

CASE(too_long)
{
    char *json = malloc(WIRE_QUESTION_MAX + 2);

    memset(json, 'x', WIRE_QUESTION_MAX + 1);
    memcpy(json, "{\"id\":\"q1\",\"a\":\"", strlen("{\"id\":\"q1\",\"a\":\""));
    memcpy(json + WIRE_QUESTION_MAX - 1, "\"}", 3);
    ck_assert_int_eq(append("input_request", json), -EPROTO);
    told.credit -= wire_charge(strlen("input_request"), strlen(json)); /* it was charged */
    free(json);
}

/* ---- how long a run waits ---- */

static void start_with(uint64_t linger_ms, uint64_t input_ms)
{
    request.linger_ms = linger_ms;
    request.input_ms = input_ms;
    start_run();
}

static void wait_for_cancel(uint64_t least_ms)
{
    uint64_t from = uv_now(&loop);

    while (told.cancels == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(told.at_ms, from + least_ms);
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    expect_described("\"reason\":\"disconnect\"");
}

CASES("times", .setup = setup_runs, .teardown = teardown);

CASE_LOOP(client_leaves_while_it_waits, 0, 4)
{
    start_with(_i & 1 ? 0 : 1, 20);
    if (_i & 2)
        ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    else
        ck_assert_int_eq(ask(1), 0);
    run_leave(&reader.subscriber);
    pass(10);
    ck_assert_uint_eq(told.cancels, 0);
    wait_for_cancel(0);
}

CASE(client_leaves_before_the_question)
{
    start_with(50, NEVER);
    run_leave(&reader.subscriber);
    ck_assert_int_eq(ask(1), 0);
    pass(80);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_close_question(run, 1), 0); /* nobody has answered */
    wait_for_cancel(20);
}

/* The time to linger goes by while the agent works, however often it asks in vain. */
CASE(asks_again_and_again)
{
    unsigned asked = 0;

    start_with(20, 20);
    run_leave(&reader.subscriber);
    while (told.cancels == 0) {
        ck_assert_int_eq(ask(++asked), 0);
        pass(1);
        ck_assert_int_eq(run_close_question(run, asked), 0);
        pass(1);
        ck_assert_uint_lt(asked, 1000);
    }
}

CASE_LOOP(answered_without_a_reader, 0, 2)
{
    start_with(0, HOUR_MS);
    if (_i)
        ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    else
        ck_assert_int_eq(ask(1), 0);
    run_leave(&reader.subscriber);
    ck_assert_int_eq(_i ? give("1") : answer("q1", "1"), 0);
    if (_i)
        ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_uint_eq(run->linger_left, RUN_RETURN_MS);
    subscribe(&reader); /* whoever has answered reads on */
    run_leave(&reader.subscriber);
    ck_assert_uint_eq(told.cancels, 1);
}

CASE(linger_begins_with_the_answer)
{
    start_with(RUN_RETURN_MS + 1000, HOUR_MS);
    ck_assert_int_eq(ask(1), 0);
    run_leave(&reader.subscriber);
    ck_assert_int_eq(answer("q1", "1"), 0);
    ck_assert_uint_eq(run->linger_left, RUN_RETURN_MS + 1000);
    ck_assert_uint_eq(run->deserted_at, run->alone_since + run->linger_left);
}

CASE(reader_stays)
{
    start_with(1, 1);
    ck_assert_int_eq(ask(1), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(answer("q1", "1"), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
}

CASE(reader_returns_while_it_waits)
{
    start_with(1, 30);
    ck_assert_int_eq(ask(1), 0);
    run_leave(&reader.subscriber);
    subscribe(&reader);
    pass(50);
    ck_assert_uint_eq(told.cancels, 0);
}

/* A detached run goes on without readers, but does not wait for ever. */
CASE(detached_run_waits)
{
    start_with(NEVER, 10);
    run_leave(&reader.subscriber);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(ask(1), 0);
    wait_for_cancel(10);
}
