#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* asprintf() */
#endif
#include "../bench/sse_check.h"
#include "../case.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD                                                                      \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nLocation: /runs/r\r\n" \
    "Transfer-Encoding: chunked\r\n\r\n"
#define DATA(n)     "{\"n\":\"" n "\",\"t\":\"1764038888123456\",\"pad\":\"xxxxxxxxxxxxxxxxx\"}"
#define TOKEN(n)    "id: " n "\nevent: token\ndata: " DATA(n) "\n\n"
#define DONE        "event: done\ndata: {\"status\":\"finished\"}\n\n"
#define LAST        "0\r\n\r\n"
#define THREE       TOKEN("0000001"), TOKEN("0000002"), TOKEN("0000003")
#define AS_CHUNK(x) "%zx\r\n%s\r\n", strlen(x), x

/* What the hooks were called with. */
static struct {
    int opened, tokens, locations;
    uint64_t sent_us;
} told;

static void on_header(void *owner, const char *line, size_t length)
{
    ck_assert_ptr_eq(owner, &told);
    told.locations += length == 17 && memcmp(line, "Location: /runs/r", 17) == 0;
}

static void on_opened(void *owner)
{
    ck_assert_ptr_eq(owner, &told);
    told.opened++;
}

static void on_token(void *owner, uint64_t sent_us)
{
    ck_assert_ptr_eq(owner, &told);
    told.tokens++;
    told.sent_us = sent_us;
}

static const struct sse_check_hooks hooks = {
    .header = on_header, .opened = on_opened, .token = on_token};

static struct sse_check check;

static void begin(uint32_t expect)
{
    memset(&told, 0, sizeof told);
    sse_check_init(&check, expect, &hooks, &told);
}

static void teardown(void)
{
    sse_check_finish(&check);
}

/* Append to the string, which may move. */
__attribute__((format(printf, 2, 3))) static void append(char **text, const char *format, ...)
{
    char *before = *text;
    va_list arguments;
    char *more;

    va_start(arguments, format);
    ck_assert_int_ge(vasprintf(&more, format, arguments), 0);
    va_end(arguments);
    ck_assert_int_ge(asprintf(text, "%s%s", before ? before : "", more), 0);
    free(before);
    free(more);
}

/* Return a response with this body, in chunks of this size; 0: one chunk for each piece. */
static char *response(size_t chunk, const char *const *pieces)
{
    char *body = NULL, *text = NULL;

    append(&text, HEAD);
    for (; *pieces; pieces++) {
        if (chunk == 0)
            append(&text, AS_CHUNK(*pieces));
        else
            append(&body, "%s", *pieces);
    }
    for (size_t at = 0, all = body ? strlen(body) : 0; at < all; at += chunk) {
        size_t length = all - at < chunk ? all - at : chunk;

        append(&text, "%zX\r\n%.*s\r\n", length, (int)length, body + at);
    }
    append(&text, LAST);
    free(body);
    return text;
}

#define RESPONSE(chunk, ...) response(chunk, (const char *const[]){__VA_ARGS__, NULL})

/* Feed a copy that ends where the bytes end, so that sanitizers see a read past their end. */
static bool feed(const char *text, size_t length)
{
    char *copy = malloc(length ? length : 1);
    bool fine;

    memcpy(copy, text, length);
    fine = sse_check_feed(&check, copy, length);
    free(copy);
    return fine;
}

static void expect_fine(uint32_t events)
{
    ck_assert_msg(check.problem == NULL, "%s", check.problem);
    ck_assert(sse_check_complete(&check));
    ck_assert(sse_check_close(&check));
    ck_assert_int_eq(told.opened, 1);
    ck_assert_int_eq(told.locations, 1);
    ck_assert_uint_eq((unsigned int)told.tokens, events);
}

/* Feed the text cut at each byte, and byte by byte; expect these events. */
static void expect_taken(char *text, uint32_t events)
{
    size_t length = strlen(text);

    for (size_t cut = 0; cut <= length; cut++) {
        begin(events);
        ck_assert_msg(feed(text, cut), "%s", check.problem);
        ck_assert(sse_check_begun(&check) == (cut > 0));
        ck_assert(sse_check_complete(&check) == (cut == length));
        ck_assert_msg(feed(text + cut, length - cut), "%s", check.problem);
        expect_fine(events);
    }
    begin(events);
    for (size_t at = 0; at < length; at++)
        ck_assert_msg(feed(text + at, 1), "%s", check.problem);
    expect_fine(events);
    free(text);
}

static void expect_problem(const char *problem)
{
    ck_assert_ptr_nonnull(check.problem);
    ck_assert_msg(strstr(check.problem, problem), "'%s' is not in '%s'", problem, check.problem);
    ck_assert(!sse_check_complete(&check));
    ck_assert(!sse_check_close(&check));
    teardown();
}

/* Check that the text is refused for this reason, whole and byte by byte, and that no byte is taken
 * after. */
static void expect_refused(uint32_t events, char *text, const char *problem)
{
    size_t length = strlen(text);
    bool fine = true;

    begin(events);
    ck_assert(!feed(text, length));
    ck_assert(!feed("x", 1));
    expect_problem(problem);
    begin(events);
    for (size_t at = 0; at < length; at++)
        fine = feed(text + at, 1) && fine;
    ck_assert(!fine);
    expect_problem(problem);
    free(text);
}

/* Replace the only occurrence of old. */
static char *with(char *text, const char *what, const char *by)
{
    char *at = strstr(text, what), *changed = NULL;

    ck_assert_ptr_nonnull(at);
    append(&changed, "%.*s%s%s", (int)(at - text), text, by, at + strlen(what));
    free(text);
    return changed;
}

static char *plain(void)
{
    return RESPONSE(0, THREE, DONE);
}

CASES("taken", .teardown = teardown);

CASE(taken)
{
    expect_taken(plain(), 3);
    ck_assert_uint_eq(told.sent_us, UINT64_C(1764038888123456));
}

CASE(no_events)
{
    expect_taken(RESPONSE(0, DONE), 0);
}

CASE(any_chunks)
{
    for (size_t chunk = 1; chunk < 300; chunk += chunk < 20 ? 1 : 37)
        expect_taken(RESPONSE(chunk, THREE, DONE), 3);
}

CASE(more_than_events)
{
    expect_taken(RESPONSE(0, ": hello\n\n", "retry: 1000\nid: r.0\n\n",
                          "event: run\ndata: {\"run\":\"r\"}\nid: r.1\n\n", TOKEN("0000001"), ":\n",
                          "id: r.2\n\n", DONE),
                 1);
}

CASE(order_of_fields)
{
    expect_taken(RESPONSE(0, "data: " DATA("0000001") "\nevent: token\nid: 1\n\n",
                          "event:token\ndata:" DATA("0000002") "\n\n",
                          "data: {\"status\":\"finished\",\"result\":{}}\nid: 3\nevent: done\n\n"),
                 2);
}

CASE(crlf)
{
    expect_taken(RESPONSE(0, "event: token\r\ndata: " DATA("0000001") "\r\n\r\n", DONE), 1);
}

CASE(numbers_carry)
{
    const char *pieces[12] = {[10] = DONE};
    char *events[10];

    for (int i = 0; i < 10; i++) {
        events[i] = NULL;
        append(&events[i],
               "event: token\ndata: {\"n\":\"%07d\",\"t\":\"1764038888123456\","
               "\"pad\":\"xxxxxxxxxxxxxxxxx\"}\n\n",
               i + 1);
        pieces[i] = events[i];
    }
    expect_taken(response(0, pieces), 10);
    for (int i = 0; i < 10; i++)
        free(events[i]);
}

CASE(gap)
{
    char *text = RESPONSE(0, "event: gap\ndata: {\"from\":1,\"to\":7}\nid: r.7\n\n",
                          TOKEN("0000007"), TOKEN("0000008"), DONE);

    begin(8);
    sse_check_allow_gap(&check);
    ck_assert_msg(feed(text, strlen(text)), "%s", check.problem);
    expect_fine(2);
    ck_assert_uint_eq(check.skipped, 6);
    expect_refused(8, text, "a gap after 0 events");
}

CASE(second_response)
{
    char *text = plain();

    begin(3);
    ck_assert(!feed("HTTP/1.1 500 No\r\n", 17));
    sse_check_finish(&check);
    expect_taken(text, 3);
}

CASES("refused");

CASE(lost)
{
    expect_refused(3, RESPONSE(0, TOKEN("0000001"), TOKEN("0000003"), DONE),
                   "event 0000002 was due, number 2 of this stream, but n is 3: events are lost");
    expect_refused(3, RESPONSE(0, TOKEN("0000001"), TOKEN("0000002"), DONE),
                   "done after 2 events instead of 3");
}

CASE(doubled)
{
    expect_refused(3, RESPONSE(0, TOKEN("0000001"), TOKEN("0000001"), TOKEN("0000002"), DONE),
                   "n is 1: it came twice");
    expect_refused(2, RESPONSE(0, THREE, DONE), "event 0000003 came, though there should be 2");
}

CASE(swapped)
{
    expect_refused(3, RESPONSE(0, TOKEN("0000001"), TOKEN("0000003"), TOKEN("0000002"), DONE),
                   "n is 3: events are lost or swapped");
}

/* Any byte of the data may be wrong, except the digits of t, which differ by nature. */
CASE(byte_changed)
{
    char *text = plain();
    const char *first = strstr(text, "data: ") + 6;

    for (int i = 0; i < DATA_LENGTH; i++) {
        char *changed = strdup(text);

        changed[first - text + i] ^= 0x40;
        begin(3);
        ck_assert_msg(!feed(changed, strlen(changed)), "byte %d", i);
        ck_assert_msg(strstr(check.problem, "event 1 has wrong data: "), "%s", check.problem);
        teardown();
        free(changed);
    }
    free(text);
}

CASE(data_cut)
{
    expect_refused(
        1, RESPONSE(0, "event: token\ndata: {\"n\":\"0000001\",\"t\":\"1764038888123456\"}\n\n"),
        "event 1 has 38 bytes of data instead of 64");
    expect_refused(1, RESPONSE(0, "event: token\n\n"), "event 1 has no data");
    expect_refused(1, RESPONSE(0, "event: token\ndata: " DATA("0000001") "x\n\n"),
                   "event 1 has 65 bytes of data instead of 64");
}

CASE(time_falls)
{
    expect_refused(
        2, with(RESPONSE(0, TOKEN("0000001"), TOKEN("0000002"), DONE), "8888123456", "9888123456"),
        "event 0000002 was sent before the one before it");
}

CASE(fields)
{
    expect_refused(1, RESPONSE(0, "event: token\nevent: token\n"), "more than one type");
    expect_refused(1, RESPONSE(0, "data: 1\ndata: 2\n"), "more than one line of data");
    expect_refused(1, RESPONSE(0, "data: 1\n\n"), "one without a type");
    expect_refused(1, RESPONSE(0, "event: text\n"), "one of the type 'text'");
    expect_refused(1, RESPONSE(0, "evemt: token\n"), "a line that is none of an event: evemt");
    expect_refused(1, RESPONSE(0, "retry: 1s\n"), "a line that is none of an event: retry");
    expect_refused(1, RESPONSE(0, TOKEN("0000001"), "event: run\ndata: {}\n\n"),
                   "an event 'run' after 1 events");
}

CASE(long_line)
{
    char *line = NULL;

    append(&line, ":%0*d", SSE_CHECK_LINE_MAX, 0);
    begin(1);
    ck_assert(feed(HEAD "1000\r\n", strlen(HEAD) + 6));
    ck_assert(!feed(line, strlen(line)));
    expect_problem("a line is longer than");
    free(line);
}

CASE(chunk_sizes)
{
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n60\r\n"), "where a chunk should end");
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n62\r\n"), "where a chunk should end");
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n6g\r\n"), "where a chunk's size should be");
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n\r\n"), "where a chunk's size should be");
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n61\rx"), "where a chunk's size should end");
    expect_refused(3, with(plain(), "\r\n61\r\n", "\r\n0000000000061\r\n"),
                   "a chunk's size has more than 12 digits");
}

CASE(no_done)
{
    expect_refused(3, RESPONSE(0, THREE), "the last chunk after 3 events, without done");
    expect_refused(3, RESPONSE(0, THREE, "event: done\n"), "the last chunk after 3 events");
}

CASE(other_done)
{
    expect_refused(0, RESPONSE(0, "event: done\n\n"), "done after 0 events, without data");
    expect_refused(0, RESPONSE(0, "event: done\ndata: {\"status\":\"failed\"}\n\n"),
                   "done after 0 events, not finished: {\"status\":\"failed\"}");
    expect_refused(0, RESPONSE(0, "event: done\ndata: {\"status\":\"finished\"\n\n"),
                   "not finished");
    expect_refused(0, RESPONSE(0, "event: done\ndata: " DATA("0000001") "\n\n"),
                   "done has the data of event 0000001");
}

CASE(behind_done)
{
    expect_refused(3, RESPONSE(0, THREE, DONE, DONE), "bytes behind done");
    expect_refused(3, RESPONSE(0, THREE, DONE, "\n"), "bytes behind done");
    expect_refused(3, RESPONSE(0, THREE, DONE ":\n"), "bytes behind done");
}

/* Bytes after a complete response are refused. */
CASE(behind_last_chunk)
{
    char *text = plain();

    append(&text, "HTTP");
    begin(3);
    ck_assert(!feed(text, strlen(text)));
    expect_problem("4 bytes behind the last chunk");
    free(text);
    expect_refused(3, with(plain(), LAST, "0\r\nTrailer: 1\r\n\r\n"),
                   "where the last chunk should end");
}

CASE(head)
{
    expect_refused(3, with(plain(), "200 OK", "500 No"), "the status line is: HTTP/1.1 500 No");
    expect_refused(3, with(plain(), "200 OK", "2000"), "the status line is");
    expect_refused(3, with(plain(), "HTTP/1.1", "HTTP/1.0"), "the status line is: HTTP/1.0");
    expect_refused(3, with(plain(), "text/event-stream", "text/plain"), "no text/event-stream");
    expect_refused(3, with(plain(), "chunked", "gzip"), "the response is not chunked");
    expect_refused(3, with(plain(), "OK\r\n", "OK\n"), "does not end with CRLF");
}

CASE(truncated)
{
    char *text = plain();

    for (size_t length = 0; length < strlen(text); length++) {
        begin(3);
        ck_assert(feed(text, length));
        ck_assert(!sse_check_close(&check));
        ck_assert_msg(strncmp(check.problem, "the connection ended ", 21) == 0, "%s",
                      check.problem);
        teardown();
    }
    begin(3);
    ck_assert(feed(text, strlen(text) - strlen(DONE "0\r\n\r\n\r\n") - 1));
    ck_assert(!sse_check_close(&check));
    expect_problem("after 3 events");
    free(text);
}
