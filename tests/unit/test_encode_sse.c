#include "front/encode_sse.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ids of runs have this length. */
#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static void expect_head(const char *run, uint64_t sequence, const char *type, const char *wanted)
{
    char head[ENCODE_SSE_HEAD_MAX];
    size_t length;

    memset(head, '#', sizeof head);
    length = encode_sse_head(head, run, sequence, type, strlen(type));
    ck_assert_uint_eq(length, strlen(wanted));
    ck_assert_mem_eq(head, wanted, length);
    for (size_t i = length; i < sizeof head; i++)
        ck_assert_int_eq(head[i], '#');
}

START_TEST(first_event)
{
    expect_head(RUN, 1, "run", "id: " RUN ".1\nevent: run\ndata: ");
}
END_TEST

START_TEST(sequence_numbers)
{
    static const uint64_t numbers[] = {
        1, 9, 10, 11, 99, 100, 12345, UINT32_MAX, UINT64_C(10000000000000000000), UINT64_MAX};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char wanted[128];
        snprintf(wanted, sizeof wanted, "id: r.%" PRIu64 "\nevent: text\ndata: ", numbers[i]);
        expect_head("r", numbers[i], "text", wanted);
    }
}
END_TEST

START_TEST(largest_number)
{
    expect_head("r", UINT64_MAX, "x", "id: r.18446744073709551615\nevent: x\ndata: ");
}
END_TEST

START_TEST(type_need_not_be_terminated)
{
    char head[ENCODE_SSE_HEAD_MAX];
    static const char wanted[] = "id: r.2\nevent: text\ndata: ";
    size_t length = encode_sse_head(head, "r", 2, "text{\"delta\":1}", 4);

    ck_assert_uint_eq(length, strlen(wanted));
    ck_assert_mem_eq(head, wanted, length);
}
END_TEST

START_TEST(longest_head)
{
    char type[65], wanted[256];

    memset(type, 't', 64);
    type[64] = '\0';
    snprintf(wanted, sizeof wanted, "id: %s.18446744073709551615\nevent: %s\ndata: ", RUN, type);
    expect_head(RUN, UINT64_MAX, type, wanted);
}
END_TEST

START_TEST(fixed_parts)
{
    ck_assert_str_eq(ENCODE_SSE_CONTENT_TYPE, "text/event-stream");
    ck_assert_str_eq(ENCODE_SSE_BEGIN, "retry: 1000\n\n");
    ck_assert_str_eq(ENCODE_SSE_HEARTBEAT, ":\n\n");
    ck_assert_str_eq(ENCODE_SSE_TAIL, "\n\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("encode_sse");
    TCase *tcase = tcase_create("encode_sse");
    SRunner *runner = srunner_create(suite);
    int failures;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, first_event);
    tcase_add_test(tcase, sequence_numbers);
    tcase_add_test(tcase, largest_number);
    tcase_add_test(tcase, type_need_not_be_terminated);
    tcase_add_test(tcase, longest_head);
    tcase_add_test(tcase, fixed_parts);
    srunner_run_all(runner, CK_ENV);
    failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
