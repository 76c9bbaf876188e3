#include "../case.h"

#include <sluice/agent_json.h>
#include <sluice/agent_sse.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct agent_sse sse;
static char got[4096]; /* "type=data;" of each event */

static void setup(void)
{
    memset(&sse, 0, sizeof sse);
    got[0] = '\0';
}

static void teardown(void)
{
    agent_sse_finish(&sse);
}

static int take(void *arg, const char *type, const char *data)
{
    size_t length = strlen(got);

    ck_assert_ptr_eq(arg, got);
    snprintf(got + length, sizeof got - length, "%s=%s;", type, data);
    return strcmp(data, "stop") == 0 ? 7 : 0;
}

static int feed(const char *data, size_t length)
{
    return agent_sse_feed(&sse, data, length, take, got);
}

/* Feed the stream in two parts cut at each place, and byte by byte; expect these events. */
static void expect(const char *stream, const char *events)
{
    size_t length = strlen(stream);

    for (size_t cut = 0; cut <= length; cut++) {
        teardown();
        setup();
        ck_assert_int_eq(feed(stream, cut), 0);
        ck_assert_int_eq(feed(stream + cut, length - cut), 0);
        ck_assert_str_eq(got, events);
    }
    teardown();
    setup();
    for (size_t at = 0; at < length; at++)
        ck_assert_int_eq(feed(stream + at, 1), 0);
    ck_assert_str_eq(got, events);
}

CASES("stream", .setup = setup, .teardown = teardown);

CASE(line_ends)
{
    expect("data: a\n\ndata: b\n\n", "=a;=b;");
    expect("data: a\r\n\r\ndata: b\r\n\r\n", "=a;=b;");
    expect("data: a\r\rdata: b\r\r", "=a;=b;");
    expect("data: a\r\n\rdata: b\n\r\n\n", "=a;=b;");
    expect("data: a\r\ndata: b\r\n\r\n", "=a\nb;");
}

CASE(fields)
{
    expect("data:a\n\n", "=a;");
    expect("data:  a \n\n", "= a ;");
    expect("data: a: b\n\n", "=a: b;");
    expect("data: a\ndata:\ndata: b\n\n", "=a\n\nb;");
    expect("data\n\n", "=;");
    expect("event: t\ndata: a\n\ndata: b\n\n", "t=a;=b;");
    expect("event: t\nevent: u\ndata: a\n\n", "u=a;");
    expect("id: 1\nretry: 5\nx\ny: z\n data: n\nDATA: n\ndata x: n\ndata: a\n\n", "=a;");
}

CASE(what_is_no_event)
{
    expect("", "");
    expect("\n\n\r\n", "");
    expect(": comment\n\n:\n\n", "");
    expect("event: t\n\ndata: a\n\n", "=a;");
    expect("data: a\n", "");
    expect("data: a", "");
}

CASE(byte_order_mark)
{
    expect("\xef\xbb\xbf"
           "data: a\n\n",
           "=a;");
    expect("\xef\xbb\xbf: c\n\xef\xbb\xbf"
           "data: a\n\ndata: b\n\n",
           "=b;");
    expect("\n\xef\xbb\xbf"
           "data: a\n\n",
           "");
}

CASE(long_type_is_cut)
{
    char stream[256], events[256];

    snprintf(stream, sizeof stream, "event: %0100d\ndata: a\n\n", 0);
    snprintf(events, sizeof events, "%063d=a;", 0);
    expect(stream, events);
}

CASE(reader_ends_it)
{
    const char *stream = "data: a\n\ndata: stop\n\ndata: b\n\n";

    ck_assert_int_eq(feed(stream, strlen(stream)), 7);
    ck_assert_str_eq(got, "=a;=stop;");
}

/* Feed this number of bytes of one letter, in pieces. */
static int feed_many(size_t count)
{
    static char piece[4096];
    int status = 0;

    memset(piece, 'x', sizeof piece);
    for (; count > 0 && status == 0; count -= count < sizeof piece ? count : sizeof piece)
        status = feed(piece, count < sizeof piece ? count : sizeof piece);
    return status;
}

CASE(line_is_bounded)
{
    ck_assert_int_eq(feed("data: ", 6), 0);
    ck_assert_int_eq(feed_many(AGENT_SSE_MAX - 6), 0);
    ck_assert_int_eq(feed("\n\n", 2), 0);
    ck_assert_uint_gt(strlen(got), 4000);
    ck_assert_int_eq(feed_many(AGENT_SSE_MAX), 0);
    ck_assert_int_eq(feed("x", 1), -EMSGSIZE);
    ck_assert_uint_le(sse.line.room, 2 * AGENT_SSE_MAX);
}

CASE(event_is_bounded)
{
    int status = 0;
    size_t lines = 0;

    for (; status == 0 && lines < AGENT_SSE_MAX; lines++)
        status = feed("data: abc\n", 10);
    ck_assert_int_eq(status, -EMSGSIZE);
    ck_assert_uint_eq(lines, AGENT_SSE_MAX / 4 + 1);
    ck_assert_uint_le(sse.data.room, 2 * AGENT_SSE_MAX);
}

static int parses(const char *text)
{
    cJSON *json = json_parse(text);
    int parsed = json != NULL;

    cJSON_Delete(json);
    return parsed;
}

/* Return this number of levels of arrays or objects, with brackets inside of a string that do not
 * count. */
static int parses_levels(int levels)
{
    char text[1024];
    int length = 0;

    for (int i = 0; i < levels; i++)
        length += sprintf(text + length, i % 2 ? "{\"a\\\"[\":" : "[");
    length += sprintf(text + length, "\"[[{\\\\\"");
    for (int i = levels; i-- > 0;)
        length += sprintf(text + length, i % 2 ? "}" : "]");
    return parses(text);
}

CASE(json_is_not_too_deep)
{
    ck_assert(parses_levels(1));
    ck_assert(parses_levels(JSON_PARSE_DEPTH_MAX));
    ck_assert(!parses_levels(JSON_PARSE_DEPTH_MAX + 1));
}

CASE(json_is_whole)
{
    ck_assert(parses(" {} \n"));
    ck_assert(!parses("{} x"));
    ck_assert(!parses(""));
    ck_assert(!parses("\"\\"));
    ck_assert(!parses("]]]"));
}
