/*
 * Any lines, each a type and a JSON value, are the events of a run. What an encoder makes of
 * them, and their document, is JSON whatever their members are.
 */
#include "fuzz.h"

#include "base/json.h"
#include "run/eventlog.h"
#include "terms.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_MAX 64

/* Set the event of a line; false if it is none. */
static bool read_event(const char *line, size_t length, struct event *event)
{
    const char *space = memchr(line, ' ', length);

    if (space == NULL || space == line || space - line > TYPE_MAX)
        return false;
    *event = (struct event){.type = line, .type_length = (size_t)(space - line)};
    for (size_t i = 0; i < event->type_length; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyz_", line[i]) || line[i] == '\0')
            return false;
    }
    event->json = space + 1;
    event->json_length = length - event->type_length - 1;
    return json_check(event->json, event->json_length) == (ssize_t)event->json_length;
}

static void append(struct eventlog *log, struct event *event)
{
    bool reserved = eventlog_reserve(log, event);

    assert(reserved);
    eventlog_append(log, event);
}

/* Append done as the host makes it: with the event's JSON as a result, or as an error's message. */
static void append_done(struct eventlog *log, const struct event *result)
{
    struct event done = {.type = "done", .type_length = strlen("done")};
    struct buf json = {0};

    if (result->type_length == 0) {
        buf_puts(&json, "{\"status\":\"cancelled\"}");
    } else if (event_is(result, "failed")) {
        buf_puts(&json,
                 "{\"status\":\"failed\",\"error\":{\"code\":\"agent_error\",\"message\":\"");
        buf_commit(&json, json_escape(buf_reserve(&json, 6 * result->json_length), result->json,
                                      result->json_length));
        buf_puts(&json, "\"}}");
    } else {
        buf_puts(&json, "{\"status\":\"finished\",\"result\":");
        buf_append(&json, result->json, result->json_length);
        buf_puts(&json, "}");
    }
    done.json = buf_data(&json);
    done.json_length = buf_length(&json);
    append(log, &done);
    buf_finish(&json);
}

/* A line of type done or failed is the last. */
static struct eventlog *read_events(const char *text, size_t size)
{
    struct eventlog *log = eventlog_create();
    const char *end = text + size, *line, *next;
    struct event event, result = {.type_length = 0};

    for (line = text; line < end && result.type_length == 0; line = next + 1) {
        next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL)
            next = end;
        if (!read_event(line, (size_t)(next - line), &event))
            continue;
        if (event_is(&event, "done") || event_is(&event, "failed"))
            result = event;
        else
            append(log, &event);
    }
    append_done(log, &result);
    return log;
}

static void check_json(const char *json, size_t length)
{
    while (length > 0 && json[length - 1] == '\n')
        length--;
    assert(json_check(json, length) >= 0);
}

/* Each line of data is JSON, but for a mark of the end or of the beginning. */
static void check_frames(const struct buf *frames)
{
    static const char data[] = "data: ";
    const char *at = buf_data(frames), *end = at + buf_length(frames), *line;

    for (; at < end; at = line + 1) {
        size_t length;
        line = memchr(at, '\n', (size_t)(end - at));
        assert(line);
        length = (size_t)(line - at);
        if (length < strlen(data) || memcmp(at, data, strlen(data)) != 0)
            continue;
        at += strlen(data);
        length -= strlen(data);
        if (length > 0 && !(length == 6 && memcmp(at, "[DONE]", 6) == 0))
            check_json(at, length);
    }
}

static void fold(const struct encoder *encoder, const struct encoding *encoding)
{
    void *state = calloc(1, encoder->state_size + 1);
    struct log_cursor cursor = encoding->log->start;
    struct buf frames = {0}, scratch = {0};
    struct event event = {.kind = EVENT_OTHER};
    bool goes_on = true;

    if (encoder->begin)
        encoder->begin(state, encoding, 0, &frames);
    while (goes_on && event.kind != EVENT_done) {
        eventlog_read(encoding->log, &cursor, &scratch, &event);
        encoder->event(state, encoding, &event, &frames);
        if (event.kind == EVENT_input_request && encoder->question)
            goes_on = encoder->question(state, encoding) == QUESTION_GOES_ON;
    }
    if (goes_on && encoder->end)
        encoder->end(state, encoding, &frames);
    check_frames(&frames);
    buf_finish(&frames);
    buf_finish(&scratch);
    free(state);
}

static bool take(void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return true;
}

static void collect(const struct document_encoder *encoder, const struct encoding *encoding)
{
    const struct document_room room = {.take = take};
    struct document document = {.asked = 0};
    struct log_cursor cursor = encoding->log->start;
    struct buf answer = {0}, scratch = {0};
    struct event event = {.kind = EVENT_OTHER};
    unsigned status;

    while (event.kind != EVENT_done) {
        eventlog_read(encoding->log, &cursor, &scratch, &event);
        if (event.kind == EVENT_input_request && encoder->question == QUESTION_GOES_ON)
            continue;
        document_add(&document, encoder->keeps, &event, &room);
        if (event.kind == EVENT_input_request)
            break;
    }
    status = encoder->end(&document, encoding, &answer);
    assert(status >= 200 && status < 600);
    check_json(buf_data(&answer), buf_length(&answer));
    buf_finish(&answer);
    buf_finish(&scratch);
    document_finish(&document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct run_identity run = {.id = "7q3vj5k8m2n4p6r9s1t0w2xyzh", .agent = "a"};
    struct eventlog *log = read_events((const char *)data, size);

    for (unsigned i = 0; i < TERMS_ENCODERS; i++) {
        const struct encoder *encoder = terms_encoder(i);
        for (unsigned which = 0; which < TERMS_WAYS; which++) {
            struct encoding encoding = {.run = &run, .log = log};
            struct buf terms = {0};
            terms_make(encoder, which, &terms);
            if (buf_length(&terms) > 0) {
                encoding.terms = buf_data(&terms);
                encoding.terms_size = buf_length(&terms);
            }
            fold(encoder, &encoding);
            if (encoder->document)
                collect(encoder->document, &encoding);
            buf_finish(&terms);
        }
    }
    eventlog_destroy(log);
    return 0;
}
