/*
 * A call of a tool is a run. Its answer is a stream of JSON-RPC messages:
 *
 *     notifications/progress    for what the agent says, if the client gave a progress token
 *     elicitation/create        a question, as a request to the client; only of 2025
 *     the response              the result, with the whole text; or, in 2026, input_required
 *
 * Progress must grow: it is the event's number. Progress for each token of a model would be
 * too much for most clients, so text is gathered (encoder.h). The response is made of the
 * whole log, which the encoder recalls.
 *
 * In 2025, each frame has an id, RUN.N, by which the client resumes its stream; N is the
 * event's number. A question's frame has the same id as its request, so the client's answer
 * names the question. In 2026, requestState names it likewise, and the answer ends there.
 */
#include "protocol/mcp.h"

#include "base/json.h"
#include "protocol/pieces.h"
#include "run/eventlog.h"

#include <inttypes.h>
#include <string.h>

struct call {
    unsigned flags;
    struct piece id, token; /* JSON */
};

void mcp_terms(struct buf *terms, unsigned flags, const char *id, size_t id_length,
               const char *token, size_t token_length)
{
    char letter = (char)('0' + flags);

    buf_append(terms, &letter, 1);
    buf_append(terms, id, id_length);
    buf_append(terms, "\t", 1);
    buf_append(terms, token, token_length);
}

/* Without terms, who looks at a run sees what a client of 2025-11-25 with all abilities would. */
static struct call call_of(const struct encoding *encoding)
{
    const char *terms = encoding->terms ? encoding->terms : "71\t1";
    size_t length = encoding->terms ? encoding->terms_size : strlen(terms);
    const char *end = memchr(terms, '\t', length);

    return (struct call){.flags = (unsigned)(*terms - '0'),
                         .id = {terms + 1, (size_t)(end - terms) - 1},
                         .token = {end + 1, length - (size_t)(end - terms) - 1}};
}

/* Return the member's value as it stands in the JSON; of length 0 if there is none. */
static struct piece member(const char *json, size_t length, const char *name)
{
    struct piece value = {"", 0};

    json_member_find(json, length, name, &value.at, &value.length);
    return value;
}

static bool member_is(const char *json, size_t length, const char *name, const char *wanted)
{
    struct piece value = member(json, length, name);

    return piece_is(&value, wanted);
}

/* Return what is between the quotes of a string; any other value is as it is. */
static struct piece inside(struct piece value)
{
    if (value.length >= 2 && value.at[0] == '"')
        return (struct piece){value.at + 1, value.length - 2};
    return value;
}

static void append(struct buf *out, struct piece piece)
{
    piece_append(&piece, out);
}

/* Append JSON as the inside of a JSON string; that of a string as it is. */
static void append_quoted(struct buf *out, struct piece json)
{
    ssize_t length;

    if (json.length > 0 && json.at[0] == '"') {
        append(out, inside(json));
        return;
    }
    length = json_escaped_length(json.at, json.length);
    if (length > 0)
        buf_commit(out, json_escape(buf_reserve(out, (size_t)length), json.at, json.length));
}

void mcp_server_info(struct buf *out, const char *name)
{
    buf_printf(out, "\"%s\":{\"name\":\"sluice\",\"version\":\"" PACKAGE_VERSION "\"}", name);
}

/* ---- frames ---- */

#define EVENT_FIELD "event: message\nid: "
#define DATA        "data: "
#define DATA_FIELD  "\n" DATA
#define END         "\n\n"

#define PROGRESS_TOKEN \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":"
#define PROGRESS_NOW  ",\"progress\":"
#define PROGRESS_SAID ",\"message\":\""
#define PROGRESS_END  "\"}}"

#define FRAME_MAX (strlen(EVENT_FIELD "." DATA_FIELD END) + RUN_ID_LENGTH + BUF_DIGITS_MAX)

static char *put_event_id(char *to, const struct run_identity *run, uint64_t sequence)
{
    to = put(to, run->id, RUN_ID_LENGTH);
    *to++ = '.';
    return buf_digits(to, sequence);
}

/* Begin a frame; END ends it. */
static char *put_frame(char *to, const struct encoding *encoding, const struct call *call,
                       uint64_t sequence)
{
    if (!(call->flags & MCP_LEGACY))
        return put(to, DATA, strlen(DATA));
    to = put(to, EVENT_FIELD, strlen(EVENT_FIELD));
    to = put_event_id(to, encoding->run, sequence);
    return put(to, DATA_FIELD, strlen(DATA_FIELD));
}

static void open_frame(struct buf *out, const struct encoding *encoding, const struct call *call,
                       uint64_t sequence)
{
    char *begin = buf_reserve(out, FRAME_MAX);

    buf_commit(out, (size_t)(put_frame(begin, encoding, call, sequence) - begin));
}

/* Append RUN.N without quotes. */
static void append_event_id(struct buf *out, const struct run_identity *run, uint64_t sequence)
{
    char *begin = buf_reserve(out, RUN_ID_LENGTH + 1 + BUF_DIGITS_MAX);

    buf_commit(out, (size_t)(put_event_id(begin, run, sequence) - begin));
}

/* said: the inside of a JSON string. */
static void progress(struct buf *out, const struct encoding *encoding, const struct call *call,
                     uint64_t sequence, struct piece said)
{
    char *begin, *to;

    if (said.length == 0)
        return;
    begin = buf_reserve(out, FRAME_MAX + BUF_DIGITS_MAX + call->token.length + said.length +
                                 strlen(PROGRESS_TOKEN PROGRESS_NOW PROGRESS_SAID PROGRESS_END));
    to = put_frame(begin, encoding, call, sequence);
    to = put(to, PROGRESS_TOKEN, strlen(PROGRESS_TOKEN));
    to = put(to, call->token.at, call->token.length);
    to = put(to, PROGRESS_NOW, strlen(PROGRESS_NOW));
    to = buf_digits(to, sequence);
    to = put(to, PROGRESS_SAID, strlen(PROGRESS_SAID));
    to = put(to, said.at, said.length);
    to = put(to, PROGRESS_END END, strlen(PROGRESS_END END));
    buf_commit(out, (size_t)(to - begin));
}

/* ---- questions ---- */

/* A form has named fields. What is asked for as anything else becomes its only one. */
#define FIELD "answer"

/* Return true if the question's schema is no form. */
static bool wants_field(struct piece schema)
{
    return !member_is(schema.at, schema.length, "type", "\"object\"");
}

/* Append the members of an elicitation's params. */
static void append_elicitation(struct buf *out, const char *json, size_t length)
{
    struct piece message = member(json, length, "message");
    struct piece schema = member(json, length, "schema");

    buf_puts(out, "\"message\":\"");
    append_quoted(out, message);
    buf_puts(out, "\",\"requestedSchema\":");
    if (wants_field(schema)) {
        buf_puts(out, "{\"type\":\"object\",\"properties\":{\"" FIELD "\":");
        append(out, schema.length > 0 ? schema : (struct piece){"{\"type\":\"string\"}", 17});
        buf_puts(out, "},\"required\":[\"" FIELD "\"]}");
    } else {
        append(out, schema);
    }
}

bool mcp_answer(const char *question, size_t question_length, const char *answer,
                size_t answer_length, struct buf *out)
{
    struct piece content = {"", 0};

    if (member_is(answer, answer_length, "action", "\"accept\""))
        content = member(answer, answer_length, "content");
    if (wants_field(member(question, question_length, "schema")))
        content = member(content.at, content.length, FIELD);
    if (content.length == 0)
        buf_puts(out, "null");
    append(out, content);
    return content.length > 0;
}

/* ---- the response ---- */

static void open_content(struct buf *out)
{
    buf_puts(out, "\"content\":[{\"type\":\"text\",\"text\":\"");
}

static void close_content(struct buf *out, bool is_error)
{
    buf_puts(out, "\"}],\"isError\":");
    buf_puts(out, is_error ? "true" : "false");
}

/* The text, or else the result, which is beside it too if it is an object. */
static void append_success(struct buf *out, const struct document *document)
{
    struct piece result = member(buf_data(&document->done), buf_length(&document->done), "result");

    open_content(out);
    if (buf_length(&document->text) > 0)
        buf_append(out, buf_data(&document->text), buf_length(&document->text));
    else
        append_quoted(out, result);
    close_content(out, false);
    if (result.length > 0 && result.at[0] == '{') {
        buf_puts(out, ",\"structuredContent\":");
        append(out, result);
    }
}

static void append_failure(struct buf *out, const struct document *document)
{
    struct piece error = member(buf_data(&document->done), buf_length(&document->done), "error");
    struct piece message = member(error.at, error.length, "message");

    open_content(out);
    if (document_outcome(document) == DOCUMENT_CANCELLED)
        buf_puts(out, "the run was cancelled");
    else if (message.length > 2)
        append_quoted(out, message);
    else
        append_quoted(out, member(error.at, error.length, "code"));
    close_content(out, true);
}

/* The client cannot put the question to a person. */
static void append_unasked(struct buf *out, const struct document *document)
{
    const char *json = buf_data(&document->question);

    open_content(out);
    append_quoted(out, member(json, buf_length(&document->question), "message"));
    buf_puts(out, " (a question to a person, which this client cannot ask: it has not declared the "
                  "capability elicitation)");
    close_content(out, true);
}

static void append_input_required(struct buf *out, const struct encoding *encoding,
                                  const struct document *document)
{
    const char *json = buf_data(&document->question);
    size_t length = buf_length(&document->question);

    buf_puts(out, "\"inputRequests\":{\"");
    append_quoted(out, member(json, length, "id"));
    buf_puts(out, "\":{\"method\":\"elicitation/create\",\"params\":{\"mode\":\"form\",");
    append_elicitation(out, json, length);
    buf_puts(out, "}}},\"requestState\":\"");
    append_event_id(out, encoding->run, document->asked);
    buf_puts(out, "\"");
}

static void append_response(struct buf *out, const struct encoding *encoding,
                            const struct call *call, const struct document *document)
{
    bool legacy = call->flags & MCP_LEGACY, ended = buf_length(&document->done) > 0;
    bool asks = !legacy && (call->flags & MCP_ASKS) && !ended;

    buf_puts(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    append(out, call->id);
    buf_puts(out, ",\"result\":{");
    if (!legacy)
        buf_puts(out, asks ? "\"resultType\":\"input_required\"," : "\"resultType\":\"complete\",");
    if (asks)
        append_input_required(out, encoding, document);
    else if (!ended)
        append_unasked(out, document);
    else if (document_outcome(document) == DOCUMENT_FINISHED)
        append_success(out, document);
    else
        append_failure(out, document);
    if (!legacy || document->truncated)
        buf_puts(out, ",\"_meta\":{");
    if (document->truncated)
        buf_puts(out, legacy ? "\"sluice/truncated\":true" : "\"sluice/truncated\":true,");
    if (!legacy)
        mcp_server_info(out, "io.modelcontextprotocol/serverInfo");
    buf_puts(out, legacy && !document->truncated ? "}}" : "}}}");
}

static void respond(struct buf *out, const struct encoding *encoding, const struct call *call,
                    uint64_t sequence)
{
    struct document document = {.asked = 0};

    document_recall(&document, 0, encoding->log, sequence);
    open_frame(out, encoding, call, sequence);
    append_response(out, encoding, call, &document);
    buf_puts(out, END);
    document_finish(&document);
}

/* ---- the stream ---- */

static void mcp_begin(void *state, const struct encoding *encoding, uint64_t after, struct buf *out)
{
    struct call call = call_of(encoding);

    (void)state;
    if (!(call.flags & MCP_LEGACY))
        return;
    if (call.flags & MCP_PRIMES) {
        buf_puts(out, "id: ");
        append_event_id(out, encoding->run, after);
        buf_puts(out, "\nretry: 1000" DATA_FIELD END);
    } else {
        buf_puts(out, "retry: 1000" END);
    }
}

static void say_delta(struct buf *out, const struct encoding *encoding, const struct call *call,
                      const struct event *event)
{
    struct piece said;

    if (piece_delta(event, &said))
        progress(out, encoding, call, event->sequence, said);
}

static void say_step(struct buf *out, const struct encoding *encoding, const struct call *call,
                     const struct event *event)
{
    struct piece status = member(event->json, event->json_length, "status");
    struct buf said = {0};

    append_quoted(&said, member(event->json, event->json_length, "name"));
    if (status.length > 0)
        buf_puts(&said, " ");
    append_quoted(&said, status);
    progress(out, encoding, call, event->sequence,
             (struct piece){buf_data(&said), buf_length(&said)});
    buf_finish(&said);
}

static void say_json(struct buf *out, const struct encoding *encoding, const struct call *call,
                     const struct event *event)
{
    struct buf said = {0};

    append_quoted(&said, (struct piece){event->json, event->json_length});
    progress(out, encoding, call, event->sequence,
             (struct piece){buf_data(&said), buf_length(&said)});
    buf_finish(&said);
}

static void say_call(struct buf *out, const struct encoding *encoding, const struct call *call,
                     const struct event *event)
{
    struct buf said = {0};

    if (member_is(event->json, event->json_length, "client", "true")) {
        say_json(out, encoding, call, event);
        return;
    }
    buf_puts(&said, "calls ");
    append_quoted(&said, member(event->json, event->json_length, "name"));
    progress(out, encoding, call, event->sequence,
             (struct piece){buf_data(&said), buf_length(&said)});
    buf_finish(&said);
}

static enum encoder_question mcp_question(const void *state, const struct encoding *encoding)
{
    struct call call = call_of(encoding);

    (void)state;
    if (!(call.flags & MCP_ASKS))
        return QUESTION_CANCELS;
    return call.flags & MCP_LEGACY ? QUESTION_GOES_ON : QUESTION_ENDS;
}

static void ask(struct buf *out, const struct encoding *encoding, const struct call *call,
                const struct event *event)
{
    if (mcp_question(NULL, encoding) != QUESTION_GOES_ON) {
        respond(out, encoding, call, event->sequence);
        return;
    }
    open_frame(out, encoding, call, event->sequence);
    buf_puts(out, "{\"jsonrpc\":\"2.0\",\"id\":\"");
    append_event_id(out, encoding->run, event->sequence);
    buf_puts(out, "\",\"method\":\"elicitation/create\",\"params\":{");
    append_elicitation(out, event->json, event->json_length);
    buf_puts(out, "}}" END);
}

static void mcp_event(void *state, const struct encoding *encoding, const struct event *event,
                      struct buf *out)
{
    struct call call = call_of(encoding);

    (void)state;
    if (call.token.length == 0 && event->kind != EVENT_input_request && event->kind != EVENT_done)
        return;
    switch (event->kind) {
    case EVENT_text:
    case EVENT_reasoning:
        say_delta(out, encoding, &call, event);
        break;
    case EVENT_step:
        say_step(out, encoding, &call, event);
        break;
    case EVENT_tool_call:
        say_call(out, encoding, &call, event);
        break;
    case EVENT_run:
    case EVENT_tool_result:
    case EVENT_usage:
        break;
    case EVENT_input_request:
        if (!event->closed || encoding->terms == NULL)
            ask(out, encoding, &call, event);
        break;
    case EVENT_done: /* also after a cancel: the client may not be the one who did it */
        respond(out, encoding, &call, event->sequence);
        break;
    default:
        say_json(out, encoding, &call, event);
        break;
    }
}

/* The response says that events are missing. */
static void mcp_gap(void *state, const struct encoding *encoding, const struct run_gap *gap,
                    struct buf *out)
{
    (void)state;
    (void)encoding;
    (void)gap;
    (void)out;
}

/* ---- the document ---- */

static unsigned document_end(const struct document *document, const struct encoding *encoding,
                             struct buf *out)
{
    struct call call = call_of(encoding);

    append_response(out, encoding, &call, document);
    buf_puts(out, "\n");
    return 200;
}

static const struct document_encoder document_mcp = {
    .content_type = "application/json",
    .question = QUESTION_CANCELS,
    .end = document_end,
};

static const struct document_encoder document_mcp_asks = {
    .content_type = "application/json",
    .question = QUESTION_ENDS,
    .end = document_end,
};

/* None but x-request-id, which whoever says some gets. */
static const char *const headers[] = {NULL};

#define STREAM                                                                                 \
    .content_type = "text/event-stream", .headers = headers, .recalls = true, .gathers = true, \
    .begin = mcp_begin, .event = mcp_event, .gap = mcp_gap, .question = mcp_question

const struct encoder encoder_mcp = {.name = "mcp", STREAM, .document = &document_mcp};
const struct encoder encoder_mcp_asks = {.name = "mcp", STREAM, .document = &document_mcp_asks};
