#include "../case.h"
#include "run/ring.h"

#include <stdlib.h>
#include <string.h>

/* The same as in ring.c. */
#define CAPACITY_MIN 512

static struct ring ring;

static void setup(void)
{
    ring = (struct ring){0};
}

static void teardown(void)
{
    ring_finish(&ring);
}

/* Return the byte that every case appends at this offset. */
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

/* Append this number of bytes, in two pieces if they lie across the seam or middle is not 0. */
static void append_pieces(size_t length, size_t middle)
{
    uint64_t at = ring.end;
    char *bytes = model_bytes(at, length);
    char *to = ring_claim(&ring, length);

    ck_assert_uint_eq(ring.end, at + length);
    if (to)
        ck_assert_ptr_eq(to, ring.bytes + (at & (ring.capacity - 1)));
    else
        ck_assert_uint_gt((at & (ring.capacity - 1)) + length, ring.capacity);
    if (to && middle == 0) {
        memcpy(to, bytes, length);
    } else {
        ring_put(&ring, at, bytes, middle);
        ring_put(&ring, at + middle, bytes + middle, length - middle);
    }
    free(bytes);
}

static void append(size_t length)
{
    append_pieces(length, length % 2 ? length / 3 : 0);
}

/* Check that the view between the two offsets shows what was appended there. */
static void expect_view(uint64_t from, uint64_t to)
{
    struct iovec pieces[2];
    int count = ring_view(&ring, from, to, pieces);
    char *bytes = model_bytes(from, (size_t)(to - from));
    size_t at = 0;

    ck_assert_int_ge(count, 0);
    ck_assert_int_le(count, 2);
    for (int i = 0; i < count; i++) {
        ck_assert_uint_gt(pieces[i].iov_len, 0);
        ck_assert_uint_le(at + pieces[i].iov_len, to - from);
        ck_assert_mem_eq(pieces[i].iov_base, bytes + at, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    ck_assert_uint_eq(at, to - from);
    free(bytes);
}

static void expect_all_views(void)
{
    for (uint64_t at = ring.start; at <= ring.end; at++) {
        expect_view(at, ring.end);
        expect_view(ring.start, at);
        for (size_t length = 0; length <= 4 && at + length <= ring.end; length++) {
            char bytes[4];
            ring_copy(&ring, at, bytes, length);
            for (size_t i = 0; i < length; i++)
                ck_assert_int_eq(bytes[i], byte_at(at + i));
        }
    }
}

/* Fill the smallest ring so that its content wraps around. */
static void wrap(void)
{
    append(CAPACITY_MIN - 100);
    ring_trim(&ring, CAPACITY_MIN - 200);
    append(CAPACITY_MIN - 100);
    ck_assert_uint_eq(ring.capacity, CAPACITY_MIN);
}

CASES("ring", .setup = setup, .teardown = teardown);

CASE(zeroed_is_empty)
{
    struct iovec pieces[2];

    ck_assert_int_eq(ring_view(&ring, 0, 0, pieces), 0);
    ck_assert_uint_eq(ring_length(&ring), 0);
    ring_trim(&ring, 0);
    ring_finish(&ring);
}

CASE(append_and_view)
{
    append(100);
    ck_assert_uint_eq(ring.start, 0);
    ck_assert_uint_eq(ring.end, 100);
    ck_assert_uint_eq(ring_length(&ring), 100);
    expect_all_views();
}

CASE(view_of_a_part)
{
    struct iovec pieces[2];

    append(100);
    ck_assert_int_eq(ring_view(&ring, 40, 40, pieces), 0);
    ck_assert_int_eq(ring_view(&ring, 100, 100, pieces), 0);
    ck_assert_int_eq(ring_view(&ring, 40, 41, pieces), 1);
    ck_assert_uint_eq(pieces[0].iov_len, 1);
    for (uint64_t from = 0; from <= 100; from++) {
        for (uint64_t to = from; to <= 100; to++)
            expect_view(from, to);
    }
}

CASE(empty_pieces)
{
    append_pieces(1, 1);
    append_pieces(20, 0);
    append_pieces(20, 20);
    ck_assert_uint_eq(ring.end, 41);
    expect_all_views();
}

CASE(trim_forgets_what_is_before)
{
    append(100);
    ring_trim(&ring, 30);
    ck_assert_uint_eq(ring.start, 30);
    ck_assert_uint_eq(ring.end, 100);
    expect_all_views();
}

CASE(offsets_go_on_after_all_is_trimmed)
{
    append(100);
    ring_trim(&ring, 100);
    append(50);
    ck_assert_uint_eq(ring.start, 100);
    ck_assert_uint_eq(ring.end, 150);
    expect_all_views();
}

CASE(exactly_full)
{
    struct iovec pieces[2];

    append(CAPACITY_MIN);
    ck_assert_uint_eq(ring.capacity, CAPACITY_MIN);
    ck_assert_int_eq(ring_view(&ring, 0, ring.end, pieces), 1);
    expect_all_views();
}

CASE(wraps_around)
{
    struct iovec pieces[2];

    wrap();
    ck_assert_int_eq(ring_view(&ring, ring.start, ring.end, pieces), 2);
    expect_all_views();
}

CASE(a_piece_that_ends_at_the_rings_end)
{
    append(CAPACITY_MIN - 60);
    ring_trim(&ring, CAPACITY_MIN - 60);
    append_pieces(60, 60);
    expect_all_views();
    append(300);
    expect_all_views();
}

CASE(grows)
{
    append(CAPACITY_MIN);
    append(1);
    ck_assert_uint_eq(ring.capacity, 2 * CAPACITY_MIN);
    expect_all_views();
}

CASE(grows_many_times_at_once)
{
    append(10);
    append(5000);
    ck_assert_uint_eq(ring.capacity, 8192);
    expect_view(0, ring.end);
    expect_view(10, ring.end);
    expect_view(5009, ring.end);
}

CASE(grows_with_wrapped_content)
{
    wrap();
    append(CAPACITY_MIN);
    ck_assert_uint_gt(ring.capacity, CAPACITY_MIN);
    expect_all_views();
}

/* A view that ends or begins at the seam is one piece. */
CASE(views_at_the_seam)
{
    struct iovec pieces[2];
    uint64_t seam = CAPACITY_MIN;

    wrap();
    ck_assert_int_eq(ring_view(&ring, ring.start, seam, pieces), 1);
    ck_assert_int_eq(ring_view(&ring, seam, ring.end, pieces), 1);
    ck_assert_ptr_eq(pieces[0].iov_base, ring.bytes);
    ck_assert_int_eq(ring_view(&ring, seam - 1, seam + 1, pieces), 2);
    expect_view(seam - 1, seam + 1);
}

CASE(shrinks_at_a_quarter)
{
    append(16 * CAPACITY_MIN);
    ring_trim(&ring, 12 * CAPACITY_MIN - 1);
    ck_assert_uint_eq(ring.capacity, 16 * CAPACITY_MIN);
    ring_trim(&ring, 12 * CAPACITY_MIN);
    ck_assert_uint_eq(ring.capacity, 8 * CAPACITY_MIN);
    expect_all_views();
}

/* The ring takes as much again at once. */
CASE(shrunk_ring_is_half_full)
{
    append(4 * CAPACITY_MIN);
    ring_trim(&ring, 3 * CAPACITY_MIN);
    ck_assert_uint_eq(ring.capacity, 2 * CAPACITY_MIN);
    append(CAPACITY_MIN);
    ck_assert_uint_eq(ring.capacity, 2 * CAPACITY_MIN);
    expect_all_views();
}

CASE(shrinks_many_times_at_once)
{
    append(64 * CAPACITY_MIN);
    ring_trim(&ring, 64 * CAPACITY_MIN - 3);
    ck_assert_uint_eq(ring.capacity, CAPACITY_MIN);
    expect_all_views();
}

CASE(shrinks_with_wrapped_content)
{
    append(16 * CAPACITY_MIN);
    ring_trim(&ring, 16 * CAPACITY_MIN - 100);
    append(8 * CAPACITY_MIN);
    ring_trim(&ring, ring.end - 5 * CAPACITY_MIN);
    append(4 * CAPACITY_MIN);
    ring_trim(&ring, ring.end - CAPACITY_MIN - 7);
    expect_all_views();
    ring_trim(&ring, ring.end - 200);
    ck_assert_uint_eq(ring.capacity, CAPACITY_MIN);
    expect_all_views();
}

CASE(emptied_ring_keeps_the_least)
{
    append(5000);
    ring_trim(&ring, 5000);
    ck_assert_uint_eq(ring.capacity, CAPACITY_MIN);
    append(77);
    ck_assert_uint_eq(ring.start, 5000);
    expect_all_views();
}

CASE(finished_is_empty)
{
    append(100);
    ring_finish(&ring);
    ck_assert_ptr_null(ring.bytes);
    ck_assert_uint_eq(ring.capacity, 0);
    append(50);
    ck_assert_uint_eq(ring.end, 50);
    expect_all_views();
}

CASE(offsets_beyond_32_bits)
{
    ring.start = ring.end = UINT64_C(0xffffff00);
    append(400);
    ck_assert_uint_eq(ring.end, UINT64_C(0x100000090));
    ring_trim(&ring, UINT64_C(0xfffffff0));
    append(300);
    expect_all_views();
}

/* Compare random appends, trims and views with a plain model. */
CASE_LOOP(random_use, 0, 4)
{
    srand((unsigned)_i);
    for (int round = 0; round < 2000; round++) {
        size_t kept = ring_length(&ring);
        size_t length = 1 + (size_t)rand() % (rand() % 50 ? 400 : 40000);
        uint64_t from;
        if (kept < 100000 && rand() % 2)
            append_pieces(length, (size_t)rand() % (length + 1));
        else if (rand() % 8 == 0)
            ring_trim(&ring, ring.end);
        else
            ring_trim(&ring, ring.start + (size_t)rand() % (kept + 1));
        ck_assert_uint_eq(ring.capacity & (ring.capacity - 1), 0);
        kept = ring_length(&ring);
        ck_assert_uint_le(kept, ring.capacity);
        from = ring.start + (size_t)rand() % (kept + 1);
        expect_view(from, from + (size_t)rand() % (ring.end - from + 1));
        if (round % 16 == 0)
            expect_view(ring.start, ring.end);
    }
}
