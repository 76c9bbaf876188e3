/*
 * Any bytes are a message of a client of MCP, a header, an answer to a question, or the JSON of an
 * event. What is read lies in the text; each frame of an event whose JSON is valid and compact, as
 * the worker makes it, is valid JSON.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/why.h"
#include "protocol/mcp.h"
#include "protocol/mcp_request.h"
#include "run/eventlog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *header(void *data, const char *name)
{
    (void)name;
    return data;
}

static void check_slice(struct mcp_json value, const char *text, size_t length)
{
    if (value.length == 0)
        return;
    assert(value.at >= text && value.at + value.length <= text + length);
    assert(json_check(value.at, value.length) >= 0);
}

static void check_message(const char *text, size_t length)
{
    struct mcp_message message;
    struct why why = {0};

    if (mcp_read(text, length, &message, &why) == 0) {
        check_slice(message.id, text, length);
        check_slice(message.arguments, text, length);
        check_slice(message.token, text, length);
        check_slice(message.cancelled, text, length);
        check_slice(message.responses, text, length);
        check_slice(message.result, text, length);
        assert(message.id.length <= MCP_ID_MAX && message.token.length <= MCP_ID_MAX);
        mcp_params_match(text, message.arguments, header, message.name, &why);
    } else {
        assert(*why_text(&why));
    }
    why_finish(&why);
}

/* Each line of data is one message. */
static void check_frames(const struct buf *frames)
{
    const char *at = buf_data(frames), *end = at + buf_length(frames), *line;

    for (; at < end; at = line + 1) {
        size_t length;
        line = memchr(at, '\n', (size_t)(end - at));
        assert(line);
        length = (size_t)(line - at);
        if (length > strlen("data: ") && memcmp(at, "data: ", strlen("data: ")) == 0)
            assert(json_check(at + strlen("data: "), length - strlen("data: ")) >= 0);
    }
}

static void check_event(const char *type, const char *terms, const char *json, size_t length)
{
    const struct run_identity run = {.id = "7q3vj5k8m2n4p6r9s1t0w2xyzh", .agent = "a"};
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = length};
    struct eventlog *log = eventlog_create();
    const struct encoding encoding = {
        .run = &run, .log = log, .terms = terms, .terms_size = terms ? strlen(terms) : 0};
    void *state = calloc(1, encoder_mcp.state_size);
    struct buf scratch = {0}, frames = {0};
    struct log_cursor cursor;

    assert(eventlog_reserve(log, &event));
    cursor = log->start;
    eventlog_append(log, &event);
    eventlog_read(log, &cursor, &scratch, &event);
    encoder_mcp.event(state, &encoding, &event, &frames);
    if (json_check(json, length) == (ssize_t)length)
        check_frames(&frames);
    buf_finish(&frames);
    buf_finish(&scratch);
    free(state);
    eventlog_destroy(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"text",          "reasoning", "step", "tool_call",
                                        "input_request", "done",      "other"};
    static const char *const terms[] = {NULL, "31\t", "4\"a\"\t7", "01\t"};
    char *text = strndup((const char *)data, size);
    size_t length = strlen(text);
    struct buf answer = {0};

    mcp_header_is(text, "kit");
    mcp_header_is("=?base64?a2l0?=", text);
    mcp_answer(text, length, text, length, &answer);
    buf_finish(&answer);
    if (json_check(text, length) >= 0)
        check_message(text, length);
    if (!memchr(text, '\n', length) && !memchr(text, '\r', length)) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            for (size_t j = 0; j < sizeof terms / sizeof *terms; j++)
                check_event(types[i], terms[j], text, length);
        }
    }
    free(text);
    return 0;
}
