#include "front/ring.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* As eventlog.c has them. */
#define CAPACITY_MIN  512
#define CAPACITY_KEEP 16384

static struct ring eventlog;

static void setup(void)
{
    eventlog = (struct ring){0};
}

static void teardown(void)
{
    ring_finish(&eventlog);
}

/* What byte stands at an offset: all tests append so, in any pieces. */
static char byte_at(uint64_t offset)
{
    return (char)(offset * 7 % 253);
}

static char *model_bytes(uint64_t from, size_t length)
{
    char *bytes = malloc(length + 1);

    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(from + i);
    return bytes;
}

/* Appends so many bytes as three pieces of which the middle one is of this length. */
static void append_pieces(size_t length, size_t middle)
{
    char *bytes = model_bytes(eventlog.end, length);
    size_t first = (length - middle) / 2;
    struct iovec pieces[3] = {
        {.iov_base = bytes, .iov_len = first},
        {.iov_base = bytes + first, .iov_len = middle},
        {.iov_base = bytes + first + middle, .iov_len = length - first - middle}};

    ring_append(&eventlog, pieces, 3);
    free(bytes);
}

static void append(size_t length)
{
    append_pieces(length, length / 3);
}

/* The view from an offset is what was appended from there to the end. */
static void expect_view(uint64_t from)
{
    struct iovec pieces[2];
    int count = ring_view(&eventlog, from, pieces);
    char *bytes = model_bytes(from, (size_t)(eventlog.end - from));
    size_t at = 0;

    ck_assert_int_ge(count, 0);
    ck_assert_int_le(count, 2);
    for (int i = 0; i < count; i++) {
        ck_assert_uint_gt(pieces[i].iov_len, 0);
        ck_assert_uint_le(at + pieces[i].iov_len, eventlog.end - from);
        ck_assert_mem_eq(pieces[i].iov_base, bytes + at, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    ck_assert_uint_eq(at, eventlog.end - from);
    free(bytes);
}

static void expect_all_views(void)
{
    for (uint64_t from = eventlog.start; from <= eventlog.end; from++)
        expect_view(from);
}

/* Fills the smallest ring so that its content goes round the end. */
static void wrap(void)
{
    append(CAPACITY_MIN - 100);
    ring_trim(&eventlog, CAPACITY_MIN - 200);
    append(CAPACITY_MIN - 100);
    ck_assert_uint_eq(eventlog.capacity, CAPACITY_MIN);
}

START_TEST(zeroed_is_empty)
{
    struct iovec pieces[2];

    ck_assert_int_eq(ring_view(&eventlog, 0, pieces), 0);
    ring_trim(&eventlog, 0);
    ring_finish(&eventlog);
}
END_TEST

START_TEST(append_and_view)
{
    append(100);
    ck_assert_uint_eq(eventlog.start, 0);
    ck_assert_uint_eq(eventlog.end, 100);
    expect_all_views();
}
END_TEST

START_TEST(empty_pieces)
{
    append_pieces(1, 1);
    append_pieces(20, 0);
    append_pieces(20, 20);
    ck_assert_uint_eq(eventlog.end, 41);
    expect_all_views();
}
END_TEST

START_TEST(trim_forgets_what_is_before)
{
    append(100);
    ring_trim(&eventlog, 30);
    ck_assert_uint_eq(eventlog.start, 30);
    ck_assert_uint_eq(eventlog.end, 100);
    expect_all_views();
}
END_TEST

START_TEST(offsets_go_on_after_all_is_trimmed)
{
    append(100);
    ring_trim(&eventlog, 100);
    append(50);
    ck_assert_uint_eq(eventlog.start, 100);
    ck_assert_uint_eq(eventlog.end, 150);
    expect_all_views();
}
END_TEST

START_TEST(exactly_full)
{
    struct iovec pieces[2];

    append(CAPACITY_MIN);
    ck_assert_uint_eq(eventlog.capacity, CAPACITY_MIN);
    ck_assert_int_eq(ring_view(&eventlog, 0, pieces), 1);
    expect_all_views();
}
END_TEST

START_TEST(wraps_around)
{
    struct iovec pieces[2];

    wrap();
    ck_assert_int_eq(ring_view(&eventlog, eventlog.start, pieces), 2);
    expect_all_views();
}
END_TEST

START_TEST(a_piece_that_ends_at_the_rings_end)
{
    append(CAPACITY_MIN - 60);
    ring_trim(&eventlog, CAPACITY_MIN - 60);
    append_pieces(60, 60);
    expect_all_views();
    append(300);
    expect_all_views();
}
END_TEST

START_TEST(grows)
{
    append(CAPACITY_MIN);
    append(1);
    ck_assert_uint_eq(eventlog.capacity, 2 * CAPACITY_MIN);
    expect_all_views();
}
END_TEST

START_TEST(grows_many_times_at_once)
{
    append(10);
    append(5000);
    ck_assert_uint_eq(eventlog.capacity, 8192);
    expect_view(0);
    expect_view(10);
    expect_view(5009);
}
END_TEST

START_TEST(grows_with_wrapped_content)
{
    wrap();
    append(CAPACITY_MIN);
    ck_assert_uint_gt(eventlog.capacity, CAPACITY_MIN);
    expect_all_views();
}
END_TEST

START_TEST(emptied_large_ring_gives_its_memory_back)
{
    append(CAPACITY_KEEP + 1);
    ring_trim(&eventlog, CAPACITY_KEEP);
    ck_assert_ptr_nonnull(eventlog.ring);
    expect_all_views();
    ring_trim(&eventlog, CAPACITY_KEEP + 1);
    ck_assert_ptr_null(eventlog.ring);
    ck_assert_uint_eq(eventlog.capacity, 0);
    append(77);
    ck_assert_uint_eq(eventlog.start, CAPACITY_KEEP + 1);
    expect_all_views();
}
END_TEST

START_TEST(emptied_small_ring_keeps_its_memory)
{
    append(CAPACITY_KEEP);
    ring_trim(&eventlog, CAPACITY_KEEP);
    ck_assert_ptr_nonnull(eventlog.ring);
}
END_TEST

START_TEST(release)
{
    append(100);
    ring_trim(&eventlog, 60);
    ring_release(&eventlog); /* not yet empty: nothing happens */
    expect_all_views();
    ring_trim(&eventlog, 100);
    ck_assert_ptr_nonnull(eventlog.ring);
    ring_release(&eventlog);
    ck_assert_ptr_null(eventlog.ring);
    ring_release(&eventlog);
    append(50);
    ck_assert_uint_eq(eventlog.start, 100);
    expect_all_views();
}
END_TEST

START_TEST(offsets_beyond_32_bits)
{
    eventlog.start = eventlog.end = UINT64_C(0xffffff00);
    append(400);
    ck_assert_uint_eq(eventlog.end, UINT64_C(0x100000090));
    ring_trim(&eventlog, UINT64_C(0xfffffff0));
    append(300);
    expect_all_views();
}
END_TEST

/* Against a plain model: any appends and trims, a view from any offset. */
START_TEST(random_use)
{
    srand((unsigned)_i);
    for (int round = 0; round < 2000; round++) {
        size_t kept = (size_t)(eventlog.end - eventlog.start);
        size_t length = 1 + (size_t)rand() % (rand() % 50 ? 400 : 40000);
        if (kept < 100000 && rand() % 2)
            append_pieces(length, (size_t)rand() % (length + 1));
        else if (rand() % 8 == 0)
            ring_trim(&eventlog, eventlog.end);
        else
            ring_trim(&eventlog, eventlog.start + (size_t)rand() % (kept + 1));
        ck_assert_uint_eq(eventlog.capacity & (eventlog.capacity - 1), 0);
        kept = (size_t)(eventlog.end - eventlog.start);
        ck_assert_uint_le(kept, eventlog.capacity);
        expect_view(eventlog.start + (size_t)rand() % (kept + 1));
        if (round % 16 == 0)
            expect_view(eventlog.start);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("eventlog");
    TCase *tcase = tcase_create("eventlog");
    SRunner *runner = srunner_create(suite);
    int failures;

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, zeroed_is_empty);
    tcase_add_test(tcase, append_and_view);
    tcase_add_test(tcase, empty_pieces);
    tcase_add_test(tcase, trim_forgets_what_is_before);
    tcase_add_test(tcase, offsets_go_on_after_all_is_trimmed);
    tcase_add_test(tcase, exactly_full);
    tcase_add_test(tcase, wraps_around);
    tcase_add_test(tcase, a_piece_that_ends_at_the_rings_end);
    tcase_add_test(tcase, grows);
    tcase_add_test(tcase, grows_many_times_at_once);
    tcase_add_test(tcase, grows_with_wrapped_content);
    tcase_add_test(tcase, emptied_large_ring_gives_its_memory_back);
    tcase_add_test(tcase, emptied_small_ring_keeps_its_memory);
    tcase_add_test(tcase, release);
    tcase_add_test(tcase, offsets_beyond_32_bits);
    tcase_add_loop_test(tcase, random_use, 0, 4);
    srunner_run_all(runner, CK_ENV);
    failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
