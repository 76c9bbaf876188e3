/* The native encoder, beside the cases of tests/protocols. */
#include "../case.h"
#include "protocol/native.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static const struct run_identity run = {
    .id = RUN, .agent = "echo", .version = "1.0", .generation = 1};

static const struct encoding encoding = {.run = &run};

static struct buf out;

static struct event event_of(uint64_t sequence, const char *type, const char *json)
{
    return (struct event){.sequence = sequence,
                          .kind = event_kind_of(type, strlen(type)),
                          .type = type,
                          .type_length = strlen(type),
                          .json = json,
                          .json_length = strlen(json)};
}

static void expect_out(const char *wanted)
{
    ck_assert_uint_eq(buf_length(&out), strlen(wanted));
    ck_assert_mem_eq(buf_data(&out), wanted, strlen(wanted));
    buf_finish(&out);
}

static void encode(uint64_t sequence, const char *type, const char *json)
{
    struct event event = event_of(sequence, type, json);

    encoder_native.event(NULL, &encoding, &event, &out);
}

CASE(fixed_parts)
{
    ck_assert_str_eq(encoder_native.name, "native");
    ck_assert_str_eq(encoder_native.content_type, "text/event-stream");
    ck_assert_uint_eq(encoder_native.state_size, 0);
    ck_assert_str_eq(ENCODER_HEARTBEAT, ":\n\n");
}

CASE(beginning)
{
    encoder_native.begin(NULL, &encoding, 0, &out);
    expect_out("retry: 1000\nid: " RUN ".0\n\n");
    encoder_native.begin(NULL, &encoding, UINT64_MAX, &out);
    expect_out("retry: 1000\nid: " RUN ".18446744073709551615\n\n");
}

CASE(sequence_numbers)
{
    static const uint64_t numbers[] = {
        1, 9, 10, 11, 99, 100, 12345, UINT32_MAX, UINT64_C(10000000000000000000), UINT64_MAX};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char wanted[128];
        snprintf(wanted, sizeof wanted, "event: t\ndata: {}\nid: " RUN ".%" PRIu64 "\n\n",
                 numbers[i]);
        encode(numbers[i], "t", "{}");
        expect_out(wanted);
    }
}

CASE(texts_need_not_be_terminated)
{
    static const char text[] = "text{\"delta\":1}";
    struct event event = {
        .sequence = 2, .type = text, .type_length = 4, .json = text + 4, .json_length = 8};

    encoder_native.event(NULL, &encoding, &event, &out);
    expect_out("event: text\ndata: {\"delta\"\nid: " RUN ".2\n\n");
}

CASE(longest_type)
{
    char type[65], wanted[256];

    memset(type, 't', 64);
    type[64] = '\0';
    snprintf(wanted, sizeof wanted, "event: %s\ndata: 1\nid: " RUN ".3\n\n", type);
    encode(3, type, "1");
    expect_out(wanted);
}

CASE(events_are_appended)
{
    encode(7, "text", "{\"delta\":\"a\"}");
    encode(8, "n", "1");
    expect_out("event: text\ndata: {\"delta\":\"a\"}\nid: " RUN ".7\n\n"
               "event: n\ndata: 1\nid: " RUN ".8\n\n");
}

CASE(gap)
{
    encoder_native.gap(NULL, &encoding, &(struct run_gap){.from = 3, .to = 17}, &out);
    expect_out("event: gap\ndata: {\"from\":3,\"to\":17}\nid: " RUN ".17\n\n");
}

/* ---- the document ---- */

static size_t room_left;
static size_t taken;

static bool take(void *data, size_t bytes)
{
    ck_assert_ptr_eq(data, &room_left);
    if (bytes > room_left)
        return false;
    room_left -= bytes;
    taken += bytes;
    return true;
}

static const struct document_room room = {.take = take, .data = &room_left};
static const struct document_encoder *encoder;
static struct document document;

static void setup_document(void)
{
    encoder = encoder_native.document;
    room_left = SIZE_MAX;
    taken = 0;
}

static void teardown_document(void)
{
    document_finish(&document);
    document = (struct document){.asked = 0};
}

static void add(const char *type, const char *json)
{
    struct event event = event_of(1, type, json);

    document_add(&document, encoder->keeps, &event, &room);
}

static void expect_document(const char *members)
{
    char wanted[1024];

    add("done", "{\"status\":\"finished\"}");
    ck_assert_uint_eq(encoder->end(&document, &encoding, &out), 200);
    snprintf(wanted, sizeof wanted,
             "{\"run\":\"" RUN "\",\"agent\":\"echo\",\"version\":\"1.0\",\"generation\":1,%s,"
             "\"status\":\"finished\"}\n",
             members);
    expect_out(wanted);
}

static void add_letters(size_t length)
{
    char *json = malloc(length + 16);

    strcpy(json, "{\"delta\":\"");
    memset(json + 10, 'a', length);
    strcpy(json + 10 + length, "\"}");
    add("text", json);
    free(json);
}

CASES("document", .setup = setup_document, .teardown = teardown_document);

CASE(memory_of_text_and_usage_is_charged)
{
    add("text", "{\"delta\":\"abc\"}");
    add("text", "{\"delta\":\"\\n\",\"more\":1}");
    add("usage", "{\"n\":1}");
    ck_assert_uint_eq(taken, 5 + 7);
    expect_document("\"text\":\"abc\\n\",\"usage\":{\"n\":1}");
}

CASE(without_room_text_is_cut_between_events)
{
    room_left = 5;
    add("text", "{\"delta\":\"abc\"}");
    add("text", "{\"delta\":\"def\"}");
    room_left = 100;
    add("text", "{\"delta\":\"g\"}");
    ck_assert_uint_eq(taken, 3);
    expect_document("\"text\":\"abc\",\"truncated\":true");
}

CASE(text_has_a_limit)
{
    add_letters(DOCUMENT_TEXT_MAX - 1);
    add_letters(2);
    add_letters(1);
    ck_assert_uint_eq(taken, DOCUMENT_TEXT_MAX - 1);
}

CASE(after_a_gap_it_has_what_came_then)
{
    document_add_gap(&document);
    add("text", "{\"delta\":\"abc\"}");
    ck_assert_uint_eq(taken, 3);
    expect_document("\"text\":\"abc\",\"truncated\":true");
}

CASE(a_gap_leaves_no_hole)
{
    add("text", "{\"delta\":\"a\"}");
    document_add_gap(&document);
    add("text", "{\"delta\":\"c\"}");
    expect_document("\"text\":\"a\",\"truncated\":true");
}

CASE(queued_run_has_no_version)
{
    static const struct run_identity queued = {.id = RUN, .agent = "a\"b"};

    add("done", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
    ck_assert_uint_eq(encoder->end(&document, &(struct encoding){.run = &queued}, &out), 409);
    expect_out("{\"run\":\"" RUN "\",\"agent\":\"a\\\"b\",\"text\":\"\","
               "\"status\":\"cancelled\",\"reason\":\"client\"}\n");
}

CASE(failed_run)
{
    add("done", "{\"status\":\"failed\",\"error\":{}}");
    ck_assert_uint_eq(encoder->end(&document, &encoding, &out), 500);
    buf_finish(&out);
}

/* A question ends the wait: the client is told what is asked. */
CASE(question)
{
    add("text", "{\"delta\":\"abc\"}");
    add("input_request", "{\"id\":\"q1\",\"message\":\"May I?\"}");
    ck_assert_int_eq(encoder->question, QUESTION_ENDS);
    ck_assert_uint_eq(encoder->end(&document, &encoding, &out), 202);
    expect_out("{\"run\":\"" RUN "\",\"agent\":\"echo\",\"version\":\"1.0\",\"generation\":1,"
               "\"text\":\"abc\",\"status\":\"waiting\","
               "\"input_request\":{\"id\":\"q1\",\"message\":\"May I?\"}}\n");
}
