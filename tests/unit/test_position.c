#include "api/position.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static void expect_position(const char *id, uint64_t after)
{
    struct position position;

    memset(&position, '#', sizeof position);
    ck_assert_int_eq(position_read(id, &position), 0);
    ck_assert_str_eq(position.run, RUN);
    ck_assert_uint_eq(position.after, after);
}

static void expect_none(const char *id)
{
    struct position position;

    ck_assert_msg(position_read(id, &position) == -EINVAL, "%s", id);
}

START_TEST(ids_of_events)
{
    expect_position(RUN ".1", 1);
    expect_position(RUN ".0", 0);
    expect_position(RUN ".1234567", 1234567);
    expect_position(RUN ".007", 7);
}
END_TEST

START_TEST(largest_number)
{
    expect_position(RUN ".999999999999999999", UINT64_C(999999999999999999));
}
END_TEST

START_TEST(numbers_that_overflow)
{
    expect_none(RUN ".1000000000000000000");
    expect_none(RUN ".18446744073709551615");
    expect_none(RUN ".18446744073709551616");
    expect_none(RUN ".99999999999999999999999999999999999999999999");
}
END_TEST

START_TEST(numbers_that_are_none)
{
    static const char *const numbers[] = {"",    " 1",  "1 ",  "+1",  "-1",  "0x1",
                                          "1.",  ".1",  "1.5", "1e3", "abc", "1a",
                                          "1\n", "\t1", "1,2", "--1", "١",   "1\r\n"};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char id[64] = RUN ".";
        strcat(id, numbers[i]);
        expect_none(id);
    }
}
END_TEST

START_TEST(run_of_another_length)
{
    expect_none("7q3vj5k8m2n4p6r9s1t0w2xyz.1");
    expect_none(RUN "0.1");
    expect_none(RUN RUN ".1");
    expect_none(".1");
    expect_none("r.1");
}
END_TEST

START_TEST(garbage)
{
    expect_none("");
    expect_none(".");
    expect_none("..");
    expect_none("1");
    expect_none(RUN);
    expect_none(RUN "1");
    expect_none(RUN "/1");
    expect_none("7q3vj5k8m2n4p6r9s1t0w2xy.h.1");
    expect_none("..........................."
                "1");
}
END_TEST

/* It is not read beyond its end; sanitizers look on. */
START_TEST(cut_at_any_place)
{
    static const char whole[] = RUN ".12";

    for (size_t length = 0; length <= RUN_ID_LENGTH + 1; length++) {
        char *cut = strndup(whole, length);
        expect_none(cut);
        free(cut);
    }
    expect_position(whole, 12);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("position");
    TCase *tcase = tcase_create("position");
    SRunner *runner = srunner_create(suite);
    int failures;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, ids_of_events);
    tcase_add_test(tcase, largest_number);
    tcase_add_test(tcase, numbers_that_overflow);
    tcase_add_test(tcase, numbers_that_are_none);
    tcase_add_test(tcase, run_of_another_length);
    tcase_add_test(tcase, garbage);
    tcase_add_test(tcase, cut_at_any_place);
    srunner_run_all(runner, CK_ENV);
    failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
