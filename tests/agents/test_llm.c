/* An agent that chats with a model, tested with a model that is a script. */
#include <sluice/agent_test.h>

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG "{\"base_url\":\"http://model.test/v1\",\"api_key\":\"secret\",\"model\":\"small\"}"
#define INPUT  "{\"say\":\"Why?\"}"

#define CHUNK(delta)   "data: {\"choices\":[{\"delta\":{\"content\":\"" delta "\"}}]}\n\n"
#define FINISH(reason) "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"

static struct agent_test *test;

static void open_agent(void)
{
    test = agent_test_open(agent_plugin_entry, CONFIG);
}

static void close_agent(void)
{
    agent_test_close(test);
}

/* As it comes over a network: with no regard to where events end. */
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

START_TEST(answer_in_pieces)
{
    script_answer();
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Because");
    ck_assert_uint_eq(agent_test_event(test, 0)->at_ms, 400); /* as soon as it is whole */
    ck_assert_uint_eq(agent_test_event(test, 1)->at_ms, 500);
    ck_assert_str_eq(agent_test_status(test), "finished");
}
END_TEST

START_TEST(request_of_the_protocol)
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
END_TEST

START_TEST(busy_model_is_asked_again)
{
    struct agent_test_response busy = {.status = 503, .headers = AGENT_TEST_LIST("Retry-After: 7")};

    agent_test_answer(test, &busy);
    script_answer();
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Because");
    ck_assert_uint_eq(agent_test_requests(test), 2);
    ck_assert_uint_ge(agent_test_elapsed_ms(test), 7000);
}
END_TEST

START_TEST(answer_that_is_cut)
{
    struct agent_test_response answer = {
        .status = 200, .body = AGENT_TEST_LIST(CHUNK("Be")), .error = -ECONNRESET};

    agent_test_answer(test, &answer);
    ck_assert_int_lt(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_text(test), "Be");
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_uint_eq(agent_test_requests(test), 1);
}
END_TEST

START_TEST(stopped_anywhere)
{
    unsigned n = 0;

    do {
        script_answer();
        agent_test_cancel_at_wait(test, ++n);
        agent_test_run(test, INPUT);
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_uint_ge(n, 6);
    ck_assert_str_eq(agent_test_text(test), "Because");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("llm");
    TCase *tests = tcase_create("runs");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, open_agent, close_agent);
    tcase_add_test(tests, answer_in_pieces);
    tcase_add_test(tests, request_of_the_protocol);
    tcase_add_test(tests, busy_model_is_asked_again);
    tcase_add_test(tests, answer_that_is_cut);
    tcase_add_test(tests, stopped_anywhere);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
