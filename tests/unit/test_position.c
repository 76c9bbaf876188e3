#include "../case.h"
#include "api/position.h"

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

CASE(ids_of_events)
{
    expect_position(RUN ".1", 1);
    expect_position(RUN ".0", 0);
    expect_position(RUN ".1234567", 1234567);
    expect_position(RUN ".007", 7);
}

CASE(largest_number)
{
    expect_position(RUN ".999999999999999999", UINT64_C(999999999999999999));
}

CASE(numbers_that_overflow)
{
    expect_none(RUN ".1000000000000000000");
    expect_none(RUN ".18446744073709551615");
    expect_none(RUN ".18446744073709551616");
    expect_none(RUN ".99999999999999999999999999999999999999999999");
}

CASE(numbers_that_are_none)
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

CASE(run_of_another_length)
{
    expect_none("7q3vj5k8m2n4p6r9s1t0w2xyz.1");
    expect_none(RUN "0.1");
    expect_none(RUN RUN ".1");
    expect_none(".1");
    expect_none("r.1");
}

CASE(garbage)
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

/* The parser does not read past the end, which sanitizers see. */
CASE(cut_at_any_place)
{
    static const char whole[] = RUN ".12";

    for (size_t length = 0; length <= RUN_ID_LENGTH + 1; length++) {
        char *cut = strndup(whole, length);
        expect_none(cut);
        free(cut);
    }
    expect_position(whole, 12);
}
