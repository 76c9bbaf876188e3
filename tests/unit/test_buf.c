#include "../case.h"
#include "base/buf.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct buf buf;

static void setup(void)
{
    buf = (struct buf){0};
}

static void teardown(void)
{
    buf_finish(&buf);
}

static void expect(const char *text)
{
    ck_assert_uint_eq(buf_length(&buf), strlen(text));
    ck_assert_mem_eq(buf_data(&buf), text, strlen(text));
}

CASES("buf", .setup = setup, .teardown = teardown);

CASE(an_empty_one_has_a_place)
{
    struct buf empty = {0};

    ck_assert_ptr_nonnull(buf_data(&empty));
    ck_assert_ptr_nonnull(buf_reserve(&empty, 0));
    ck_assert_uint_eq(buf_length(&empty), 0);
    buf_finish(&empty);
}

CASE(zeroed_is_empty)
{
    ck_assert_uint_eq(buf_length(&buf), 0);
    buf_finish(&buf);
    ck_assert_uint_eq(buf_length(&buf), 0);
}

CASE(append)
{
    buf_append(&buf, "one\0two", 7);
    buf_append(&buf, "", 0);
    buf_append(&buf, NULL, 0);
    buf_append(&buf, "3", 1);
    ck_assert_uint_eq(buf_length(&buf), 8);
    ck_assert_mem_eq(buf_data(&buf), "one\0two3", 8);
}

CASE(puts_leaves_out_the_nul)
{
    buf_puts(&buf, "ab");
    buf_puts(&buf, "");
    buf_puts(&buf, "c");
    expect("abc");
}

CASE(numbers_are_decimal)
{
    buf_number(&buf, 0);
    buf_puts(&buf, " ");
    buf_number(&buf, 1090);
    buf_puts(&buf, " ");
    buf_number(&buf, UINT64_MAX);
    expect("0 1090 18446744073709551615");
}

/* The least and the greatest number of each length. */
CASE(numbers_of_every_length)
{
    uint64_t least = 1;
    char wanted[BUF_DIGITS_MAX + 1];

    for (unsigned digits = 1; digits < BUF_DIGITS_MAX; digits++, least *= 10) {
        snprintf(wanted, sizeof wanted, "%" PRIu64, least);
        buf_number(&buf, least);
        expect(wanted);
        buf_consume(&buf, buf_length(&buf));
        snprintf(wanted, sizeof wanted, "%" PRIu64, least * 10 - 1);
        buf_number(&buf, least * 10 - 1);
        expect(wanted);
        buf_consume(&buf, buf_length(&buf));
    }
}

CASE(printf_leaves_out_the_nul)
{
    buf_printf(&buf, "%s-%d", "x", 42);
    buf_printf(&buf, "%s", "");
    buf_printf(&buf, "%c", '.');
    expect("x-42.");
}

CASE(printf_of_any_length)
{
    char text[3000];

    for (size_t length = 0; length < sizeof text; length += 97) {
        memset(text, 'a', length);
        text[length] = '\0';
        buf_finish(&buf);
        buf_printf(&buf, "%s|", text);
        ck_assert_uint_eq(buf_length(&buf), length + 1);
        ck_assert_mem_eq(buf_data(&buf), text, length);
        ck_assert_int_eq(buf_data(&buf)[length], '|');
    }
}

CASE(reserve_and_commit)
{
    char *room = buf_reserve(&buf, 1000);

    memset(room, 'r', 1000);
    ck_assert_uint_eq(buf_length(&buf), 0);
    buf_commit(&buf, 3);
    expect("rrr");
    ck_assert_ptr_eq(buf_reserve(&buf, 5), buf_data(&buf) + 3);
}

CASE(consume)
{
    buf_puts(&buf, "abcdef");
    buf_consume(&buf, 0);
    expect("abcdef");
    buf_consume(&buf, 2);
    expect("cdef");
    buf_consume(&buf, 4);
    expect("");
    buf_puts(&buf, "again");
    expect("again");
}

CASE(consumed_space_is_used_again)
{
    char chunk[200] = {0};

    for (int i = 0; i < 10000; i++) {
        buf_append(&buf, chunk, sizeof chunk);
        if (i > 0)
            buf_consume(&buf, sizeof chunk); /* never empty */
    }
    ck_assert_uint_eq(buf_length(&buf), sizeof chunk);
    ck_assert_uint_le(buf.capacity, 4096);
}

CASE(emptied_small_buffer_keeps_its_memory)
{
    buf_puts(&buf, "some");
    buf_consume(&buf, 4);
    ck_assert_ptr_nonnull(buf.base);
}

CASE(emptied_large_buffer_gives_its_memory_back)
{
    buf_commit(&buf, (buf_reserve(&buf, 1024 * 1024), 1024 * 1024));
    memset(buf.base, 0, 1024 * 1024);
    buf_consume(&buf, 1024 * 1024 - 1);
    ck_assert_ptr_nonnull(buf.base);
    buf_consume(&buf, 1);
    ck_assert_ptr_null(buf.base);
    ck_assert_uint_eq(buf.capacity, 0);
    buf_puts(&buf, "usable");
    expect("usable");
}

CASE(swap)
{
    struct buf other = {0};

    buf_puts(&buf, "left");
    buf_puts(&other, "right");
    buf_swap(&buf, &other);
    expect("right");
    ck_assert_uint_eq(buf_length(&other), 4);
    ck_assert_mem_eq(buf_data(&other), "left", 4);
    buf_finish(&other);
}

CASE(steal)
{
    char *text;

    buf_puts(&buf, "xxtext");
    buf_consume(&buf, 2);
    text = buf_steal(&buf);
    ck_assert_str_eq(text, "text");
    ck_assert_uint_eq(buf_length(&buf), 0);
    ck_assert_ptr_null(buf.base);
    free(text);
}

CASE(steal_of_an_empty_one)
{
    char *text = buf_steal(&buf);

    ck_assert_str_eq(text, "");
    free(text);
}

/* Bytes come out in the order in which they went in, for random calls. */
CASE(random_use_is_a_queue)
{
    uint64_t in = 0, out = 0;

    srand(1);
    for (int round = 0; round < 20000; round++) {
        size_t length = (size_t)rand() % 300;
        if (rand() % 2) {
            char *room = buf_reserve(&buf, length);
            for (size_t i = 0; i < length; i++)
                room[i] = (char)(in++ * 31 % 251);
            buf_commit(&buf, length);
            continue;
        }
        if (length > buf_length(&buf) || round % 100 == 0)
            length = buf_length(&buf);
        for (size_t i = 0; i < length; i++) {
            if (buf_data(&buf)[i] != (char)(out++ * 31 % 251))
                ck_abort_msg("another byte at %llu", (unsigned long long)out - 1);
        }
        buf_consume(&buf, length);
        ck_assert_uint_eq(buf_length(&buf), in - out);
    }
}
