/* The agent echo, tested as its author would: with installed headers and Check. */
#include "../case.h"

#include <sluice/agent_test.h>

#include <stdlib.h>
#include <string.h>

static struct agent_test *test;

static void open_echo(void)
{
    test = agent_test_open(agent_plugin_entry, NULL);
}

static void close_echo(void)
{
    agent_test_close(test);
}

CASES("runs", .setup = open_echo, .teardown = close_echo);

CASE(says_it_back)
{
    ck_assert_int_eq(agent_test_run(test, "{\"text\":\"to be or not\"}"), 0);
    ck_assert_str_eq(agent_test_text(test), "to be or not");
    ck_assert_str_eq(agent_test_status(test), "finished");
}

CASE(streams_word_by_word)
{
    agent_test_run(test, "{\"text\":\"to be\"}");
    ck_assert_str_eq(agent_test_transcript(test), "step {\"name\":\"say\"}\n"
                                                  "text {\"delta\":\"to\"}\n"
                                                  "text {\"delta\":\" \"}\n"
                                                  "text {\"delta\":\"be\"}\n"
                                                  "done {\"status\":\"finished\"}\n");
}

CASE(separator_is_configured)
{
    close_echo();
    test = agent_test_open(agent_plugin_entry, "{\"separator\":\"-\"}");
    agent_test_run(test, "{\"text\":\"to be\"}");
    ck_assert_str_eq(agent_test_text(test), "to-be");
}

CASE(input_without_text_fails)
{
    ck_assert_int_lt(agent_test_run(test, "{\"txt\":\"to be\"}"), 0);
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_str_eq(agent_test_code(test), "bad_input");
    ck_assert_str_eq(agent_test_text(test), "");
}

/* The agent stops at once wherever the client leaves; leak checkers see what it forgets to free. */
CASE(stops_anywhere)
{
    unsigned n = 0;

    do {
        agent_test_cancel_at_emit(test, ++n);
        agent_test_run(test, "{\"text\":\"to be or not\"}");
        ck_assert_uint_lt(agent_test_events(test), n + (n == 9));
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_uint_eq(n, 9); /* of eight events */
}
