/* Packing, of logs that the cases fill. */
#include "../case.h"
#include "run/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The smallest ring of a log. */
#define RING_MIN 512

static struct eventlog *eventlog;
static struct pack pack;

static void setup(void)
{
    eventlog = eventlog_create();
    pack = (struct pack){.scratch = {0}};
}

static void teardown(void)
{
    eventlog_destroy(eventlog);
    pack_finish(&pack);
}

static void append_bytes(const char *type, const char *json, size_t length)
{
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = length};

    eventlog_append(eventlog, &event);
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

/* Read the next event, packed, and check that its number and the cursor agree. */
static struct event read_next(struct log_cursor *cursor, uint64_t limit)
{
    struct log_cursor again = *cursor;
    struct event event;

    pack_read(eventlog, cursor, limit, &pack, &event);
    ck_assert_uint_le(cursor->at, limit);
    ck_assert_uint_eq(event.sequence, cursor->sequence);
    eventlog_skip(eventlog, &again, cursor->sequence - again.sequence);
    ck_assert_mem_eq(&again, cursor, sizeof again);
    return event;
}

static void expect_event(struct event event, const char *type, const char *json, uint64_t number)
{
    ck_assert_uint_eq(event.sequence, number);
    ck_assert_uint_eq(event.type_length, strlen(type));
    ck_assert_mem_eq(event.type, type, event.type_length);
    ck_assert_uint_eq(event.json_length, strlen(json));
    ck_assert_mem_eq(event.json, json, event.json_length);
}

/* Check what is read first: one event of this JSON, with the number of the last that it stands for.
 */
static void expect_packed(const char *json, uint64_t number)
{
    struct log_cursor cursor = eventlog->start;

    expect_event(read_next(&cursor, eventlog->end.at), "text", json, number);
}

CASES("pack", .setup = setup, .teardown = teardown);

CASE(one_stays_as_it_is)
{
    append("text", "{\"delta\":\"a\"}");
    expect_packed("{\"delta\":\"a\"}", 1);
}

CASE(two_become_one)
{
    append("text", "{\"delta\":\"Hello, \"}");
    append("text", "{\"delta\":\"world\"}");
    expect_packed("{\"delta\":\"Hello, world\"}", 2);
}

CASE(up_to_another_event)
{
    struct log_cursor cursor = eventlog->start;
    uint64_t end;

    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    append("text", "{\"delta\":\"c\"}");
    append("step", "{\"name\":\"x\"}");
    append("text", "{\"delta\":\"d\"}");
    end = eventlog->end.at;
    expect_event(read_next(&cursor, end), "text", "{\"delta\":\"abc\"}", 3);
    expect_event(read_next(&cursor, end), "step", "{\"name\":\"x\"}", 4);
    expect_event(read_next(&cursor, end), "text", "{\"delta\":\"d\"}", 5);
    ck_assert_uint_eq(cursor.at, end);
}

/* What comes after the limit is not read, so that what was begun stays as it is. */
CASE(up_to_the_limit)
{
    struct log_cursor cursor;

    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    append("text", "{\"delta\":\"c\"}");
    cursor = eventlog->start;
    expect_event(read_next(&cursor, eventlog_seek(eventlog, 2).at), "text", "{\"delta\":\"ab\"}",
                 2);
    cursor = eventlog->start;
    expect_event(read_next(&cursor, eventlog_seek(eventlog, 1).at), "text", "{\"delta\":\"a\"}", 1);
}

CASE(from_any_event)
{
    struct log_cursor cursor;

    append("step", "{\"name\":\"x\"}");
    append("text", "{\"delta\":\"a\"}");
    append("text", "{\"delta\":\"b\"}");
    cursor = eventlog_seek(eventlog, 1);
    expect_event(read_next(&cursor, eventlog->end.at), "text", "{\"delta\":\"ab\"}", 3);
    cursor = eventlog_seek(eventlog, 2);
    expect_event(read_next(&cursor, eventlog->end.at), "text", "{\"delta\":\"b\"}", 3);
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
    struct log_cursor cursor = eventlog->start;
    const char *inside;
    size_t length;

    append(others[_i].type, others[_i].json);
    append(others[_i].type, others[_i].json);
    for (uint64_t number = 1; number <= 2; number++) {
        struct event event = read_next(&cursor, eventlog->end.at);
        expect_event(event, others[_i].type, others[_i].json, number);
        ck_assert(!pack_delta(&event, &inside, &length));
    }
}

CASE_LOOP(other_events_end_what_is_packed, 0, OTHERS)
{
    append("text", "{\"delta\":\"x\"}");
    append("text", "{\"delta\":\"y\"}");
    append(others[_i].type, others[_i].json);
    expect_packed("{\"delta\":\"xy\"}", 2);
}

CASE_LOOP(across_the_seam, 0, 60)
{
    append_letters(RING_MIN - 20 - (size_t)_i, 'x');
    eventlog_drop(eventlog, 0, eventlog->end.at);
    append("text", "{\"delta\":\"abc\"}");
    append("text", "{\"delta\":\"def\"}");
    append("text", "{\"delta\":\"ghi\"}");
    expect_packed("{\"delta\":\"abcdefghi\"}", 4);
}

/* ---- the most ---- */

CASE(no_more_than_the_most)
{
    struct log_cursor cursor = eventlog->start;

    for (int i = 0; i < 100; i++)
        append_letters(1000, (char)('a' + i % 26));
    while (cursor.at < eventlog->end.at) {
        struct event event = read_next(&cursor, eventlog->end.at);
        ck_assert_uint_le(event.json_length, PACK_MAX);
        ck_assert_uint_gt(event.json_length, cursor.sequence < 100 ? PACK_MAX - 1000 : 0);
    }
}

/* Lengths around that at which two deltas just fit. */
CASE_LOOP(exactly_the_most, 0, 12)
{
    struct log_cursor cursor = eventlog->start;
    size_t inside = PACK_MAX - strlen("{\"delta\":\"\"}");
    struct event event;

    append_letters(inside - 5, 'a');
    append_letters((size_t)_i, 'b');
    event = read_next(&cursor, eventlog->end.at);
    ck_assert_uint_eq(event.sequence, _i <= 5 ? 2 : 1);
    ck_assert_uint_eq(event.json_length, PACK_MAX - 5 + (size_t)(_i <= 5 ? _i : 0));
}

CASE(larger_than_the_most)
{
    struct log_cursor cursor = eventlog->start;

    append_letters(2 * PACK_MAX, 'a');
    append_letters(0, 'b');
    append_letters(2, 'c');
    ck_assert_uint_eq(read_next(&cursor, eventlog->end.at).sequence, 1);
    ck_assert_uint_eq(read_next(&cursor, eventlog->end.at).sequence, 3);
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

/* All that a reader got. */
struct seen {
    struct buf order; /* all events in order, neighbouring deltas joined */
    uint64_t last;    /* number of the last event */
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

CASE_LOOP(reads_the_same, 0, 20)
{
    struct seen plain = {.events = 0}, packed = {.events = 0};
    struct log_cursor cursor = eventlog->start;
    struct event event;

    srand((unsigned)_i);
    for (int i = 0; i < 600; i++)
        append_random();
    while (cursor.at < eventlog->end.at) {
        eventlog_read(eventlog, &cursor, &pack.scratch, &event);
        see_event(&plain, &event);
    }
    cursor = eventlog->start;
    while (cursor.at < eventlog->end.at) {
        event = read_next(&cursor, eventlog->end.at);
        see_event(&packed, &event);
    }
    ck_assert_uint_eq(packed.last, eventlog_last(eventlog));
    ck_assert_uint_lt(packed.events, plain.events);
    ck_assert_uint_eq(buf_length(&packed.order), buf_length(&plain.order));
    ck_assert_mem_eq(buf_data(&packed.order), buf_data(&plain.order), buf_length(&plain.order));
    buf_finish(&plain.order);
    buf_finish(&packed.order);
}
