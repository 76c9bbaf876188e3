/*
 * A chunk is a fixed prefix, which names the run, and a delta:
 *
 *     data: {"id":"chatcmpl-RUN","object":"chat.completion.chunk","created":N,"model":"A",
 *     "choices":[{"index":0,"delta":{...},"finish_reason":null}]}
 *
 * Calls that the client shall make are sent when the agent emits them; a client makes them when
 * finish_reason says so. The choices are empty in the last chunk alone, since clients look at
 * the first choice of each.
 */
#include "protocol/openai.h"

#include "base/json.h"
#include "protocol/pieces.h"

#include <inttypes.h>
#include <string.h>

/* Counts have 1 added; 0 is unknown. */
struct openai {
    uint32_t input_tokens, output_tokens;
    uint32_t calls; /* of the client's */
    bool has_text;
};

#define NAMES_MAX  (RUN_ID_LENGTH + BUF_DIGITS_MAX)
#define ESCAPE_MAX 6 /* bytes that JSON takes for one */

#define CHUNK_ID      "data: {\"id\":\"chatcmpl-"
#define CHUNK_CREATED "\",\"object\":\"chat.completion.chunk\",\"created\":"
#define CHUNK_MODEL   ",\"model\":\""
#define CHUNK_DELTA   "\",\"choices\":[{\"index\":0,\"delta\":{"
#define CHUNK_END     "},\"finish_reason\":null}]}\n\n"

static unsigned flags_of(const struct encoding *encoding)
{
    return encoding->terms ? (unsigned)(*(const char *)encoding->terms - '0')
                           : OPENAI_USAGE | OPENAI_EVENTS;
}

/* ---- for both protocols ---- */

bool openai_read_call(const struct piece *event, struct openai_call *call)
{
    struct piece client;

    if (!piece_find_in(event, "arguments", &call->arguments))
        call->arguments = (struct piece){"{}", 2};
    return piece_find_in(event, "client", &client) && piece_is(&client, "true") &&
           piece_find_in(event, "id", &call->id) && *call->id.at == '"' &&
           piece_find_in(event, "name", &call->name) && *call->name.at == '"';
}

void openai_append_error(const struct piece *message, const char *type, const struct piece *code,
                         struct buf *out)
{
    buf_puts(out, "{\"message\":");
    piece_append(message, out);
    buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":", type);
    piece_append(code, out);
    buf_puts(out, "}");
}

#define PIECE(text) ((struct piece){text, sizeof(text) - 1})

void openai_append_end(const struct piece *done, struct buf *out)
{
    struct piece error, message = PIECE("\"the run was cancelled\""), code = PIECE("\"cancelled\"");

    if (piece_find_in(done, "error", &error)) {
        piece_find_in(&error, "message", &message);
        piece_find_in(&error, "code", &code);
    }
    openai_append_error(&message, "agent_error", &code, out);
}

void openai_append_question(const struct encoding *encoding, const struct piece *question,
                            struct buf *out)
{
    struct piece asked = PIECE("\"\""), message;
    struct buf words = {0};

    if (piece_find_in(question, "message", &message) && *message.at == '"')
        asked = message;
    buf_append(&words, asked.at, asked.length - 1); /* without the last quote */
    buf_printf(&words,
               " (the agent asks a person, who cannot answer in this protocol; the run is "
               "/runs/%s)\"",
               encoding->run->id);
    message = (struct piece){buf_data(&words), buf_length(&words)};
    openai_append_error(&message, "agent_error", &PIECE("\"input_required\""), out);
    buf_finish(&words);
}

bool openai_result(const struct piece *done, struct buf *scratch, struct piece *inside)
{
    struct piece result;

    if (!piece_find_in(done, "result", &result) || piece_is(&result, "null"))
        return false;
    if (*result.at != '"') {
        piece_quote(result.at, result.length, scratch);
        result = (struct piece){buf_data(scratch), buf_length(scratch)};
    }
    *inside = (struct piece){result.at + 1, result.length - 2};
    return true;
}

/* ---- chunks ---- */

static size_t names_length(const struct encoding *encoding)
{
    return strlen(CHUNK_ID CHUNK_CREATED CHUNK_MODEL) + NAMES_MAX +
           ESCAPE_MAX * strlen(encoding->run->agent);
}

/* Write what names the run; return the place after it. */
static char *put_names(char *to, const struct encoding *encoding)
{
    to = PUT_LITERAL(to, CHUNK_ID);
    to = put(to, encoding->run->id, RUN_ID_LENGTH);
    to = PUT_LITERAL(to, CHUNK_CREATED);
    to = buf_digits(to, (uint64_t)encoding->run->created);
    to = PUT_LITERAL(to, CHUNK_MODEL);
    return to + json_escape(to, encoding->run->agent, strlen(encoding->run->agent));
}

static void begin_chunk(const struct encoding *encoding, struct buf *out)
{
    char *begin = buf_reserve(out, names_length(encoding));

    buf_commit(out, (size_t)(put_names(begin, encoding) - begin));
}

/* Append a chunk with one string in its delta; name is what stands before it. */
static inline void text_chunk(const struct encoding *encoding, const char *name,
                              const struct piece *inside, struct buf *out)
{
    struct buf *names = encoding->memo;
    size_t rest = strlen(CHUNK_DELTA) + strlen(name) + inside->length + strlen("\"" CHUNK_END);
    char *begin, *to;

    if (names) {
        if (buf_length(names) == 0)
            begin_chunk(encoding, names);
        begin = buf_reserve(out, buf_length(names) + rest);
        to = put(begin, buf_data(names), buf_length(names));
    } else {
        begin = buf_reserve(out, names_length(encoding) + rest);
        to = put_names(begin, encoding);
    }
    to = PUT_LITERAL(to, CHUNK_DELTA);
    to = put(to, name, strlen(name));
    to = put(to, inside->at, inside->length);
    to = PUT_LITERAL(to, "\"" CHUNK_END);
    buf_commit(out, (size_t)(to - begin));
}

#define CONTENT   "\"content\":\""
#define REASONING "\"reasoning_content\":\""

/* ---- what the agent emits ---- */

/* Append the members of a call but for its index. */
static void append_call(const struct openai_call *call, struct buf *out)
{
    buf_puts(out, "\"id\":");
    piece_append(&call->id, out);
    buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    piece_append(&call->name, out);
    buf_puts(out, ",\"arguments\":");
    piece_append_text(&call->arguments, out);
    buf_puts(out, "}}");
}

/* Return false if the call is not for the client to make. */
static bool add_call(struct openai *state, const struct encoding *encoding,
                     const struct event *event, struct buf *out)
{
    const struct piece json = {event->json, event->json_length};
    struct openai_call call;

    if (!openai_read_call(&json, &call))
        return false;
    begin_chunk(encoding, out);
    buf_printf(out, CHUNK_DELTA "\"tool_calls\":[{\"index\":%" PRIu32 ",", state->calls++);
    append_call(&call, out);
    buf_puts(out, "]" CHUNK_END);
    return true;
}

static void add_other(const struct encoding *encoding, const char *type, size_t length,
                      const struct piece *json, struct buf *out)
{
    if (!(flags_of(encoding) & OPENAI_EVENTS))
        return;
    begin_chunk(encoding, out);
    buf_puts(out, CHUNK_DELTA "},\"finish_reason\":null}],\"sluice\":{\"type\":\"");
    buf_append(out, type, length);
    buf_puts(out, "\",\"data\":");
    piece_append(json, out);
    buf_puts(out, "}}\n\n");
}

/* ---- the end ---- */

/* Append the value of `usage`, of counts with 1 added. */
static void append_usage(uint32_t input, uint32_t output, struct buf *out)
{
    uint64_t in = input ? input - 1 : 0, made = output ? output - 1 : 0;

    buf_printf(out,
               "{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64
               ",\"total_tokens\":%" PRIu64 "}",
               in, made, in + made);
}

static void add_finish(const struct openai *state, const struct encoding *encoding, struct buf *out)
{
    begin_chunk(encoding, out);
    buf_printf(out, CHUNK_DELTA "},\"finish_reason\":\"%s\"}]}\n\n",
               state->calls > 0 ? "tool_calls" : "stop");
    if ((flags_of(encoding) & OPENAI_USAGE) && (state->input_tokens || state->output_tokens)) {
        begin_chunk(encoding, out);
        buf_puts(out, "\",\"choices\":[],\"usage\":");
        append_usage(state->input_tokens, state->output_tokens, out);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

static void add_done(const struct openai *state, const struct encoding *encoding,
                     const struct event *event, struct buf *out)
{
    const struct piece done = {event->json, event->json_length};
    struct buf scratch = {0};
    struct piece status, inside;

    if (piece_find(event, "status", &status) && piece_is(&status, "\"finished\"")) {
        if (!state->has_text && state->calls == 0 && openai_result(&done, &scratch, &inside))
            text_chunk(encoding, CONTENT, &inside, out);
        buf_finish(&scratch);
        add_finish(state, encoding, out);
        return;
    }
    buf_puts(out, "data: {\"error\":");
    openai_append_end(&done, out);
    buf_puts(out, "}\n\n");
}

/* ---- the encoder ---- */

static void openai_begin(void *data, const struct encoding *encoding, uint64_t after,
                         struct buf *out)
{
    (void)data;
    if (after > 0)
        return;
    begin_chunk(encoding, out);
    buf_puts(out, CHUNK_DELTA "\"role\":\"assistant\",\"content\":\"\"" CHUNK_END);
}

static void openai_event(void *data, const struct encoding *encoding, const struct event *event,
                         struct buf *out)
{
    const struct piece json = {event->json, event->json_length};
    struct openai *state = data;
    struct piece inside;

    switch (event->kind) {
    case EVENT_text:
        if (!piece_delta(event, &inside))
            return;
        state->has_text |= inside.length > 0;
        text_chunk(encoding, CONTENT, &inside, out);
        return;
    case EVENT_reasoning:
        if (piece_delta(event, &inside))
            text_chunk(encoding, REASONING, &inside, out);
        return;
    case EVENT_usage:
        state->input_tokens = piece_tokens(event, "input_tokens");
        state->output_tokens = piece_tokens(event, "output_tokens");
        return;
    case EVENT_run:
        return;
    case EVENT_input_request:
        if (event->closed)
            return;
        buf_puts(out, "data: {\"error\":");
        openai_append_question(encoding, &json, out);
        buf_puts(out, "}\n\n");
        return;
    case EVENT_done:
        add_done(state, encoding, event, out);
        return;
    case EVENT_tool_call:
        if (add_call(state, encoding, event, out))
            return;
        break;
    default:
        break;
    }
    add_other(encoding, event->type, event->type_length, &json, out);
}

static void openai_gap(void *data, const struct encoding *encoding, const struct run_gap *gap,
                       struct buf *out)
{
    struct buf json = {0};
    struct piece piece;

    (void)data;
    buf_printf(&json, "{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}", gap->from, gap->to);
    piece = (struct piece){buf_data(&json), buf_length(&json)};
    add_other(encoding, "gap", strlen("gap"), &piece, out);
    buf_finish(&json);
}

/* Who only looks at the run ends nothing but the own view. */
static enum encoder_question openai_question(const void *state, const struct encoding *encoding)
{
    (void)state;
    return encoding->terms ? QUESTION_CANCELS : QUESTION_ENDS;
}

/* ---- the document ---- */

bool openai_next_call(struct piece *events, struct openai_call *call)
{
    while (events->length > 0) {
        struct piece event = {events->at, json_value_length(events->at, events->length)};
        size_t step = event.length + (event.length < events->length); /* and the comma */
        *events = (struct piece){events->at + step, events->length - step};
        if (openai_read_call(&event, call))
            return true;
    }
    return false;
}

void openai_append_message(const struct document *document, struct buf *out)
{
    const struct piece done = {buf_data(&document->done), buf_length(&document->done)};
    struct piece inside = {buf_data(&document->text), buf_length(&document->text)};
    struct piece events = {buf_data(&document->calls), buf_length(&document->calls)};
    struct buf scratch = {0};
    struct openai_call call;
    bool calls = openai_next_call(&events, &call);

    if (inside.length == 0 && !calls && !openai_result(&done, &scratch, &inside))
        inside = (struct piece){"", 0};
    buf_puts(out, "{\"role\":\"assistant\",\"content\":");
    if (inside.length > 0 || !calls) {
        buf_puts(out, "\"");
        piece_append(&inside, out);
        buf_puts(out, "\"");
    } else {
        buf_puts(out, "null");
    }
    if (buf_length(&document->reasoning) > 0) {
        buf_puts(out, "," REASONING);
        buf_append(out, buf_data(&document->reasoning), buf_length(&document->reasoning));
        buf_puts(out, "\"");
    }
    for (bool first = true; calls; first = false) {
        buf_puts(out, first ? ",\"tool_calls\":[{" : ",{");
        append_call(&call, out);
        calls = openai_next_call(&events, &call);
        buf_puts(out, calls ? "" : "]");
    }
    buf_puts(out, "}");
    buf_finish(&scratch);
}

static void append_completion(const struct document *document, const struct encoding *encoding,
                              struct buf *out)
{
    const struct event usage = {.json = buf_data(&document->usage),
                                .json_length = buf_length(&document->usage)};
    uint32_t input = piece_tokens(&usage, "input_tokens"),
             output = piece_tokens(&usage, "output_tokens");
    struct piece events = {buf_data(&document->calls), buf_length(&document->calls)};
    struct openai_call call;
    bool called = openai_next_call(&events, &call);

    buf_printf(out,
               "{\"id\":\"chatcmpl-%s\",\"object\":\"chat.completion\",\"created\":%" PRId64
               ",\"model\":",
               encoding->run->id, encoding->run->created);
    json_append_string(out, encoding->run->agent);
    buf_puts(out, ",\"choices\":[{\"index\":0,\"message\":");
    openai_append_message(document, out);
    buf_printf(out, ",\"logprobs\":null,\"finish_reason\":\"%s\"}]",
               called                ? "tool_calls"
               : document->truncated ? "length"
                                     : "stop");
    if (input || output) {
        buf_puts(out, ",\"usage\":");
        append_usage(input, output, out);
    }
    buf_puts(out, "}\n");
}

unsigned openai_document_error(const struct document *document, const struct encoding *encoding,
                               struct buf *out)
{
    const struct piece done = {buf_data(&document->done), buf_length(&document->done)};
    const struct piece question = {buf_data(&document->question), buf_length(&document->question)};

    buf_puts(out, "{\"error\":");
    if (done.length > 0)
        openai_append_end(&done, out);
    else
        openai_append_question(encoding, &question, out);
    buf_puts(out, "}\n");
    return done.length > 0 ? document_status(document) : 409;
}

static unsigned document_end(const struct document *document, const struct encoding *encoding,
                             struct buf *out)
{
    if (buf_length(&document->done) == 0 || document_outcome(document) != DOCUMENT_FINISHED)
        return openai_document_error(document, encoding, out);
    append_completion(document, encoding, out);
    return 200;
}

static const struct document_encoder document_openai = {
    .content_type = "application/json",
    .keeps = DOCUMENT_REASONING | DOCUMENT_CALLS,
    .question = QUESTION_CANCELS,
    .end = document_end,
};

/* The official clients send a request again whose answer is an error, unless told not to. */
const char *const openai_headers[] = {"x-should-retry", "false", NULL};

const struct encoder encoder_openai = {
    .name = "openai",
    .content_type = "text/event-stream",
    .headers = openai_headers,
    .state_size = sizeof(struct openai),
    .begin = openai_begin,
    .event = openai_event,
    .gap = openai_gap,
    .question = openai_question,
    .document = &document_openai,
};
