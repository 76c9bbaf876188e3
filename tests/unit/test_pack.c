/* Packing of logs that the cases fill. read_packed() reads like a reader that is behind: as
 * stream.c does, it calls pack_text() and pack_find() in turns. */
#include "../case.h"
#include "run/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static struct eventlog eventlog;
static struct buf out;

static void setup(void)
{
    eventlog = (struct eventlog){0};
    out = (struct buf){0};
}

static void teardown(void)
{
    eventlog_finish(&eventlog);
    buf_finish(&out);
}

static void append_bytes(const char *type, const char *json, size_t length)
{
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = length};

    eventlog_append(&eventlog, RUN, &event);
}

static void append(const char *type, const char *json)
{
    append_bytes(type, json, strlen(json));
}

/* Append a delta of this number of letters. */
static void append_letters(size_t length, char letter)
{
    struct buf json = {0};

    buf_puts(&json, "{\"delta\":\"");
    memset(buf_reserve(&json, length), letter, length);
    buf_commit(&json, length);
    buf_puts(&json, "\"}");
    append_bytes("text", buf_data(&json), buf_length(&json));
    buf_finish(&json);
}

/* Pack from the start, and check the result: one event of this JSON, with the id of the event of
 * this number, which is the last that was packed. */
static void expect_packed(const char *json, uint64_t number)
{
    struct event event;
    uint64_t behind = pack_text(&eventlog, RUN, eventlog.ring.start, &out);

    ck_assert_uint_eq(behind, eventlog_behind(&eventlog, number));
    ck_assert_int_eq(encode_sse_read(buf_data(&out), buf_length(&out), &event), 0);
    ck_assert_uint_eq(event.sequence, number);
    ck_assert_uint_eq(event.type_length, 4);
    ck_assert_mem_eq(event.type, "text", 4);
    ck_assert_uint_eq(event.json_length, strlen(json));
    ck_assert_mem_eq(event.json, json, event.json_length);
}

/* Check that nothing is packed at the start. */
static void expect_not_packed(void)
{
    ck_assert_uint_eq(pack_text(&eventlog, RUN, eventlog.ring.start, &out), eventlog.ring.start);
    ck_assert_uint_eq(buf_length(&out), 0);
}

/* ---- pack_text ---- */

CASES("pack", .setup = setup, .teardown = teardown);

CASE(empty_log)
{
    expect_not_packed();
}

CASE(one_is_not_packed)
{
    append("text", "{\"delta\":\"a\"}");
    expect_not_packed();
}

CASE(two_become_one)
{
    char wanted[256];

    append("text", "{\"delta\":\"Hello, \"}");
    append("text", "{\"delta\":\"world\"}");
    expect_packed("{\"delta\":\"Hello, world\"}", 2);
    snprintf(wanted, sizeof wanted, "event: text\ndata: {\"delta\":\"Hello, world\"}\nid: %s.2\n\n",
             RUN);
    ck_assert_uint_eq(buf_length(&out), strlen(wanted));
    ck_assert_mem_eq(buf_data(&out), wanted, strlen(wanted));
}

CASE(up_to_another_event)
{
    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    append("text", "{\"delta\":\"c\"}");
    append("step", "{\"name\":\"x\"}");
    append("text", "{\"delta\":\"d\"}");
    expect_packed("{\"delta\":\"abc\"}", 3);
}

CASE(from_any_event)
{
    append("step", "{\"name\":\"x\"}");
    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    expect_not_packed();
    ck_assert_uint_eq(pack_text(&eventlog, RUN, eventlog_behind(&eventlog, 1), &out),
                      eventlog.ring.end);
    ck_assert_ptr_nonnull(memmem(buf_data(&out), buf_length(&out), "{\"delta\":\"ab\"}", 14));
}

CASE(behind_what_is_in_the_buffer)
{
    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    buf_puts(&out, "before");
    pack_text(&eventlog, RUN, 0, &out);
    ck_assert_mem_eq(buf_data(&out), "beforeevent: ", 13);
}

CASE(empty_deltas)
{
    append("text", "{\"delta\":\"\"}");
    append("text", "{\"delta\":\"\"}");
    append("text", "{\"delta\":\"a\"}");
    expect_packed("{\"delta\":\"a\"}", 3);
}

/* The bytes between the quotes are joined unchanged. */
CASE(escapes)
{
    append("text", "{\"delta\":\"\\\\\"}");
    append("text", "{\"delta\":\"\\\"\"}");
    append("text", "{\"delta\":\"\\\\\\\"\"}");
    append("text", "{\"delta\":\"\\n\\u00e4\\ud83d\"}");
    append("text", "{\"delta\":\"\\ude00/\"}");
    expect_packed("{\"delta\":\"\\\\\\\"\\\\\\\"\\n\\u00e4\\ud83d\\ude00/\"}", 5);
}

CASE(multibyte_characters)
{
    append("text", "{\"delta\":\"\xc3\xa4\"}");
    append("text", "{\"delta\":\"\xe2\x82\xac\"}");
    append("text", "{\"delta\":\"\xf0\x9f\x98\x80\"}");
    expect_packed("{\"delta\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}", 3);
}

static const struct {
    const char *type;
    const char *json;
} others[] = {
    {"text", "{\"delta\":\"a\",\"message\":\"m1\"}"},
    {"text", "{\"message\":\"m1\",\"delta\":\"a\"}"},
    {"text", "{\"delta\":\"a\",\"delta\":\"b\"}"},
    {"text", "{\"delta\":[\"a\"]}"},
    {"text", "{\"delta\":1}"},
    {"text", "{\"delta\":null}"},
    {"text", "{\"delta\":{\"delta\":\"a\"}}"},
    {"text", "{\"delta\":\"}"}, /* not JSON: a worker is not trusted */
    {"text", "{\"delta\":\"\\\"}"},
    {"text", "{\"delta\":\"a\\\"}"},
    {"text", "{\"delta\":\"a\"\"}"},
    {"text", "{\"Delta\":\"a\"}"},
    {"text", "{ \"delta\":\"a\"}"},
    {"text", "{\"delta\":\"a\"} "},
    {"text", "{}"},
    {"text", "\"a\""},
    {"text", "[{\"delta\":\"a\"}]"},
    {"Text", "{\"delta\":\"a\"}"},
    {"tex", "{\"delta\":\"a\"}"},
    {"texts", "{\"delta\":\"a\"}"},
    {"reasoning", "{\"delta\":\"a\"}"},
};

#define OTHERS (int)(sizeof others / sizeof *others)

CASE_LOOP(other_events_are_not_packed, 0, OTHERS)
{
    append(others[_i].type, others[_i].json);
    append(others[_i].type, others[_i].json);
    expect_not_packed();
    ck_assert_uint_eq(pack_find(&eventlog, 0, SIZE_MAX), eventlog.ring.end);
}

CASE_LOOP(other_events_end_what_is_packed, 0, OTHERS)
{
    append("text", "{\"delta\":\"x\"}");
    append("text", "{\"delta\":\"y\"}");
    append(others[_i].type, others[_i].json);
    expect_packed("{\"delta\":\"xy\"}", 2);
}

CASE_LOOP(across_the_seam, 0, 200)
{
    struct event event;

    eventlog.ring.start = eventlog.ring.end = 512 - (uint64_t)_i;
    append("text", "{\"delta\":\"abc\"}");
    append("text", "{\"delta\":\"def\"}");
    append("text", "{\"delta\":\"ghi\"}");
    ck_assert_uint_eq(pack_text(&eventlog, RUN, eventlog.ring.start, &out), eventlog.ring.end);
    ck_assert_int_eq(encode_sse_read(buf_data(&out), buf_length(&out), &event), 0);
    ck_assert_uint_eq(event.json_length, 21);
    ck_assert_mem_eq(event.json, "{\"delta\":\"abcdefghi\"}", 21);
}

/* ---- the most ---- */

static size_t packed_json_length(void)
{
    struct event event;

    ck_assert_int_eq(encode_sse_read(buf_data(&out), buf_length(&out), &event), 0);
    return event.json_length;
}

CASE(no_more_than_the_most)
{
    uint64_t at = 0;

    for (int i = 0; i < 100; i++)
        append_letters(1000, (char)('a' + i % 26));
    while (at < eventlog.ring.end) {
        at = pack_text(&eventlog, RUN, at, &out);
        ck_assert_uint_le(packed_json_length(), PACK_MAX);
        buf_finish(&out);
    }
}

/* Lengths around that at which two deltas just fit. */
CASE_LOOP(exactly_the_most, 0, 12)
{
    size_t inside = PACK_MAX - strlen("{\"delta\":\"\"}");
    uint64_t found;

    append_letters(inside - 5, 'a');
    append_letters((size_t)_i, 'b');
    found = pack_find(&eventlog, 0, SIZE_MAX);
    if (_i <= 5) {
        ck_assert_uint_eq(found, 0);
        ck_assert_uint_eq(pack_text(&eventlog, RUN, 0, &out), eventlog.ring.end);
        ck_assert_uint_eq(packed_json_length(), PACK_MAX - 5 + (size_t)_i);
    } else {
        ck_assert_uint_eq(found, eventlog.ring.end);
        expect_not_packed();
    }
}

CASE(larger_than_the_most)
{
    append_letters(2 * PACK_MAX, 'a');
    append_letters(2, 'b');
    append_letters(2, 'c');
    expect_not_packed();
    ck_assert_uint_eq(pack_find(&eventlog, 0, SIZE_MAX), eventlog_behind(&eventlog, 1));
}

/* ---- pack_find ---- */

CASE(find_in_an_empty_log)
{
    ck_assert_uint_eq(pack_find(&eventlog, 0, SIZE_MAX), 0);
}

CASE(find_the_next_pair)
{
    append("run", "{}");
    append("text", "{\"delta\":\"a\"}");
    append("step", "{}");
    append("text", "{\"delta\":\"b\"}");
    append("text", "{\"delta\":\"c\"}");
    ck_assert_uint_eq(pack_find(&eventlog, 0, SIZE_MAX), eventlog_behind(&eventlog, 3));
    ck_assert_uint_eq(pack_find(&eventlog, eventlog_behind(&eventlog, 3), SIZE_MAX),
                      eventlog_behind(&eventlog, 3));
    ck_assert_uint_eq(pack_find(&eventlog, eventlog_behind(&eventlog, 4), SIZE_MAX),
                      eventlog.ring.end);
}

CASE(find_no_further_than_the_most)
{
    uint64_t found;

    for (int i = 0; i < 50; i++)
        append("step", "{}");
    append("text", "{\"delta\":\"b\"}");
    append("text", "{\"delta\":\"c\"}");
    found = pack_find(&eventlog, 0, 1000);
    ck_assert(eventlog_is_boundary(&eventlog, found));
    ck_assert_uint_ge(found, 1000);
    ck_assert_uint_le(found, 1200);
    ck_assert_uint_eq(pack_find(&eventlog, 0, 1), eventlog_behind(&eventlog, 1));
}

/* ---- a reader that is behind ---- */

static const char *random_inside(void)
{
    static const char *const insides[] = {"",    "a",        "word ", "\\\"", "\\\\",
                                          "\\n", "\xc3\xa4", "}",     "{",    "\\u0041"};
    static char inside[256];

    inside[0] = '\0';
    for (int i = rand() % 6; i > 0; i--)
        strcat(inside, insides[rand() % 10]);
    return inside;
}

static void append_random(void)
{
    int other = rand() % OTHERS;
    char json[300];

    switch (rand() % 8) {
    case 0:
        append(others[other].type, others[other].json);
        break;
    case 1:
        append("step", "{\"name\":\"x\"}");
        break;
    case 2:
        append_letters((size_t)rand() % (rand() % 4 ? 2000 : 20000), 'z');
        break;
    default:
        snprintf(json, sizeof json, "{\"delta\":\"%s\"}", random_inside());
        append("text", json);
    }
}

/* What a reader got of a stream. */
struct seen {
    struct buf order; /* all events in order, neighbouring deltas joined */
    uint64_t last;    /* id */
    size_t events;
};

/* Return whether the event is exactly {"delta":"..."}, by another way than pack.c. */
static bool is_delta(const struct event *event)
{
    size_t at = 10;

    if (event->type_length != 4 || memcmp(event->type, "text", 4) != 0 || event->json_length < 12 ||
        memcmp(event->json, "{\"delta\":\"", 10) != 0)
        return false;
    for (; at < event->json_length && event->json[at] != '"'; at++) {
        if (event->json[at] == '\\')
            at++;
    }
    return at + 2 == event->json_length && event->json[at + 1] == '}';
}

static void see_event(struct seen *seen, const struct event *event)
{
    ck_assert_uint_gt(event->sequence, seen->last);
    seen->last = event->sequence;
    seen->events++;
    if (is_delta(event)) {
        buf_append(&seen->order, event->json + 10, event->json_length - 12);
    } else {
        buf_puts(&seen->order, "\n");
        buf_append(&seen->order, event->type, event->type_length);
        buf_puts(&seen->order, "\t");
        buf_append(&seen->order, event->json, event->json_length);
        buf_puts(&seen->order, "\n");
    }
}

static void see_log(struct seen *seen, uint64_t from, uint64_t to)
{
    struct buf scratch = {0};
    struct event event;

    ck_assert(eventlog_is_boundary(&eventlog, to));
    while (from < to) {
        from = eventlog_read(&eventlog, from, &scratch, &event);
        see_event(seen, &event);
    }
    buf_finish(&scratch);
}

static void see_packed(struct seen *seen)
{
    struct event event;

    ck_assert_int_eq(encode_sse_read(buf_data(&out), buf_length(&out), &event), 0);
    ck_assert_uint_le(event.json_length, PACK_MAX);
    see_event(seen, &event);
    buf_finish(&out);
}

/* Return whether two events at this offset could be packed. */
static bool can_pack(uint64_t at)
{
    struct buf text = {0};
    uint64_t behind = pack_text(&eventlog, RUN, at, &text);

    buf_finish(&text);
    return behind != at;
}

/* Check that nothing can be packed between the two offsets, which pack_find() skipped. */
static void expect_none_skipped(uint64_t from, uint64_t to)
{
    struct buf scratch = {0};
    struct event event;

    while (from < to) {
        ck_assert(!can_pack(from));
        from = eventlog_read(&eventlog, from, &scratch, &event);
    }
    buf_finish(&scratch);
}

static void read_packed(struct seen *seen, size_t most)
{
    uint64_t at = 0;

    while (at < eventlog.ring.end) {
        uint64_t next = pack_text(&eventlog, RUN, at, &out);
        if (next > at) {
            see_packed(seen);
        } else {
            next = pack_find(&eventlog, at, most);
            ck_assert_uint_gt(next, at);
            ck_assert(next - at >= most || next == eventlog.ring.end || can_pack(next));
            expect_none_skipped(at, next);
            see_log(seen, at, next);
        }
        at = next;
    }
    ck_assert_uint_eq(at, eventlog.ring.end);
}

CASE_LOOP(reads_the_same, 0, 20)
{
    struct seen plain = {.events = 0}, packed = {.events = 0};

    srand((unsigned)_i);
    for (int i = 0; i < 600; i++)
        append_random();
    see_log(&plain, 0, eventlog.ring.end);
    read_packed(&packed, 1 + (size_t)rand() % 70000);
    ck_assert_uint_eq(packed.last, eventlog.last);
    ck_assert_uint_lt(packed.events, plain.events);
    ck_assert_uint_eq(buf_length(&packed.order), buf_length(&plain.order));
    ck_assert_mem_eq(buf_data(&packed.order), buf_data(&plain.order), buf_length(&plain.order));
    buf_finish(&plain.order);
    buf_finish(&packed.order);
}
