/* The agent fetch, which uses agent_http.h, without a network. */
#include "../case.h"

#include <sluice/agent_test.h>

#include <stdlib.h>
#include <string.h>

#define INPUT "{\"url\":\"http://pages.test/one\"}"

static struct agent_test *test;

static void open_fetch(void)
{
    test = agent_test_open(agent_plugin_entry, NULL);
}

static void close_fetch(void)
{
    agent_test_close(test);
}

static void script_pieces(uint32_t delay_ms)
{
    struct agent_test_response answer = {.url = "/one",
                                         .headers = AGENT_TEST_LIST("Content-Type: text/plain"),
                                         .body = AGENT_TEST_LIST("first ", "second ", "third"),
                                         .delay_ms = delay_ms};

    agent_test_answer(test, &answer);
}

static void script_status(int status)
{
    agent_test_answer(test, &(struct agent_test_response){.status = status});
}

CASES("runs", .setup = open_fetch, .teardown = close_fetch);

CASE(pieces_as_they_come)
{
    script_pieces(100);
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_str_eq(agent_test_transcript(test), "piece {\"data\":\"first \"}\n"
                                                  "piece {\"data\":\"second \"}\n"
                                                  "piece {\"data\":\"third\"}\n"
                                                  "done {\"status\":\"finished\"}\n");
    ck_assert_uint_eq(agent_test_event(test, 0)->at_ms, 200);
    ck_assert_uint_eq(agent_test_event(test, 2)->at_ms, 400);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 400);
}

CASE(request_is_recorded)
{
    const struct agent_test_requested *request;

    script_pieces(0);
    agent_test_run(test, "{\"url\":\"http://pages.test/one\",\"body\":\"q=1\"}");
    ck_assert_uint_eq(agent_test_requests(test), 1);
    request = agent_test_request(test, 0);
    ck_assert_str_eq(request->method, "POST");
    ck_assert_str_eq(request->url, "http://pages.test/one");
    ck_assert_str_eq(request->headers, "Accept: text/plain\n");
    ck_assert_str_eq(request->body, "q=1");
    ck_assert_uint_eq(request->body_length, 3);
    ck_assert_str_eq(agent_test_request(test, 1)->url, "");
}

CASE(not_found)
{
    script_status(404);
    ck_assert_int_eq(agent_test_run(test, INPUT), -EIO);
    ck_assert_str_eq(agent_test_code(test), "refused");
    ck_assert_str_eq(agent_test_message(test), "the server says 404");
}

CASE(busy_is_tried_again)
{
    script_status(503);
    script_pieces(0);
    ck_assert_int_eq(agent_test_run(test, INPUT), 0);
    ck_assert_uint_eq(agent_test_requests(test), 2);
    ck_assert_uint_eq(agent_test_events(test), 3);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 1000);
}

CASE(no_connection)
{
    agent_test_answer(test, &(struct agent_test_response){.error = -EHOSTUNREACH});
    ck_assert_int_eq(agent_test_run(test, INPUT), -EHOSTUNREACH);
    ck_assert_str_eq(agent_test_code(test), "unreachable");
    ck_assert_str_eq(agent_test_message(test), "No route to host");
}

CASE(connection_lost_in_the_middle)
{
    struct agent_test_response answer = {
        .status = 200, .body = AGENT_TEST_LIST("first "), .error = -ECONNRESET};

    agent_test_answer(test, &answer);
    ck_assert_int_eq(agent_test_run(test, INPUT), -ECONNRESET);
    ck_assert_uint_eq(agent_test_events(test), 1);
    ck_assert_str_eq(agent_test_code(test), "unreachable");
}

CASE(silence_is_a_timeout)
{
    script_pieces(40000);
    ck_assert_int_eq(agent_test_run(test, INPUT), -ETIMEDOUT);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 30000);
}

CASE(cancelled_in_the_middle)
{
    script_pieces(100);
    agent_test_cancel_at_wait(test, 3); /* the status, the first piece, the second */
    ck_assert_int_eq(agent_test_run(test, INPUT), -ECANCELED);
    ck_assert_str_eq(agent_test_transcript(test),
                     "piece {\"data\":\"first \"}\n"
                     "done {\"status\":\"cancelled\",\"reason\":\"client\"}\n");
}

CASE(deadline_in_the_middle)
{
    script_pieces(100);
    agent_test_cancel_at(test, 250);
    ck_assert_int_eq(agent_test_run(test, INPUT), -ECANCELED);
    ck_assert_uint_eq(agent_test_events(test), 1);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 250);
}

CASE(nothing_scripted)
{
    ck_assert_int_eq(agent_test_run(test, INPUT), -ECONNREFUSED);
    ck_assert_str_eq(agent_test_message(test),
                     "the test has no answer for GET http://pages.test/one");
    script_pieces(0);
    ck_assert_int_eq(agent_test_run(test, "{\"url\":\"http://pages.test/two\"}"), -ECONNREFUSED);
    ck_assert_int_eq(agent_test_run(test, INPUT), -ECONNREFUSED); /* the script served one run */
}

CASE(not_a_url)
{
    ck_assert_int_eq(agent_test_run(test, "{\"url\":\"ftp://pages.test/\"}"), -EINVAL);
    ck_assert_uint_eq(agent_test_requests(test), 0);
}
