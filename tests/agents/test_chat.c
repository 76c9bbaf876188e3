/* The agent chat, with a scripted model. */
#include "../case.h"

#include <sluice/agent_test.h>

#include <stdlib.h>
#include <string.h>

#define CONFIG "{\"base_url\":\"http://model.test/v1\",\"api_key\":\"secret\",\"model\":\"small\"}"
#define INPUT  "{\"prompt\":\"Why?\"}"

#define CHUNK(delta)   "data: {\"choices\":[{\"delta\":{\"content\":\"" delta "\"}}]}\n\n"
#define FINISH(reason) "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"

#define CALL(index, id, name)                                                           \
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":" index ",\"id\":\"" id \
    "\",\"function\":{\"name\":\"" name "\",\"arguments\":\"{}\"}}]}}]}\n\n"

static struct agent_test *test;

static void open_agent(void)
{
    test = agent_test_open(agent_plugin_entry, CONFIG);
}

static void close_agent(void)
{
    agent_test_close(test);
}

/* Pieces as a network delivers them: cut anywhere. */
static void script_answer(void)
{
    struct agent_test_response answer = {
        .method = "POST",
        .url = "/chat/completions",
        .headers = AGENT_TEST_LIST("Content-Type: text/event-stream"),
        .body = AGENT_TEST_LIST("data: {\"choices\":[{\"delta\":{\"con", "tent\":\"Be\"}}]}\n",
                                "\n", CHUNK("cause") FINISH("stop"), "data: [DONE]\n\n"),
        .delay_ms = 100};

    agent_test_answer(test, &answer);
}

CASES("runs", .setup = open_agent, .teardown = close_agent);

CASE(answer_in_pieces)
{
    script_answer();
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Because");
    ck_assert_uint_eq(agent_test_event(test, 0)->at_ms, 400); /* as soon as the event is whole */
    ck_assert_uint_eq(agent_test_event(test, 1)->at_ms, 500);
    ck_assert_str_eq(agent_test_status(test), "finished");
}

CASE(request_of_the_protocol)
{
    script_answer();
    agent_test_run(test, INPUT);
    ck_assert_uint_eq(agent_test_requests(test), 1);
    ck_assert_str_eq(agent_test_request(test, 0)->url, "http://model.test/v1/chat/completions");
    ck_assert_ptr_nonnull(
        strstr(agent_test_request(test, 0)->headers, "Authorization: Bearer secret\n"));
    ck_assert_ptr_nonnull(strstr(agent_test_request(test, 0)->body, "\"content\":\"Why?\""));
    ck_assert_ptr_nonnull(strstr(agent_test_request(test, 0)->body, "\"stream\":true"));
}

CASE(busy_model_is_asked_again)
{
    struct agent_test_response busy = {.status = 503, .headers = AGENT_TEST_LIST("Retry-After: 7")};

    agent_test_answer(test, &busy);
    script_answer();
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Because");
    ck_assert_uint_eq(agent_test_requests(test), 2);
    ck_assert_uint_ge(agent_test_elapsed_ms(test), 7000);
}

CASE(answer_that_is_cut)
{
    struct agent_test_response answer = {
        .status = 200, .body = AGENT_TEST_LIST(CHUNK("Be")), .error = -ECONNRESET};

    agent_test_answer(test, &answer);
    ck_assert_int_lt(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Be");
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_uint_eq(agent_test_requests(test), 1);
}

static void script_calls(void)
{
    struct agent_test_response answer = {
        .url = "/chat/completions",
        .body = AGENT_TEST_LIST(CALL("0", "c1", "dig"), CALL("1", "c2", "fly"),
                                FINISH("tool_calls"), "data: [DONE]\n\n")};

    agent_test_answer(test, &answer);
}

CASE(tools_are_called_at_once)
{
    script_calls();
    script_answer();
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(
        agent_test_transcript(test),
        "tool_call {\"scope\":\"c1\",\"id\":\"c1\",\"name\":\"dig\",\"arguments\":{}}\n"
        "tool_result {\"scope\":\"c1\",\"id\":\"c1\","
        "\"content\":\"error: there is no tool dig\"}\n"
        "tool_call {\"scope\":\"c2\",\"id\":\"c2\",\"name\":\"fly\",\"arguments\":{}}\n"
        "tool_result {\"scope\":\"c2\",\"id\":\"c2\","
        "\"content\":\"error: there is no tool fly\"}\n"
        "text {\"delta\":\"Be\"}\n"
        "text {\"delta\":\"cause\"}\n"
        "done {\"status\":\"finished\",\"result\":"
        "{\"answer\":\"Because\",\"finish_reason\":\"stop\",\"rounds\":2}}\n");
    ck_assert_ptr_nonnull(strstr(agent_test_request(test, 1)->body, "error: there is no tool dig"));
}

CASE(input_that_asks_nothing)
{
    ck_assert_int_lt(agent_test_run(test, "{}"), 0);
    ck_assert_str_eq(agent_test_code(test), "bad_input");
    ck_assert_uint_eq(agent_test_requests(test), 0);
}

CASE(setting_that_is_wrong)
{
    close_agent();
    test = agent_test_open(agent_plugin_entry, "{\"max_rounds\":\"many\"}");
    ck_assert_str_eq(agent_test_refusal(test), "create() returned -22 (Invalid argument): "
                                               "max_rounds must be 1 to 100, not 'many'");
}

CASE(stopped_anywhere)
{
    unsigned n = 0;

    do {
        script_calls();
        script_answer();
        agent_test_cancel_at_wait(test, ++n);
        agent_test_run(test, INPUT);
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_uint_ge(n, 10);
    ck_assert_str_eq(agent_test_text(test), "Because");
}
