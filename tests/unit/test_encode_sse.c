#include "../case.h"
#include "protocol/native.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An id as long as those of runs. */
#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static struct event event_of(uint64_t sequence, const char *type, const char *json)
{
    return (struct event){.sequence = sequence,
                          .type = type,
                          .type_length = strlen(type),
                          .json = json,
                          .json_length = strlen(json)};
}

/* Check that the encoder wrote exactly the wanted bytes, and nothing after them. */
static void expect_piece(const char *piece, size_t size, size_t length, const char *wanted)
{
    ck_assert_uint_eq(length, strlen(wanted));
    ck_assert_mem_eq(piece, wanted, length);
    for (size_t i = length; i < size; i++)
        ck_assert_int_eq(piece[i], '#');
}

static void expect_head(const char *type, const char *wanted)
{
    struct event event = event_of(1, type, "{}");
    char head[ENCODE_SSE_HEAD_MAX];

    memset(head, '#', sizeof head);
    expect_piece(head, sizeof head, encode_sse_head(head, &event), wanted);
}

static void expect_tail(const char *run, uint64_t sequence, const char *wanted)
{
    struct event event = event_of(sequence, "text", "{}");
    char tail[ENCODE_SSE_TAIL_MAX];

    memset(tail, '#', sizeof tail);
    expect_piece(tail, sizeof tail, encode_sse_tail(tail, run, &event), wanted);
}

static void expect_text(struct buf *text, const char *wanted)
{
    ck_assert_uint_eq(buf_length(text), strlen(wanted));
    ck_assert_mem_eq(buf_data(text), wanted, strlen(wanted));
    buf_finish(text);
}

CASE(first_event)
{
    expect_head("run", "event: run\ndata: ");
    expect_tail(RUN, 1, "\nid: " RUN ".1\n\n");
}

CASE(sequence_numbers)
{
    static const uint64_t numbers[] = {
        1, 9, 10, 11, 99, 100, 12345, UINT32_MAX, UINT64_C(10000000000000000000), UINT64_MAX};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char wanted[128];
        snprintf(wanted, sizeof wanted, "\nid: r.%" PRIu64 "\n\n", numbers[i]);
        expect_tail("r", numbers[i], wanted);
    }
}

CASE(largest_number)
{
    expect_tail(RUN, UINT64_MAX, "\nid: " RUN ".18446744073709551615\n\n");
}

CASE(type_need_not_be_terminated)
{
    static const char text[] = "text{\"delta\":1}";
    struct event event = {.sequence = 2, .type = text, .type_length = 4, .json = text + 4};
    static const char wanted[] = "event: text\ndata: ";
    char head[ENCODE_SSE_HEAD_MAX];
    size_t length = encode_sse_head(head, &event);

    ck_assert_uint_eq(length, strlen(wanted));
    ck_assert_mem_eq(head, wanted, length);
}

CASE(longest_head)
{
    char type[65], wanted[256];

    memset(type, 't', 64);
    type[64] = '\0';
    snprintf(wanted, sizeof wanted, "event: %s\ndata: ", type);
    expect_head(type, wanted);
}

CASE(fixed_parts)
{
    ck_assert_str_eq(ENCODE_SSE_CONTENT_TYPE, "text/event-stream");
    ck_assert_str_eq(ENCODE_SSE_HEARTBEAT, ":\n\n");
}

CASE(beginning)
{
    struct buf text = {0};

    encode_sse_begin(&text, RUN, 0);
    expect_text(&text, "retry: 1000\nid: " RUN ".0\n\n");
    encode_sse_begin(&text, RUN, UINT64_MAX);
    expect_text(&text, "retry: 1000\nid: " RUN ".18446744073709551615\n\n");
}

CASE(whole_events)
{
    struct event first = event_of(7, "text", "{\"delta\":\"a\"}"), second = event_of(8, "n", "1");
    struct buf text = {0};

    encode_sse_event(&text, "r", &first);
    encode_sse_event(&text, "r", &second);
    expect_text(&text, "event: text\ndata: {\"delta\":\"a\"}\nid: r.7\n\n"
                       "event: n\ndata: 1\nid: r.8\n\n");
}

/* ---- reading ---- */

static void expect_round_trip(uint64_t sequence, const char *type, const char *json)
{
    struct event event = event_of(sequence, type, json), got;
    struct buf text = {0};

    encode_sse_event(&text, RUN, &event);
    ck_assert_int_eq(encode_sse_read(buf_data(&text), buf_length(&text), &got), 0);
    ck_assert_uint_eq(got.sequence, sequence);
    ck_assert_uint_eq(got.type_length, strlen(type));
    ck_assert_mem_eq(got.type, type, got.type_length);
    ck_assert_uint_eq(got.json_length, strlen(json));
    ck_assert_mem_eq(got.json, json, got.json_length);
    buf_finish(&text);
}

CASE(what_is_read_is_what_was_written)
{
    expect_round_trip(1, "text", "{\"delta\":\"Hello\"}");
    expect_round_trip(10, "t", "1");
    expect_round_trip(UINT64_MAX, "a.b:c", "[\"id: x.1\",\"event: \",\"data: \\n\\n\"]");
    expect_round_trip(99, "u", "\"\xc3\xa4\xf0\x9f\x98\x80\"");
}

/* A prefix of an event is no event; the reader does not read past its end, which sanitizers see. */
CASE(cut_events_are_none)
{
    static const char whole[] = "event: text\ndata: {}\nid: r.7\n\n";
    struct event event;

    for (size_t length = 0; length < strlen(whole); length++) {
        char *cut = malloc(length + 1);
        memcpy(cut, whole, length);
        cut = realloc(cut, length ? length : 1);
        ck_assert_int_eq(encode_sse_read(cut, length, &event), -EINVAL);
        free(cut);
    }
    ck_assert_int_eq(encode_sse_read(whole, strlen(whole), &event), 0);
}

CASE(other_texts_are_none)
{
    static const char *const texts[] = {
        "event: text\ndata: {}\nid: r.7\n\n\n",
        "event: text\ndata: {}\nid: r.7\n\nevent: text\ndata: {}\nid: r.8\n\n",
        "event: text\ndata: {}\nid: r7\n\n",
        "event: text\ndata: {\n}\nid: r.7\n\n",
        "id: r.7\nevent: text\ndata: {}\n\n",
        "event: text\nid: r.7\ndata: {}\n\n",
        "data: {}\nid: r.7\n\n",
        "retry: 1000\nid: r.0\n\n",
        ":\n\n",
        "\n\n",
    };
    struct event event;

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(encode_sse_read(texts[i], strlen(texts[i]), &event) == -EINVAL, "%zu", i);
}
