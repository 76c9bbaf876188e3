#include "../case.h"
#include "wire/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The table of frames again, in the form that the cases need. */
static const struct {
    const char *name;
    enum wire_side sender;
    size_t least;
    size_t most;
} types[] = {
#define X(name, sender, least, most) {#name, WIRE_##sender, least, most},
    WIRE_FRAMES(X)
#undef X
};

static struct buf buf;

static void setup(void)
{
    buf = (struct buf){0};
}

static void teardown(void)
{
    buf_finish(&buf);
}

static enum wire_side other(enum wire_side side)
{
    return side == WIRE_FRONT ? WIRE_WORKER : WIRE_FRONT;
}

static char *pattern(size_t length)
{
    char *data = malloc(length + 1);

    for (size_t i = 0; i < length; i++)
        data[i] = (char)(i % 251);
    return data;
}

static void append_length(int type, size_t length)
{
    char *data = pattern(length);

    wire_append(&buf, (enum wire_type)type, 77, data, length);
    free(data);
}

/* Append a frame of this type and payload. */
static struct wire_frame frame_of(enum wire_type type, const char *data, size_t length)
{
    struct wire_frame frame;
    enum wire_side sender = types[type].sender;

    buf_finish(&buf);
    wire_append(&buf, type, 5, data, length);
    ck_assert_int_gt(wire_next(&buf, sender, &frame), 0);
    return frame;
}

/* ---- frames ---- */

CASES("frames", .setup = setup, .teardown = teardown);

CASE(nothing_yet)
{
    struct wire_frame frame;

    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), 0);
    ck_assert_int_eq(wire_next(&buf, WIRE_WORKER, &frame), 0);
}

CASE(bytes_of_a_frame)
{
    uint32_t length = 4, run = 7, credit = 0x01020304;
    uint16_t type = WIRE_CREDIT;

    wire_append(&buf, WIRE_CREDIT, run, &credit, sizeof credit);
    ck_assert_uint_eq(buf_length(&buf), 16);
    ck_assert_mem_eq(buf_data(&buf), &length, 4);
    ck_assert_mem_eq(buf_data(&buf) + 4, &type, 2);
    ck_assert_mem_eq(buf_data(&buf) + 6, "\0\0", 2);
    ck_assert_mem_eq(buf_data(&buf) + 8, &run, 4);
    ck_assert_mem_eq(buf_data(&buf) + 12, &credit, 4);
}

CASE(names)
{
    ck_assert_str_eq(wire_name(WIRE_OPEN), "OPEN");
    ck_assert_str_eq(wire_name(WIRE_EVENT), "EVENT");
    ck_assert_str_eq(wire_name(WIRE_INPUT), "INPUT");
    ck_assert_str_eq(wire_name(WIRE_WAITING), "WAITING");
    ck_assert_str_eq(wire_name(WIRE_PONG), "PONG");
}

static void expect_round_trip(int type, size_t length)
{
    struct wire_frame frame;
    char *data = pattern(length);

    buf_finish(&buf);
    append_length(type, length);
    ck_assert_int_eq(wire_next(&buf, types[type].sender, &frame), (ssize_t)(12 + length));
    ck_assert_int_eq(frame.type, type);
    ck_assert_uint_eq(frame.run, 77);
    ck_assert_uint_eq(frame.length, length);
    ck_assert_ptr_eq(frame.data, buf_data(&buf) + 12);
    ck_assert_mem_eq(frame.data, data, length);
    free(data);
}

CASE_LOOP(round_trip_of_any_length, 0, WIRE_TYPES)
{
    expect_round_trip(_i, types[_i].least);
    expect_round_trip(_i, (types[_i].least + types[_i].most) / 2);
    expect_round_trip(_i, types[_i].most);
}

CASE_LOOP(too_long, 0, WIRE_TYPES)
{
    struct wire_frame frame;

    append_length(_i, types[_i].most + 1);
    ck_assert_int_eq(wire_next(&buf, types[_i].sender, &frame), -EPROTO);
}

CASE_LOOP(too_short, 0, WIRE_TYPES)
{
    struct wire_frame frame;

    if (types[_i].least == 0)
        return;
    append_length(_i, types[_i].least - 1);
    ck_assert_int_eq(wire_next(&buf, types[_i].sender, &frame), -EPROTO);
}

CASE_LOOP(wrong_side, 0, WIRE_TYPES)
{
    struct wire_frame frame;

    append_length(_i, types[_i].least);
    ck_assert_int_eq(wire_next(&buf, other(types[_i].sender), &frame), -EPROTO);
}

/* A bad header is refused at once, without its payload. */
CASE(header_is_enough_to_refuse)
{
    static const struct wire_header headers[] = {
        {.length = 0, .type = WIRE_TYPES, .run = 1},
        {.length = 0, .type = 0xffff, .run = 1},
        {.length = 4, .type = WIRE_CREDIT, .zero = 1, .run = 1},
        {.length = 5, .type = WIRE_CREDIT, .run = 1},
        {.length = 3, .type = WIRE_CREDIT, .run = 1},
        {.length = UINT32_MAX, .type = WIRE_START, .run = 1},
        {.length = WIRE_START_MAX + 1, .type = WIRE_START, .run = 1},
        {.length = 1, .type = WIRE_CANCEL, .run = 1},
        {.length = 10, .type = WIRE_EVENT, .run = 1},
    };
    struct wire_frame frame;

    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        buf_finish(&buf);
        buf_append(&buf, &headers[i], sizeof headers[i]);
        ck_assert_msg(wire_next(&buf, WIRE_FRONT, &frame) == -EPROTO, "%zu", i);
    }
}

CASE(limits)
{
    ck_assert_uint_eq(sizeof(struct wire_header), 12);
    ck_assert_uint_eq(types[WIRE_EVENT].most, 1 + 64 + 960 * 1024);
    ck_assert_uint_ge(types[WIRE_END].most, 1 + 65 + 1024 + 960 * 1024 + 1);
    ck_assert_uint_le(wire_charge(WIRE_TYPE_MAX, WIRE_EVENT_MAX), WIRE_WINDOW);
    ck_assert_uint_eq(wire_charge(4, 10), 110);
}

CASE(one_after_another)
{
    struct wire_frame frame;
    uint32_t credit = 9;

    wire_append(&buf, WIRE_CANCEL, 1, NULL, 0);
    wire_append(&buf, WIRE_CREDIT, 2, &credit, sizeof credit);
    wire_append(&buf, WIRE_QUIT, 0, NULL, 0);
    for (uint32_t run = 1; run <= 2; run++) {
        ssize_t size = wire_next(&buf, WIRE_FRONT, &frame);
        ck_assert_int_gt(size, 0);
        ck_assert_uint_eq(frame.run, run);
        buf_consume(&buf, (size_t)size);
    }
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), 12);
    ck_assert_int_eq(frame.type, WIRE_QUIT);
    buf_consume(&buf, 12);
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), 0);
}

CASE(byte_at_a_time)
{
    struct wire_end end = {.status = WIRE_FAILED, .code = "c", .message = "m", .result = ""};
    struct buf sent = {0};
    struct wire_frame frame;
    unsigned got = 0;
    size_t at = 0;

    memcpy(wire_write_event(&sent, 1, "text", 4, 2), "{}", 2);
    wire_append_written(&sent, 4, 2);
    wire_append(&sent, WIRE_READY, 0, NULL, 0);
    wire_append_end(&sent, 1, &end);
    while (at < buf_length(&sent)) {
        static const enum wire_type wanted[] = {WIRE_EVENT, WIRE_READY, WIRE_END};
        ssize_t size = wire_next(&buf, WIRE_WORKER, &frame);
        ck_assert_int_eq(size, 0);
        buf_append(&buf, buf_data(&sent) + at++, 1);
        size = wire_next(&buf, WIRE_WORKER, &frame);
        if (size == 0)
            continue;
        ck_assert_int_eq(size, (ssize_t)buf_length(&buf));
        ck_assert_int_eq(frame.type, wanted[got++]);
        buf_consume(&buf, (size_t)size);
    }
    ck_assert_uint_eq(got, 3);
    ck_assert_uint_eq(buf_length(&buf), 0);
    buf_finish(&sent);
}

/* ---- EVENT ---- */

static void expect_event(const char *type, size_t json_length)
{
    struct wire_frame frame;
    const char *got_type, *got_json;
    size_t got_type_length, got_json_length;
    char *json;

    buf_finish(&buf);
    json = wire_write_event(&buf, 3, type, strlen(type), json_length);
    ck_assert_uint_eq(wire_whole(&buf, WIRE_WORKER), 0);
    memset(json, '1', json_length);
    wire_append_written(&buf, strlen(type), json_length);
    ck_assert_uint_eq(wire_whole(&buf, WIRE_WORKER), buf_length(&buf));
    ck_assert_int_eq(wire_next(&buf, WIRE_WORKER, &frame), (ssize_t)buf_length(&buf));
    ck_assert_int_eq(frame.type, WIRE_EVENT);
    ck_assert_uint_eq(frame.run, 3);
    ck_assert_int_eq(
        wire_read_event(&frame, &got_type, &got_type_length, &got_json, &got_json_length), 0);
    ck_assert_uint_eq(got_type_length, strlen(type));
    ck_assert_mem_eq(got_type, type, got_type_length);
    ck_assert_uint_eq(got_json_length, json_length);
    ck_assert_ptr_eq(got_json, json);
}

CASES("payloads", .setup = setup, .teardown = teardown);

CASE(event)
{
    expect_event("text", 12);
    expect_event("t", 1);
}

CASE(longest_event)
{
    char type[WIRE_TYPE_MAX + 1] = {0};

    memset(type, 't', WIRE_TYPE_MAX);
    expect_event(type, WIRE_EVENT_MAX);
}

CASE(malformed_events)
{
    char long_type[1 + WIRE_TYPE_MAX + 2];
    static const struct {
        const char *data;
        size_t length;
    } bad[] = {
        {"\0{}", 3},     /* no type */
        {"\x02ty", 3},   /* no JSON */
        {"\x03typ", 4},  /* no JSON */
        {"\x09ty{}", 5}, /* a type beyond the end */
        {"\xffty{}", 5},
    };
    const char *type, *json;
    size_t type_length, json_length;
    struct wire_frame frame;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        frame = frame_of(WIRE_EVENT, bad[i].data, bad[i].length);
        ck_assert_msg(wire_read_event(&frame, &type, &type_length, &json, &json_length) == -EPROTO,
                      "%zu", i);
    }
    memset(long_type, 't', sizeof long_type);
    long_type[0] = WIRE_TYPE_MAX + 1;
    frame = frame_of(WIRE_EVENT, long_type, sizeof long_type);
    ck_assert_int_eq(wire_read_event(&frame, &type, &type_length, &json, &json_length), -EPROTO);
}

/* ---- END ---- */

static void expect_end(const struct wire_end *end)
{
    struct wire_frame frame;
    struct wire_end got;

    buf_finish(&buf);
    wire_append_end(&buf, 9, end);
    ck_assert_int_eq(wire_next(&buf, WIRE_WORKER, &frame), (ssize_t)buf_length(&buf));
    ck_assert_int_eq(frame.type, WIRE_END);
    ck_assert_uint_eq(frame.run, 9);
    ck_assert_int_eq(wire_read_end(&frame, &got), 0);
    ck_assert_int_eq(got.status, end->status);
    ck_assert_str_eq(got.code, end->code);
    ck_assert_str_eq(got.message, end->message);
    ck_assert_str_eq(got.result, end->result);
}

CASE(ends)
{
    expect_end(&(struct wire_end){WIRE_FINISHED, "", "", ""});
    expect_end(&(struct wire_end){WIRE_FINISHED, "", "", "{\"a\":1}"});
    expect_end(&(struct wire_end){WIRE_FAILED, "agent_error", "it did not work", ""});
    expect_end(&(struct wire_end){WIRE_CANCELLED, "", "", ""});
}

CASE(longest_end)
{
    char *result = malloc(WIRE_EVENT_MAX + 1);
    char message[1024], code[WIRE_TYPE_MAX + 1];

    memset(result, '1', WIRE_EVENT_MAX);
    result[WIRE_EVENT_MAX] = '\0';
    memset(message, 'm', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    memset(code, 'c', WIRE_TYPE_MAX);
    code[WIRE_TYPE_MAX] = '\0';
    expect_end(&(struct wire_end){WIRE_FAILED, code, message, result});
    free(result);
}

CASE(malformed_ends)
{
    static const struct {
        const char *data;
        size_t length;
    } bad[] = {
        {"\x03\0\0\0", 4},     /* a status beyond the last */
        {"\xff\0\0\0", 4},     /* and far beyond */
        {"\0\0\0", 3},         /* two strings */
        {"\0abc", 4},          /* no terminated string */
        {"\0a\0b\0c", 6},      /* the last does not end */
        {"\0a\0b\0c\0d", 8},   /* bytes after the end */
        {"\0a\0b\0c\0d\0", 9}, /* four strings */
        {"\0\0\0\0\0", 5},
    };
    struct wire_end end;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wire_frame frame = frame_of(WIRE_END, bad[i].data, bad[i].length);
        ck_assert_msg(wire_read_end(&frame, &end) == -EPROTO, "%zu", i);
    }
}

/* ---- strings: START and CREATE ---- */

CASE(pairs)
{
    static const char *const wanted[] = {"input", "{}", "run.id", "", "", "x"};
    struct buf payload = {0};
    struct wire_frame frame;
    const char *text;
    size_t at = 0;

    wire_append_pair(&payload, "input", "{}");
    wire_append_pair(&payload, "run.id", "");
    wire_append_pair(&payload, "", "x");
    ck_assert_uint_eq(buf_length(&payload), 6 + 3 + 7 + 1 + 1 + 2);
    frame = frame_of(WIRE_START, buf_data(&payload), buf_length(&payload));
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        ck_assert_int_eq(wire_read_string(&frame, &at, &text), 1);
        ck_assert_str_eq(text, wanted[i]);
    }
    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 0);
    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 0);
    ck_assert_str_eq(wire_find(&frame, "run.id"), "");
    ck_assert_str_eq(wire_find(&frame, ""), "x");
    ck_assert_ptr_null(wire_find(&frame, "{}")); /* a value */
    frame.length--;
    ck_assert_ptr_null(wire_find(&frame, ""));
    buf_finish(&payload);
}

CASE(no_strings)
{
    struct wire_frame frame = frame_of(WIRE_START, NULL, 0);
    const char *text = "untouched";
    size_t at = 0;

    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 0);
    ck_assert_str_eq(text, "untouched");
}

CASE(string_that_does_not_end)
{
    struct wire_frame frame = frame_of(WIRE_START, "key\0val", 7);
    const char *text = NULL;
    size_t at = 0;

    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 1);
    ck_assert_str_eq(text, "key");
    ck_assert_int_eq(wire_read_string(&frame, &at, &text), -EPROTO);
    ck_assert_str_eq(text, "key");
}

/* ---- INPUT and WAITING ---- */

CASE(input)
{
    struct wire_frame frame;
    const char *text;
    uint32_t question;
    size_t at = sizeof question;

    wire_append_input(&buf, 6, 4711, "{\"a\":1} behind it", 7);
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), (ssize_t)buf_length(&buf));
    ck_assert_int_eq(frame.type, WIRE_INPUT);
    ck_assert_uint_eq(frame.run, 6);
    ck_assert_uint_eq(frame.length, 12);
    memcpy(&question, frame.data, sizeof question);
    ck_assert_uint_eq(question, 4711);
    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 1);
    ck_assert_str_eq(text, "{\"a\":1}");
    ck_assert_int_eq(wire_read_string(&frame, &at, &text), 0);
}

CASE(shortest_and_longest_input)
{
    struct wire_frame frame;
    char *json = malloc(WIRE_INPUT_MAX);

    memset(json, '1', WIRE_INPUT_MAX);
    wire_append_input(&buf, 6, 0, json, 1);
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), 18);
    buf_consume(&buf, 18);
    wire_append_input(&buf, 6, 0, json, WIRE_INPUT_MAX - 5);
    ck_assert_int_gt(wire_next(&buf, WIRE_FRONT, &frame), 0);
    ck_assert_uint_eq(frame.length, WIRE_INPUT_MAX);
    buf_finish(&buf);
    wire_append_input(&buf, 6, 0, json, WIRE_INPUT_MAX - 4);
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), -EPROTO);
    buf_finish(&buf);
    wire_append_input(&buf, 6, 0, "", 0);
    ck_assert_int_eq(wire_next(&buf, WIRE_FRONT, &frame), -EPROTO);
    free(json);
}

CASE(waiting)
{
    uint32_t counts[2] = {3, 1}, got[2];
    struct wire_frame frame;

    wire_append(&buf, WIRE_WAITING, 4, counts, sizeof counts);
    ck_assert_int_eq(wire_next(&buf, WIRE_WORKER, &frame), 20);
    ck_assert_int_eq(frame.type, WIRE_WAITING);
    ck_assert_uint_eq(frame.run, 4);
    memcpy(got, frame.data, sizeof got);
    ck_assert_uint_eq(got[0], 3);
    ck_assert_uint_eq(got[1], 1);
}

CASE(held)
{
    struct wire_frame frame;
    uint32_t tasks = 2, got;

    wire_append(&buf, WIRE_HELD, 4, &tasks, sizeof tasks);
    ck_assert_int_eq(wire_next(&buf, WIRE_WORKER, &frame), 16);
    ck_assert_int_eq(frame.type, WIRE_HELD);
    ck_assert_uint_eq(frame.run, 4);
    memcpy(&got, frame.data, sizeof got);
    ck_assert_uint_eq(got, tasks);
}

/* Random bytes are never read past the end of the frame, which sanitizers see. */
CASE(noise)
{
    srand(1);
    for (int round = 0; round < 20000; round++) {
        size_t length = 3 + (size_t)rand() % 12;
        char *data = malloc(length);
        struct wire_frame frame = {.data = data, .length = length};
        const char *type, *json;
        size_t type_length, json_length;
        struct wire_end end;
        for (size_t i = 0; i < length; i++)
            data[i] = (char)(rand() % 3 ? rand() % 16 : 0);
        if (wire_read_event(&frame, &type, &type_length, &json, &json_length) == 0) {
            ck_assert_uint_eq(1 + type_length + json_length, length);
            ck_assert_uint_gt(json_length, 0);
        }
        if (wire_read_end(&frame, &end) == 0)
            ck_assert_uint_eq(1 + strlen(end.code) + 1 + strlen(end.message) + 1 +
                                  strlen(end.result) + 1,
                              length);
        free(data);
    }
}
