/* The agent echo, tested as its author would: with what is installed, and Check. */
#include <sluice/agent_test.h>

#include <check.h>
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

START_TEST(says_it_back)
{
    ck_assert_int_eq(agent_test_run(test, "{\"text\":\"to be or not\"}"), 0);
    ck_assert_str_eq(agent_test_text(test), "to be or not");
    ck_assert_str_eq(agent_test_status(test), "finished");
}
END_TEST

START_TEST(streams_word_by_word)
{
    agent_test_run(test, "{\"text\":\"to be\"}");
    ck_assert_str_eq(agent_test_transcript(test), "step {\"name\":\"say\"}\n"
                                                  "text {\"delta\":\"to\"}\n"
                                                  "text {\"delta\":\" \"}\n"
                                                  "text {\"delta\":\"be\"}\n"
                                                  "done {\"status\":\"finished\"}\n");
}
END_TEST

START_TEST(separator_is_configured)
{
    close_echo();
    test = agent_test_open(agent_plugin_entry, "{\"separator\":\"-\"}");
    agent_test_run(test, "{\"text\":\"to be\"}");
    ck_assert_str_eq(agent_test_text(test), "to-be");
}
END_TEST

START_TEST(input_without_text_fails)
{
    ck_assert_int_lt(agent_test_run(test, "{\"txt\":\"to be\"}"), 0);
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_str_eq(agent_test_code(test), "bad_input");
    ck_assert_str_eq(agent_test_text(test), "");
}
END_TEST

/* Wherever the client leaves, it stops at once; a memory checker finds what it leaves behind. */
START_TEST(stops_anywhere)
{
    unsigned n = 0;

    do {
        agent_test_cancel_at_emit(test, ++n);
        agent_test_run(test, "{\"text\":\"to be or not\"}");
        ck_assert_uint_lt(agent_test_events(test), n + (n == 9));
    } while (strcmp(agent_test_status(test), "cancelled") == 0);
    ck_assert_uint_eq(n, 9); /* of eight events */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("echo");
    TCase *tests = tcase_create("runs");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, open_echo, close_echo);
    tcase_add_test(tests, says_it_back);
    tcase_add_test(tests, streams_word_by_word);
    tcase_add_test(tests, separator_is_configured);
    tcase_add_test(tests, input_without_text_fails);
    tcase_add_test(tests, stops_anywhere);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
