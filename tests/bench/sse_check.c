/*
 * Checks one streamed response, every byte of it, as it arrives in pieces of any size.
 *
 * Three layers, of which each hands on what it has unwrapped:
 *
 *     head      status 200, text/event-stream, chunked
 *     chunks    SIZE CRLF bytes CRLF … 0 CRLF CRLF, nothing behind it
 *     events    lines; a blank one ends an event
 *
 * `part` is the place in the first two. The third works on lines: one that lies whole in the bytes
 * at hand is looked at where it is, one that is cut is collected in `line`. The three lines that
 * nearly all of a stream consists of are recognized without a search for their end.
 *
 * An event's fields may come in any order. So its data is judged when it is read (is it just what
 * the next `token` must have?), and held against its type at the blank line. The events are
 *
 *     token   {"n":"0000001","t":"1764038888123456","pad":"xxxxxxxxxxxxxxxxx"}; n counts from 1,
 *             t never falls
 *     run     any data, before the first token
 *     gap     only where sse_check_allow_gap() was called, before the first token
 *     done    {"status":"finished"}, when as many tokens as expected were there; nothing follows
 *
 * Blocks without data (`retry`, `id`, comments) are no events.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vasprintf() */
#endif
#include "sse_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOKEN_LINE "event: token\n"
#define DATA_FIELD "data: "
#define FINISHED   "{\"status\":\"finished\""

#define PARTS(X)                                      \
    X(STATUS, "before the status line", feed_head)    \
    X(HEADERS, "within the head", feed_head)          \
    X(SIZE, "before a chunk's size", feed_size)       \
    X(SIZE_LF, "within a chunk's size", feed_size_lf) \
    X(BODY, "within a chunk", feed_body)              \
    X(BODY_CR, "at a chunk's end", feed_body_cr)      \
    X(BODY_LF, "at a chunk's end", feed_body_lf)      \
    X(LAST_CR, "within the last chunk", feed_last_cr) \
    X(LAST_LF, "within the last chunk", feed_last_lf) \
    X(END, "at its end", feed_surplus)                \
    X(REFUSED, "behind what was refused", feed_surplus)

enum part {
#define PART_NAME(name, where, feed) PART_##name,
    PARTS(PART_NAME)
};

enum type { TYPE_NONE, TYPE_TOKEN, TYPE_DONE, TYPE_RUN, TYPE_GAP };

enum data { DATA_NONE, DATA_TOKEN, DATA_FINISHED, DATA_OTHER };

void sse_check_init(struct sse_check *check, uint32_t expect, const struct sse_check_hooks *hooks,
                    void *owner)
{
    memset(check, 0, offsetof(struct sse_check, seen));
    check->expect = expect;
    check->hooks = hooks;
    check->owner = owner;
    memcpy(check->next, "0000001", sizeof check->next);
}

void sse_check_finish(struct sse_check *check)
{
    free(check->problem);
    check->problem = NULL;
}

void sse_check_allow_gap(struct sse_check *check)
{
    check->allow_gap = true;
}

bool sse_check_complete(const struct sse_check *check)
{
    return check->part == PART_END;
}

bool sse_check_begun(const struct sse_check *check)
{
    return check->part != PART_STATUS || check->line_length > 0;
}

__attribute__((format(printf, 2, 3))) static void refuse(struct sse_check *check,
                                                         const char *format, ...)
{
    va_list arguments;

    if (check->part == PART_REFUSED)
        return;
    check->part = PART_REFUSED;
    va_start(arguments, format);
    if (vasprintf(&check->problem, format, arguments) < 0)
        check->problem = NULL;
    va_end(arguments);
}

/* ---- events ---- */

static bool is_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static uint64_t read_digits(const char *text, size_t length)
{
    uint64_t number = 0;

    for (size_t i = 0; i < length; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    return number;
}

/* The next number, in place; as a decimal string it costs least. */
static void count_up(char digits[DATA_N_DIGITS])
{
    size_t at = DATA_N_DIGITS;

    while (at-- > 0 && digits[at]++ == '9')
        digits[at] = '0';
}

/* Return true if the data is as DATA_FORM has it from begin to end. */
static bool is_formal(const char *data, size_t begin, size_t end)
{
    return memcmp(data + begin, &DATA_FORM[begin], end - begin) == 0;
}

static bool has_token_form(const char *data, size_t length)
{
    return length == DATA_LENGTH && is_formal(data, 0, DATA_N_AT) &&
           is_digits(data + DATA_N_AT, DATA_N_DIGITS) &&
           is_formal(data, DATA_N_AT + DATA_N_DIGITS, DATA_T_AT) &&
           is_digits(data + DATA_T_AT, DATA_T_DIGITS) &&
           is_formal(data, DATA_T_AT + DATA_T_DIGITS, DATA_LENGTH);
}

static bool is_finished(const char *data, size_t length)
{
    size_t begin = strlen(FINISHED);

    return length > begin && memcmp(data, FINISHED, begin) == 0 &&
           (data[begin] == '}' || data[begin] == ',') && data[length - 1] == '}';
}

static uint8_t judge_data(struct sse_check *check, const char *data, size_t length)
{
    if (has_token_form(data, length)) {
        check->data_us = read_digits(data + DATA_T_AT, DATA_T_DIGITS);
        if (memcmp(data + DATA_N_AT, check->next, DATA_N_DIGITS) == 0)
            return DATA_TOKEN;
    }
    check->data_length = length > UINT16_MAX ? UINT16_MAX : (uint16_t)length;
    memset(check->seen, 0, sizeof check->seen);
    memcpy(check->seen, data, length < sizeof check->seen ? length : sizeof check->seen - 1);
    return is_finished(data, length) ? DATA_FINISHED : DATA_OTHER;
}

static void take_data(struct sse_check *check, const char *data, size_t length)
{
    if (check->data != DATA_NONE)
        refuse(check, "event %u has more than one line of data", check->count + 1);
    else
        check->data = judge_data(check, data, length);
}

static void take_type(struct sse_check *check, const char *type, size_t length)
{
    static const char *const types[] = {
        [TYPE_TOKEN] = "token", [TYPE_DONE] = "done", [TYPE_RUN] = "run", [TYPE_GAP] = "gap"};

    if (check->type != TYPE_NONE)
        refuse(check, "event %u has more than one type", check->count + 1);
    for (uint8_t i = TYPE_TOKEN; i <= TYPE_GAP && check->part != PART_REFUSED; i++)
        if (strlen(types[i]) == length && memcmp(types[i], type, length) == 0)
            check->type = i;
    if (check->type == TYPE_NONE)
        refuse(check, "after %u events came one of the type '%.*s'", check->count,
               (int)(length < 40 ? length : 40), type);
}

/* The data of a token is not what it should be: says in which way. */
static void refuse_data(struct sse_check *check)
{
    unsigned int due = check->count + 1;
    uint64_t n;

    if (check->data == DATA_NONE) {
        refuse(check, "event %u has no data", due);
    } else if (check->data_length != DATA_LENGTH) {
        refuse(check, "event %u has %u bytes of data instead of %d: %s", due, check->data_length,
               DATA_LENGTH, check->seen);
    } else if (!has_token_form(check->seen, DATA_LENGTH)) {
        refuse(check, "event %u has wrong data: %s", due, check->seen);
    } else {
        n = read_digits(check->seen + DATA_N_AT, DATA_N_DIGITS);
        refuse(check, "event %s was due, number %u of this stream, but n is %llu: %s", check->next,
               due, (unsigned long long)n,
               n > read_digits(check->next, DATA_N_DIGITS) ? "events are lost or swapped"
                                                           : "it came twice or late");
    }
}

/* A reader that came late has been told so: it begins with the number that it meets. */
static void begin_behind_gap(struct sse_check *check)
{
    check->after_gap = false;
    if (check->data != DATA_OTHER || !has_token_form(check->seen, check->data_length))
        return;
    check->data = DATA_TOKEN;
    memcpy(check->next, check->seen + DATA_N_AT, DATA_N_DIGITS);
    check->skipped = (uint32_t)read_digits(check->next, DATA_N_DIGITS) - 1;
}

static void end_token(struct sse_check *check)
{
    if (check->after_gap)
        begin_behind_gap(check);
    if (check->data != DATA_TOKEN)
        return refuse_data(check);
    if (check->count + check->skipped >= check->expect)
        return refuse(check, "event %s came, though there should be %u", check->next,
                      check->expect);
    if (check->data_us < check->sent_us)
        return refuse(check, "event %s was sent before the one before it: t is %llu after %llu",
                      check->next, (unsigned long long)check->data_us,
                      (unsigned long long)check->sent_us);
    check->sent_us = check->data_us;
    check->count++;
    count_up(check->next);
    if (check->hooks->token)
        check->hooks->token(check->owner, check->data_us);
}

static void end_done(struct sse_check *check)
{
    if (check->data == DATA_NONE)
        refuse(check, "done after %u events, without data", check->count);
    else if (check->data == DATA_TOKEN)
        refuse(check, "done has the data of event %s", check->next);
    else if (check->data != DATA_FINISHED)
        refuse(check, "done after %u events, not finished: %s", check->count, check->seen);
    else if (check->count + check->skipped != check->expect)
        refuse(check, "done after %u events instead of %u", check->count + check->skipped,
               check->expect);
    check->done = true;
}

static void end_gap(struct sse_check *check)
{
    if (!check->allow_gap || check->count > 0)
        refuse(check, "a gap after %u events: %s", check->count,
               check->data == DATA_OTHER ? check->seen : "");
    check->after_gap = true;
}

/* A blank line. */
static void end_event(struct sse_check *check)
{
    if (check->type == TYPE_TOKEN)
        end_token(check);
    else if (check->type == TYPE_DONE)
        end_done(check);
    else if (check->type == TYPE_GAP)
        end_gap(check);
    else if (check->type == TYPE_RUN && check->count > 0)
        refuse(check, "an event 'run' after %u events", check->count);
    else if (check->type == TYPE_NONE && check->data != DATA_NONE)
        refuse(check, "after %u events came one without a type", check->count);
    check->type = TYPE_NONE;
    check->data = DATA_NONE;
}

static bool is_field(const char *name, size_t length, const char *field)
{
    return strlen(field) == length && memcmp(name, field, length) == 0;
}

static void take_field(struct sse_check *check, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length), *end = line + length;
    size_t name = colon ? (size_t)(colon - line) : length;
    const char *value = colon ? colon + 1 : end;

    if (value < end && *value == ' ')
        value++;
    if (is_field(line, name, "data"))
        take_data(check, value, (size_t)(end - value));
    else if (is_field(line, name, "event"))
        take_type(check, value, (size_t)(end - value));
    else if (is_field(line, name, "retry") ? !is_digits(value, (size_t)(end - value))
                                           : !is_field(line, name, "id"))
        refuse(check, "after %u events came a line that is none of an event: %.*s", check->count,
               (int)(length < 80 ? length : 80), line);
}

static void take_body_line(struct sse_check *check, const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0)
        end_event(check);
    else if (line[0] != ':')
        take_field(check, line, length);
}

/* ---- head ---- */

static void take_status(struct sse_check *check, const char *line, size_t length)
{
    check->part = PART_HEADERS;
    if (length < 12 || memcmp(line, "HTTP/1.1 200", 12) != 0 || (length > 12 && line[12] != ' '))
        refuse(check, "the status line is: %.*s", (int)(length < 80 ? length : 80), line);
}

static bool starts_with(const char *line, size_t length, const char *begin)
{
    return length >= strlen(begin) && strncasecmp(line, begin, strlen(begin)) == 0;
}

static void end_head(struct sse_check *check)
{
    check->part = PART_SIZE;
    if (!check->event_stream)
        refuse(check, "the response is no text/event-stream");
    else if (!check->chunked)
        refuse(check, "the response is not chunked");
    else if (check->hooks->opened)
        check->hooks->opened(check->owner);
}

static void take_header(struct sse_check *check, const char *line, size_t length)
{
    if (length == 0)
        return end_head(check);
    check->event_stream |= starts_with(line, length, "content-type: text/event-stream");
    check->chunked |= starts_with(line, length, "transfer-encoding: chunked");
    if (check->hooks->header)
        check->hooks->header(check->owner, line, length);
}

static void take_head_line(struct sse_check *check, const char *line, size_t length)
{
    if (length == 0 || line[length - 1] != '\r')
        refuse(check, "a line of the head does not end with CRLF: %.*s",
               (int)(length < 80 ? length : 80), line);
    else if (check->part == PART_STATUS)
        take_status(check, line, length - 1);
    else
        take_header(check, line, length - 1);
}

/* ---- lines ---- */

static void take_line(struct sse_check *check, const char *line, size_t length)
{
    if (check->part == PART_BODY)
        take_body_line(check, line, length);
    else
        take_head_line(check, line, length);
}

/* Takes the rest of a line, or all that there is of it. */
static const char *collect_line(struct sse_check *check, const char *at, const char *stop)
{
    const char *newline = memchr(at, '\n', (size_t)(stop - at));
    size_t length = (size_t)((newline ? newline : stop) - at);

    if (newline && check->line_length == 0) {
        take_line(check, at, length);
        return newline + 1;
    }
    if (check->line_length + length > SSE_CHECK_LINE_MAX) {
        refuse(check, "a line is longer than %d bytes", SSE_CHECK_LINE_MAX);
        return stop;
    }
    memcpy(check->line + check->line_length, at, length);
    length += check->line_length;
    check->line_length = newline ? 0 : (uint16_t)length;
    if (newline)
        take_line(check, check->line, length);
    return newline ? newline + 1 : stop;
}

/* At the begin of a line: the usual ones, if they lie here whole. */
static const char *take_usual_line(struct sse_check *check, const char *at, const char *stop)
{
    size_t left = (size_t)(stop - at), type = strlen(TOKEN_LINE), field = strlen(DATA_FIELD);

    if (*at == '\n') {
        end_event(check);
        return at + 1;
    }
    if (left >= type && check->type == TYPE_NONE && memcmp(at, TOKEN_LINE, type) == 0) {
        check->type = TYPE_TOKEN;
        return at + type;
    }
    if (left > field + DATA_LENGTH && at[field + DATA_LENGTH] == '\n' &&
        memcmp(at, DATA_FIELD, field) == 0 && memchr(at, '\n', field + DATA_LENGTH) == NULL) {
        take_data(check, at + field, DATA_LENGTH);
        return at + field + DATA_LENGTH + 1;
    }
    return NULL;
}

static const char *feed_line(struct sse_check *check, const char *at, const char *stop)
{
    const char *next = check->line_length == 0 ? take_usual_line(check, at, stop) : NULL;

    return next ? next : collect_line(check, at, stop);
}

/* ---- chunks ---- */

static const char *feed_head(struct sse_check *check, const char *at, const char *end)
{
    return collect_line(check, at, end);
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'a' && byte <= 'f')
        return byte - 'a' + 10;
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static const char *feed_size(struct sse_check *check, const char *at, const char *end)
{
    for (int digit; at < end && (digit = hex_digit(*at)) >= 0; at++) {
        check->chunk_left = check->chunk_left * 16 + (uint64_t)digit;
        if (++check->size_digits > 12)
            refuse(check, "a chunk's size has more than 12 digits");
    }
    if (at == end || check->part == PART_REFUSED)
        return at;
    if (*at != '\r' || check->size_digits == 0)
        refuse(check, "after %u events: byte 0x%02x where a chunk's size should be", check->count,
               (unsigned char)*at);
    else
        check->part = PART_SIZE_LF;
    return at + 1;
}

/* Takes this one byte, or refuses the response. */
static const char *feed_byte(struct sse_check *check, const char *at, char byte, enum part next,
                             const char *what)
{
    if (*at != byte)
        refuse(check, "after %u events: byte 0x%02x where %s should end", check->count,
               (unsigned char)*at, what);
    else
        check->part = (uint8_t)next;
    return at + 1;
}

static const char *feed_size_lf(struct sse_check *check, const char *at, const char *end)
{
    (void)end;
    check->size_digits = 0;
    if (check->chunk_left > 0)
        return feed_byte(check, at, '\n', PART_BODY, "a chunk's size");
    if (check->done)
        return feed_byte(check, at, '\n', PART_LAST_CR, "a chunk's size");
    refuse(check, "the last chunk after %u events, without done", check->count);
    return at;
}

static const char *feed_body(struct sse_check *check, const char *at, const char *end)
{
    const char *begin = at;
    const char *stop = (uint64_t)(end - at) > check->chunk_left ? at + check->chunk_left : end;

    while (at < stop && check->part == PART_BODY) {
        if (check->done)
            refuse(check, "bytes behind done");
        else
            at = feed_line(check, at, stop);
    }
    check->chunk_left -= (uint64_t)(at - begin);
    if (check->chunk_left == 0 && check->part == PART_BODY)
        check->part = PART_BODY_CR;
    return at;
}

static const char *feed_body_cr(struct sse_check *check, const char *at, const char *end)
{
    (void)end;
    return feed_byte(check, at, '\r', PART_BODY_LF, "a chunk");
}

static const char *feed_body_lf(struct sse_check *check, const char *at, const char *end)
{
    (void)end;
    return feed_byte(check, at, '\n', PART_SIZE, "a chunk");
}

static const char *feed_last_cr(struct sse_check *check, const char *at, const char *end)
{
    (void)end;
    return feed_byte(check, at, '\r', PART_LAST_LF, "the last chunk");
}

static const char *feed_last_lf(struct sse_check *check, const char *at, const char *end)
{
    (void)end;
    return feed_byte(check, at, '\n', PART_END, "the last chunk");
}

static const char *feed_surplus(struct sse_check *check, const char *at, const char *end)
{
    refuse(check, "%zu bytes behind the last chunk", (size_t)(end - at));
    return end;
}

typedef const char *feed_part(struct sse_check *check, const char *at, const char *end);

bool sse_check_feed(struct sse_check *check, const char *bytes, size_t length)
{
    static feed_part *const feeds[] = {
#define PART_FEED(name, where, feed) [PART_##name] = feed,
        PARTS(PART_FEED)};
    const char *end = bytes + length;

    while (bytes < end && check->part != PART_REFUSED)
        bytes = feeds[check->part](check, bytes, end);
    return check->part != PART_REFUSED;
}

bool sse_check_close(struct sse_check *check)
{
    static const char *const places[] = {
#define PART_PLACE(name, where, feed) [PART_##name] = where,
        PARTS(PART_PLACE)};

    if (check->part != PART_END)
        refuse(check, "the connection ended %s, after %u events", places[check->part],
               check->count);
    return check->part == PART_END;
}
