/* agent_llm_run_tools() with a scripted model, scripted people, and tools that behave in every way.
 */
#include "../case.h"

#include <sluice/agent_llm.h>
#include <sluice/agent_test.h>

#include <stdlib.h>
#include <string.h>

static struct agent_test *test;
static struct agent_llm_tool tools[8];
static struct agent_llm llm;

/* ---- the agent ---------------------------------------------------------- */

static int slow(void *arg, const cJSON *arguments, char **result)
{
    int status = agent_sleep((uint32_t)json_number(arguments, "ms", 0));

    (void)arg;
    *result = strdup(json_string(arguments, "say", "slept"));
    return status;
}

static int mail(void *arg, const cJSON *arguments, char **result)
{
    char text[64];

    (void)arg;
    snprintf(text, sizeof text, "sent to %s", json_string(arguments, "to", ""));
    *result = strdup(text);
    return emit_event("sent", "{}");
}

static int broken(void *arg, const cJSON *arguments, char **result)
{
    (void)arg, (void)arguments, (void)result;
    return -ENOENT;
}

static int broken_in_words(void *arg, const cJSON *arguments, char **result)
{
    (void)arg, (void)arguments;
    *result = strdup("the archive is closed");
    return -EIO;
}

static int odd(void *arg, const cJSON *arguments, char **result)
{
    (void)arg;
    if (json_number(arguments, "bytes", 0) > 0)
        *result = calloc(1, (size_t)json_number(arguments, "bytes", 0) + 1);
    if (*result)
        memset(*result, 'x', (size_t)json_number(arguments, "bytes", 0));
    else
        *result = strdup("a\xff\xc3\xa9\xed\xa0\xbd");
    return 0;
}

static const struct agent_llm_tool all[] = {
    {"slow", "waits", "{\"type\":\"object\"}", slow, 0},
    {"mail", "sends mail", "{\"type\":\"object\"}", mail, 1},
    {"broken", "fails", NULL, broken, 0},
    {"broken_in_words", "fails", NULL, broken_in_words, 0},
    {"odd", "returns what is odd", NULL, odd, 0},
    {0},
};

static int handle(void *self, const char *input)
{
    struct agent_llm_answer answer;
    cJSON *messages = cJSON_CreateArray();
    char *text;
    int status = agent_llm_say(messages, "user", input);

    (void)self;
    if (status == 0)
        status = agent_llm_run_tools(&llm, messages, tools, NULL, &answer);
    if (status < 0)
        run_fail(answer.code, "%s", answer.message);
    text = cJSON_PrintUnformatted(messages);
    if (status == 0 && strlen(text) < AGENT_EVENT_MAX)
        status = run_result(text);
    cJSON_free(text);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "loop", .version = "1.0", .handle = handle)

/* ---- scripts ------------------------------------------------------------ */

static void setup(void)
{
    llm = (struct agent_llm){.base_url = "http://model.test/v1", .model = "m"};
    memcpy(tools, all, sizeof all);
    test = agent_test_open(agent_plugin_entry, "{}");
}

static void teardown(void)
{
    agent_test_close(test);
}

/* The model calls these: {"index":N,"id":...,"function":{...}}, with commas between them. */
static void script_calls(const char *calls)
{
    char body[8192];

    snprintf(
        body, sizeof body,
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[%s]},\"finish_reason\":\"tool_calls\"}]}"
        "\n\ndata: [DONE]\n\n",
        calls);
    agent_test_answer(test, &(struct agent_test_response){.body = AGENT_TEST_LIST(body)});
}

#define CALL(index, id, name, arguments)                                    \
    "{\"index\":" index ",\"id\":\"" id "\",\"function\":{\"name\":\"" name \
    "\",\"arguments\":\"" arguments "\"}}"

static void script_text(const char *text)
{
    char body[1024];

    snprintf(
        body, sizeof body,
        "data: {\"choices\":[{\"delta\":{\"content\":\"%s\"},\"finish_reason\":\"stop\"}]}\n\n",
        text);
    agent_test_answer(test, &(struct agent_test_response){.body = AGENT_TEST_LIST(body)});
}

static void run(void)
{
    agent_test_run(test, "\"hi\"");
}

/* Expect the run's events, without those of text, in any order of the calls. */
static void expect_event(const char *line)
{
    ck_assert_msg(strstr(agent_test_transcript(test), line) != NULL, "no %s in\n%s", line,
                  agent_test_transcript(test));
}

static void expect_sent(size_t request, const char *words)
{
    ck_assert_msg(strstr(agent_test_request(test, request)->body, words) != NULL, "no %s in\n%s",
                  words, agent_test_request(test, request)->body);
}

CASES("loop", .setup = setup, .teardown = teardown);

CASE(no_call)
{
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_result(test), "[{\"role\":\"user\",\"content\":\"\\\"hi\\\"\"},"
                                              "{\"role\":\"assistant\",\"content\":\"done\"}]");
    expect_sent(0,
                "{\"type\":\"function\",\"function\":{\"name\":\"slow\",\"description\":\"waits\","
                "\"parameters\":{\"type\":\"object\"}}}");
    expect_sent(0, "\"name\":\"broken\",\"description\":\"fails\","
                   "\"parameters\":{\"type\":\"object\",\"properties\":{}}}");
}

CASE(calls_run_at_once_and_answer_in_order)
{
    script_calls(CALL("0", "a", "slow", "{\\\"ms\\\":3000,\\\"say\\\":\\\"first\\\"}") "," CALL(
        "1", "b", "slow",
        "{\\\"ms\\\":1000,\\\"say\\\":\\\"second\\\"}") "," CALL("2", "c", "slow",
                                                                 "{\\\"ms\\\":2000}"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 3000);
    expect_event("tool_result {\"scope\":\"b\",\"id\":\"b\",\"content\":\"second\"}\n"
                 "tool_result {\"scope\":\"c\",\"id\":\"c\",\"content\":\"slept\"}\n"
                 "tool_result {\"scope\":\"a\",\"id\":\"a\",\"content\":\"first\"}\n"
                 "text {\"delta\":\"done\"}\n");
    expect_sent(1, "\"content\":null,\"tool_calls\":[{\"id\":\"a\",");
    expect_sent(1, "{\"role\":\"tool\",\"content\":\"first\",\"tool_call_id\":\"a\"},"
                   "{\"role\":\"tool\",\"content\":\"second\",\"tool_call_id\":\"b\"},"
                   "{\"role\":\"tool\",\"content\":\"slept\",\"tool_call_id\":\"c\"}]");
}

CASE(unknown_tool)
{
    script_calls(CALL("0", "a", "fly", "{}"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    expect_event("tool_call {\"scope\":\"a\",\"id\":\"a\",\"name\":\"fly\",\"arguments\":{}}\n");
    expect_sent(1, "\"content\":\"error: there is no tool fly\"");
}

CASE(tool_that_fails)
{
    script_calls(CALL("0", "a", "broken", "") "," CALL("1", "b", "broken_in_words", "null"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    expect_sent(1, "\"content\":\"error: No such file or directory\",\"tool_call_id\":\"a\"");
    expect_sent(1, "\"content\":\"the archive is closed\",\"tool_call_id\":\"b\"");
}

CASE(arguments_that_are_none)
{
    script_calls(CALL("0", "a", "slow", "{\\\"ms\\\": ") "," CALL("1", "b", "slow", "[1]"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    expect_event(
        "tool_call {\"scope\":\"a\",\"id\":\"a\",\"name\":\"slow\",\"arguments\":\"{\\\"ms\\\": "
        "\"}");
    expect_sent(
        1,
        "\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"slow\",\"arguments\":\"{}\"}");
    expect_sent(
        1,
        "\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"slow\",\"arguments\":\"{}\"}");
    expect_sent(1, "error: the arguments must be a JSON object, not {\\\"ms\\\":\"");
    expect_sent(1, "error: the arguments must be a JSON object, not [1]\"");
}

CASE(results_that_are_odd)
{
    script_calls(CALL("0", "a", "odd", "{}") "," CALL("1", "b", "odd", "{\\\"bytes\\\":2000000}"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    expect_event("tool_result {\"scope\":\"a\",\"id\":\"a\",\"content\":\"a?\xc3\xa9???\"}\n");
    expect_event("\"bytes\":2000000}\n");
    ck_assert_uint_gt(agent_test_request(test, 1)->body_length, 2000000);
}

CASE(what_the_server_wants_to_see_again)
{
    script_calls(
        "{\"id\":\"a\",\"function\":{\"name\":\"odd\",\"arguments\":\"{}\"},\"extra_content\":"
        "{\"google\":{\"thought_signature\":\"c2ln\"}}}");
    script_text("done");
    run();
    expect_sent(1, "\"extra_content\":{\"google\":{\"thought_signature\":\"c2ln\"}}}]");
}

CASE(reasoning_that_the_server_wants_to_see_again)
{
    agent_test_answer(
        test, &(struct agent_test_response){
                  .body = AGENT_TEST_LIST(
                      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"let me \"}}]}\n\n"
                      "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"see\"}}]}\n\n"
                      "data: {\"choices\":[{\"delta\":{\"tool_calls\":[" CALL(
                          "0", "a", "odd", "{}") "]},\"finish_reason\":\"tool_calls\"}]}\n\n")});
    script_text("done");
    run();
    expect_sent(1, "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"let me see\","
                   "\"tool_calls\":[");
}

CASE(rounds_are_limited)
{
    llm.max_rounds = 3;
    for (int i = 0; i < 3; i++)
        script_calls(CALL("0", "a", "slow", "{}"));
    run();
    ck_assert_str_eq(agent_test_code(test), "too_many_rounds");
    ck_assert_ptr_nonnull(strstr(agent_test_message(test), "answered 3 times"));
    ck_assert_uint_eq(agent_test_requests(test), 3);
}

CASE(schema_that_is_none)
{
    tools[0].schema = "{";
    run();
    ck_assert_str_eq(agent_test_code(test), "not_configured");
    ck_assert_ptr_nonnull(strstr(agent_test_message(test), "the schema of the tool slow"));
    ck_assert_uint_eq(agent_test_requests(test), 0);
}

CASE(model_that_fails_in_the_second_round)
{
    script_calls(CALL("0", "a", "slow", "{}"));
    agent_test_answer(test, &(struct agent_test_response){.status = 400});
    run();
    ck_assert_str_eq(agent_test_code(test), "model_refused");
}

CASE(quiet)
{
    llm.quiet = AGENT_LLM_QUIET;
    script_calls(CALL("0", "a", "slow", "{}"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_eq(agent_test_events(test), 0);
}

/* ---- approval ----------------------------------------------------------- */

#define MAIL_A CALL("0", "a", "mail", "{\\\"to\\\":\\\"friend\\\"}")
#define MAIL_B CALL("1", "b", "mail", "{\\\"to\\\":\\\"enemy\\\"}")

static void expect_mail(const char *a, const char *b)
{
    char words[512];

    snprintf(words, sizeof words, "\"content\":\"%s\",\"tool_call_id\":\"a\"", a);
    expect_sent(1, words);
    snprintf(words, sizeof words, "\"content\":\"%s\",\"tool_call_id\":\"b\"", b);
    expect_sent(1, words);
}

CASE(approved)
{
    static const char *const inputs[] = {"true", "\"yes\"", "{\"approved\":true}",
                                         "{\"id\":\"a\",\"approved\":\"ok\"}"};

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        script_calls(MAIL_A);
        script_text("done");
        agent_test_reply(test, "q1", 50, inputs[i]);
        run();
        ck_assert_str_eq(
            agent_test_transcript(test),
            "tool_call "
            "{\"scope\":\"a\",\"id\":\"a\",\"name\":\"mail\",\"arguments\":{\"to\":\"friend\"}}\n"
            "input_request {\"scope\":\"a\",\"id\":\"q1\",\"message\":\"Allow the call of mail?\","
            "\"call\":\"a\",\"name\":\"mail\",\"arguments\":{\"to\":\"friend\"}}\n"
            "sent {\"scope\":\"a\"}\n"
            "tool_result {\"scope\":\"a\",\"id\":\"a\",\"content\":\"sent to friend\"}\n"
            "text {\"delta\":\"done\"}\n"
            "done {\"status\":\"finished\",\"result\":"
            "[{\"role\":\"user\",\"content\":\"\\\"hi\\\"\"},{\"role\":\"assistant\",\"content\":"
            "null,"
            "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"mail\","
            "\"arguments\":\"{\\\"to\\\":\\\"friend\\\"}\"}}]},{\"role\":\"tool\",\"content\":"
            "\"sent to "
            "friend\",\"tool_call_id\":\"a\"},{\"role\":\"assistant\",\"content\":\"done\"}]}\n");
    }
}

CASE(denied)
{
    static const char *const inputs[] = {"false",  "null",
                                         "1",      "\"no\"",
                                         "{}",     "{\"approved\":false}",
                                         "[true]", "{\"approve\":true}"};

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        script_calls(MAIL_A);
        script_text("done");
        agent_test_reply(test, "q1", 50, inputs[i]);
        run();
        ck_assert_str_eq(agent_test_status(test), "finished");
        ck_assert_ptr_null(strstr(agent_test_transcript(test), "sent {"));
        expect_event("\"content\":\"error: a person did not allow this call\"}\n");
        expect_sent(1, "error: a person did not allow this call");
    }
    script_calls(MAIL_A);
    script_text("done");
    agent_test_reply(test, "q1", 50, "{\"approved\":false,\"reason\":\"too late\"}");
    run();
    expect_sent(1, "error: a person did not allow this call: too late");
}

/* Both are asked at once, and the second is answered first. */
CASE(two_questions_at_a_time)
{
    script_calls(MAIL_A "," MAIL_B);
    script_text("done");
    agent_test_reply(test, "q1", 200, "{\"approved\":false,\"reason\":\"no friends\"}");
    agent_test_reply(test, "q2", 100, "true");
    run();
    expect_mail("error: a person did not allow this call: no friends", "sent to enemy");
    for (size_t i = 0; i < agent_test_events(test); i++) {
        const struct agent_test_emitted *event = agent_test_event(test, i);
        if (strcmp(event->type, "input_request") == 0)
            ck_assert_uint_eq(event->at_ms, 0);
    }
}

/* Calls that ask nobody go on meanwhile, and so does a call that was allowed. */
CASE(others_go_on_while_a_person_thinks)
{
    script_calls(CALL("0", "x", "slow", "{\\\"ms\\\":300,\\\"say\\\":\\\"x\\\"}") "," CALL(
        "1", "a", "mail", "{}") "," CALL("2", "b", "mail", "{}"));
    script_text("done");
    agent_test_reply(test, "q1", 500, "true");
    agent_test_reply(test, "q2", 700, "true");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    for (size_t i = 0; i < agent_test_events(test); i++) {
        const struct agent_test_emitted *event = agent_test_event(test, i);
        if (strcmp(event->type, "tool_result") == 0)
            ck_assert_uint_eq(event->at_ms, strstr(event->json, "\"id\":\"x\"")   ? 300
                                            : strstr(event->json, "\"id\":\"a\"") ? 500
                                                                                  : 700);
    }
}

CASE(nobody_answers)
{
    llm.approval_timeout_ms = 1000;
    script_calls(MAIL_A "," MAIL_B);
    script_text("done");
    agent_test_reply(test, "q1", 1500, "true");
    agent_test_reply(test, "q2", 500, "true");
    run();
    expect_mail("error: nobody allowed this call in time", "sent to enemy");
}

CASE(bad_arguments_are_not_asked_about)
{
    script_calls(CALL("0", "a", "mail", "{"));
    script_text("done");
    run();
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_ptr_null(strstr(agent_test_transcript(test), "input_request"));
}

/* ---- cancelling --------------------------------------------------------- */

static void script_everything(void)
{
    script_calls(
        CALL("0", "x", "slow", "{\\\"ms\\\":300}") "," CALL("1", "a", "mail", "{}") "," CALL(
            "2", "y", "slow", "{\\\"ms\\\":100}") "," CALL("3", "b", "mail", "{}"));
    script_calls(CALL("0", "z", "slow", "{\\\"ms\\\":100}"));
    script_text("done");
    agent_test_reply(test, "q1", 50, "true");
    agent_test_reply(test, "q2", 60, "false");
}

CASE(cancelled_at_each_wait)
{
    unsigned n = 0;

    do {
        script_everything();
        agent_test_cancel_at_wait(test, ++n);
        run();
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_ge(n, 10);
}

CASE(cancelled_at_each_event)
{
    unsigned n = 0;

    do {
        script_everything();
        agent_test_cancel_at_emit(test, ++n);
        run();
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_ge(n, 12);
}
