/*
 * The state is what is open: a message, whose number is in its id, and steps, whose
 * names are kept one after the other, each with a byte before it.
 *
 * Numbers of messages must not depend on how text is packed (run/pack.h), so a text has the
 * number after that of the last event that is no text.
 *
 * Terms are the client's name for its run as it is; a UUID, which the official client sends, is
 * packed into its 16 bytes, which is why no other name of 16 bytes is kept without a NUL
 * after it. State and terms are 56 bytes then.
 */
#include "protocol/agui.h"

#include "base/json.h"
#include "protocol/pieces.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Numbers are of events, of which the low bits suffice. Counts have 1 added; 0 is unknown. */
struct agui_state {
    uint32_t last;    /* the last event that is no text */
    uint32_t message; /* that of the open part */
    uint32_t input_tokens, output_tokens;
    uint8_t part;
    uint8_t steps_length;
    char steps[AGUI_STEPS_SIZE];
};

/* Bits of a step's byte. */
#define STEP_LENGTH 0x7f
#define STEP_NOW    0x80 /* it has no status: the next one ends it */

static_assert(AGUI_STEPS_SIZE <= STEP_LENGTH, "a step's length fits into its byte");

/* ---- the client's names ---- */

#define UUID_LENGTH 36
#define UUID_BYTES  16

static const char uuid_form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
static const char hex[] = "0123456789abcdef";

/* Return false if the text is no UUID in lower case. */
static bool uuid_pack(const char *text, unsigned char bytes[UUID_BYTES])
{
    unsigned digits = 0;

    if (strlen(text) != UUID_LENGTH)
        return false;
    for (size_t i = 0; i < UUID_LENGTH; i++) {
        const char *digit = uuid_form[i] == 'x' ? strchr(hex, text[i]) : NULL;
        if (digit == NULL) {
            if (text[i] != uuid_form[i])
                return false;
            continue;
        }
        bytes[digits / 2] = (unsigned char)(bytes[digits / 2] << 4 | (digit - hex));
        digits++;
    }
    return digits == 2 * UUID_BYTES;
}

void agui_terms(const char *run_id, struct buf *terms)
{
    unsigned char bytes[UUID_BYTES];

    if (uuid_pack(run_id, bytes))
        buf_append(terms, bytes, UUID_BYTES);
    else
        buf_append(terms, run_id, strlen(run_id) + (strlen(run_id) == UUID_BYTES));
}

static void append_run_id(const struct encoding *encoding, struct buf *out)
{
    const unsigned char *bytes = encoding->terms;
    size_t length = encoding->terms_size;
    char text[UUID_LENGTH];
    unsigned digits = 0;

    if (bytes == NULL) {
        piece_quote(encoding->run->id, RUN_ID_LENGTH, out);
    } else if (length == UUID_BYTES) {
        for (size_t i = 0; i < UUID_LENGTH; i++) {
            text[i] = uuid_form[i];
            if (text[i] == 'x') {
                text[i] = hex[bytes[digits / 2] >> (digits % 2 ? 0 : 4) & 15];
                digits++;
            }
        }
        piece_quote(text, UUID_LENGTH, out);
    } else {
        piece_quote((const char *)bytes, length - (bytes[length - 1] == '\0'), out);
    }
}

/* Append the frame's type, and the names of the run and its thread. */
static void begin_run_frame(const struct encoding *encoding, const char *type, struct buf *out)
{
    const char *thread = encoding->run->thread ? encoding->run->thread : encoding->run->id;

    buf_puts(out, FRAME_BEGIN);
    buf_puts(out, type);
    buf_puts(out, "\",\"threadId\":");
    piece_quote(thread, strlen(thread), out);
    buf_puts(out, ",\"runId\":");
    append_run_id(encoding, out);
}

/* ---- the begin ---- */

static void agui_begin(void *data, const struct encoding *encoding, uint64_t after, struct buf *out)
{
    (void)data;
    (void)after;
    begin_run_frame(encoding, "RUN_STARTED", out);
    buf_puts(out, FRAME_END);
}

/* ---- messages ---- */

/* Append a frame of the open message; more are members after its id. */
static void message_frame(const struct encoding *encoding, const struct agui_state *state,
                          const char *type, const char *more, struct buf *out)
{
    buf_printf(out, FRAME_BEGIN "%s\",\"messageId\":\"%s-%" PRIu32 "\"%s" FRAME_END, type,
               encoding->run->id, state->message, more);
}

static const char text_head[] = FRAME_BEGIN "TEXT_MESSAGE_CONTENT\",\"messageId\":\"";
static const char reasoning_head[] = FRAME_BEGIN "REASONING_MESSAGE_CONTENT\",\"messageId\":\"";

/* Append a delta of the open message; head is all up to its id. */
static inline void delta_frame(const struct encoding *encoding, const struct agui_state *state,
                               const char *head, size_t head_length, const struct piece *inside,
                               struct buf *out)
{
    static const char delta[] = "\",\"delta\":\"", end[] = "\"" FRAME_END;
    char *begin = buf_reserve(out, head_length + RUN_ID_LENGTH + 1 + BUF_DIGITS_MAX + sizeof delta +
                                       inside->length + sizeof end);
    char *to = put(begin, head, head_length);

    to = put(to, encoding->run->id, RUN_ID_LENGTH);
    *to++ = '-';
    to = buf_digits(to, state->message);
    to = PUT_LITERAL(to, delta);
    to = put(to, inside->at, inside->length);
    to = PUT_LITERAL(to, end);
    buf_commit(out, (size_t)(to - begin));
}

static void close_message(struct agui_state *state, const struct encoding *encoding,
                          struct buf *out)
{
    if (state->part == PART_TEXT) {
        message_frame(encoding, state, "TEXT_MESSAGE_END", "", out);
    } else if (state->part == PART_REASONING) {
        message_frame(encoding, state, "REASONING_MESSAGE_END", "", out);
        message_frame(encoding, state, "REASONING_END", "", out);
    }
    state->part = PART_NONE;
}

static void open_message(struct agui_state *state, const struct encoding *encoding, enum part part,
                         uint32_t number, struct buf *out)
{
    close_message(state, encoding, out);
    state->part = (uint8_t)part;
    state->message = number;
    if (part == PART_TEXT) {
        message_frame(encoding, state, "TEXT_MESSAGE_START", ",\"role\":\"assistant\"", out);
        return;
    }
    message_frame(encoding, state, "REASONING_START", "", out);
    message_frame(encoding, state, "REASONING_MESSAGE_START", ",\"role\":\"reasoning\"", out);
}

/* ---- steps ---- */

static void step_frame(const char *type, const char *name, size_t length, struct buf *out)
{
    buf_puts(out, FRAME_BEGIN);
    buf_puts(out, type);
    buf_puts(out, "\",\"stepName\":");
    piece_quote(name, length, out);
    buf_puts(out, FRAME_END);
}

/* Close the open step that begins with this byte of the state. */
static void close_step(struct agui_state *state, uint8_t at, struct buf *out)
{
    uint8_t length = state->steps[at] & STEP_LENGTH, after = (uint8_t)(at + 1 + length);

    step_frame("STEP_FINISHED", state->steps + at + 1, length, out);
    memmove(state->steps + at, state->steps + after, (size_t)(state->steps_length - after));
    state->steps_length = (uint8_t)(state->steps_length - 1 - length);
    /* Equal states have equal bytes. */
    memset(state->steps + state->steps_length, 0, sizeof state->steps - state->steps_length);
}

/* Return where the open step of this name begins, or, with NULL, the one that is now; else -1. */
static int find_step(const struct agui_state *state, const char *name, size_t length)
{
    for (unsigned at = 0; at < state->steps_length;
         at += 1u + ((unsigned char)state->steps[at] & STEP_LENGTH)) {
        unsigned char byte = (unsigned char)state->steps[at];
        if (name
                ? (byte & STEP_LENGTH) == length && memcmp(state->steps + at + 1, name, length) == 0
                : byte & STEP_NOW)
            return (int)at;
    }
    return -1;
}

static void close_steps(struct agui_state *state, struct buf *out)
{
    while (state->steps_length > 0)
        close_step(state, 0, out);
}

static void begin_step(struct agui_state *state, const struct buf *name, bool now, struct buf *out)
{
    size_t length = buf_length(name);
    char *at = state->steps + state->steps_length;

    step_frame("STEP_STARTED", buf_data(name), length, out);
    if (length + 1 > sizeof state->steps - state->steps_length) {
        step_frame("STEP_FINISHED", buf_data(name), length, out);
        return;
    }
    *at = (char)(length | (now ? STEP_NOW : 0));
    memcpy(at + 1, buf_data(name), length);
    state->steps_length = (uint8_t)(state->steps_length + 1 + length);
}

static void add_step(struct agui_state *state, const struct event *event, struct buf *out)
{
    struct buf name = {0};
    struct piece status;
    bool now = !piece_find(event, "status", &status), goes_on;
    int at;

    goes_on = now || piece_is(&status, "\"started\"") || piece_is(&status, "\"running\"");
    json_member_text(event->json, event->json_length, "name", &name);
    if (now && (at = find_step(state, NULL, 0)) >= 0)
        close_step(state, (uint8_t)at, out);
    at = find_step(state, buf_data(&name), buf_length(&name));
    if (at < 0)
        begin_step(state, &name, now, out);
    at = find_step(state, buf_data(&name), buf_length(&name));
    if (at >= 0 && !goes_on)
        close_step(state, (uint8_t)at, out);
    buf_finish(&name);
}

/* ---- calls and others ---- */

static void call_frame(const char *type, const struct piece *id, const char *member,
                       const struct piece *value, struct buf *out)
{
    buf_puts(out, FRAME_BEGIN);
    buf_puts(out, type);
    buf_puts(out, "\",\"toolCallId\":");
    piece_append(id, out);
    if (member) {
        buf_puts(out, member);
        piece_append_text(value, out);
    }
    buf_puts(out, FRAME_END);
}

static bool add_call(struct agui_state *state, const struct encoding *encoding,
                     const struct event *event, struct buf *out)
{
    struct piece id, name, arguments;

    if (!piece_find_kind(event, "id", '"', &id) || !piece_find_kind(event, "name", '"', &name))
        return false;
    if (!piece_find(event, "arguments", &arguments))
        arguments = (struct piece){"{}", 2};
    close_message(state, encoding, out);
    call_frame("TOOL_CALL_START", &id, ",\"toolCallName\":", &name, out);
    call_frame("TOOL_CALL_ARGS", &id, ",\"delta\":", &arguments, out);
    call_frame("TOOL_CALL_END", &id, NULL, NULL, out);
    return true;
}

static bool add_result(const struct encoding *encoding, const struct event *event, struct buf *out)
{
    struct piece id, content;

    if (!piece_find_kind(event, "id", '"', &id))
        return false;
    if (!piece_find(event, "content", &content))
        content = (struct piece){"\"\"", 2};
    buf_puts(out, FRAME_BEGIN "TOOL_CALL_RESULT\",\"messageId\":\"");
    buf_append(out, encoding->run->id, RUN_ID_LENGTH);
    buf_puts(out, "-r-");
    buf_append(out, id.at + 1, id.length - 1);
    buf_puts(out, ",\"toolCallId\":");
    piece_append(&id, out);
    buf_puts(out, ",\"content\":");
    piece_append_text(&content, out);
    buf_puts(out, ",\"role\":\"tool\"" FRAME_END);
    return true;
}

static void add_value(const char *head, const struct event *event, struct buf *out)
{
    buf_puts(out, head);
    buf_append(out, event->json, event->json_length);
    buf_puts(out, FRAME_END);
}

static void add_custom(const struct event *event, struct buf *out)
{
    buf_puts(out, FRAME_BEGIN "CUSTOM\",\"name\":\"");
    buf_append(out, event->type, event->type_length);
    add_value("\",\"value\":", event, out);
}

/* ---- the end ---- */

static void append_usage(const struct agui_state *state, struct buf *out)
{
    if (state->input_tokens == 0 && state->output_tokens == 0)
        return;
    buf_puts(out, ",\"usage\":[{");
    if (state->input_tokens > 0)
        buf_printf(out, "\"inputTokens\":%" PRIu32, state->input_tokens - 1);
    if (state->output_tokens > 0)
        buf_printf(out, "%s\"outputTokens\":%" PRIu32, state->input_tokens > 0 ? "," : "",
                   state->output_tokens - 1);
    buf_puts(out, "}]");
}

/*
 * The answer ends with a question; the next one begins after it, and counts anew. Who asked for
 * nothing is shown all answers.
 */
static void end_with_question(struct agui_state *state, const struct encoding *encoding,
                              const struct event *event, struct buf *out)
{
    struct piece message, schema;

    begin_run_frame(encoding, "RUN_FINISHED", out);
    buf_puts(out, ",\"outcome\":{\"type\":\"interrupt\",\"interrupts\":[{\"id\":\"");
    buf_append(out, encoding->run->id, RUN_ID_LENGTH);
    buf_printf(out, ".%" PRIu64 "\",\"reason\":\"input_required\"", event->sequence);
    if (piece_find_kind(event, "message", '"', &message)) {
        buf_puts(out, ",\"message\":");
        piece_append(&message, out);
    }
    if (piece_find_kind(event, "schema", '{', &schema)) {
        buf_puts(out, ",\"responseSchema\":");
        piece_append(&schema, out);
    }
    buf_puts(out, "}]}");
    append_usage(state, out);
    buf_puts(out, FRAME_END);
    state->input_tokens = state->output_tokens = 0;
    if (encoding->terms == NULL)
        agui_begin(state, encoding, event->sequence, out);
}

static void end_with_done(const struct agui_state *state, const struct encoding *encoding,
                          const struct event *event, struct buf *out)
{
    struct piece status = {.at = ""}, member = status, detail;

    piece_find(event, "status", &status);
    if (piece_is(&status, "\"failed\"")) {
        buf_puts(out, FRAME_BEGIN "RUN_ERROR\",\"message\":");
        if (piece_find(event, "error", &member) && piece_find_in(&member, "message", &detail))
            piece_append(&detail, out);
        if (piece_find_in(&member, "code", &detail)) {
            buf_puts(out, ",\"code\":");
            piece_append(&detail, out);
        }
    } else {
        begin_run_frame(encoding, "RUN_FINISHED", out);
        if (piece_find(event, "result", &member) && !piece_is(&member, "null")) {
            buf_puts(out, ",\"result\":");
            piece_append(&member, out);
        }
        buf_puts(out, piece_is(&status, "\"cancelled\"") ? ",\"outcome\":{\"type\":\"cancelled\"}"
                                                         : ",\"outcome\":{\"type\":\"success\"}");
    }
    append_usage(state, out);
    buf_puts(out, FRAME_END);
}

/* ---- the encoder ---- */

/* Append the event's frames; false if its members are not what its type says. */
static bool add_event(struct agui_state *state, const struct encoding *encoding,
                      const struct event *event, struct buf *out)
{
    struct piece piece;

    switch (event->kind) {
    case EVENT_reasoning:
        if (!piece_delta(event, &piece))
            return false;
        if (piece.length == 0)
            return true;
        if (state->part != PART_REASONING)
            open_message(state, encoding, PART_REASONING, (uint32_t)event->sequence, out);
        delta_frame(encoding, state, reasoning_head, sizeof reasoning_head - 1, &piece, out);
        return true;
    case EVENT_step:
        if (!piece_find_kind(event, "name", '"', &piece))
            return false;
        add_step(state, event, out);
        return true;
    case EVENT_tool_call:
        return add_call(state, encoding, event, out);
    case EVENT_tool_result:
        return add_result(encoding, event, out);
    case EVENT_state:
        add_value(FRAME_BEGIN "STATE_SNAPSHOT\",\"snapshot\":", event, out);
        return true;
    case EVENT_usage:
        state->input_tokens = piece_tokens(event, "input_tokens");
        state->output_tokens = piece_tokens(event, "output_tokens");
        return state->input_tokens > 0 || state->output_tokens > 0;
    case EVENT_input_request:
    case EVENT_done:
        close_message(state, encoding, out);
        close_steps(state, out);
        if (event->kind == EVENT_done)
            end_with_done(state, encoding, event, out);
        else if (!event->closed || encoding->terms == NULL)
            end_with_question(state, encoding, event, out);
        return true;
    case EVENT_run:
        return true;
    default:
        return false;
    }
}

static void agui_event(void *data, const struct encoding *encoding, const struct event *event,
                       struct buf *out)
{
    struct agui_state *state = data;
    struct piece piece;

    if (event->kind == EVENT_text) {
        if (!piece_delta(event, &piece)) {
            add_custom(event, out);
        } else if (piece.length > 0) {
            if (state->part != PART_TEXT)
                open_message(state, encoding, PART_TEXT, state->last + 1, out);
            delta_frame(encoding, state, text_head, sizeof text_head - 1, &piece, out);
        }
        return;
    }
    if (!add_event(state, encoding, event, out))
        add_custom(event, out);
    state->last = (uint32_t)event->sequence;
}

static void agui_gap(void *data, const struct encoding *encoding, const struct run_gap *gap,
                     struct buf *out)
{
    struct agui_state *state = data;

    close_message(state, encoding, out);
    state->last = (uint32_t)gap->to;
    buf_printf(out,
               FRAME_BEGIN "CUSTOM\",\"name\":\"gap\",\"value\":{\"from\":%" PRIu64
                           ",\"to\":%" PRIu64 "}" FRAME_END,
               gap->from, gap->to);
}

static enum encoder_question agui_question(const void *state, const struct encoding *encoding)
{
    (void)state;
    return encoding->terms ? QUESTION_ENDS : QUESTION_GOES_ON;
}

const struct encoder encoder_agui = {
    .name = "ag-ui",
    .content_type = "text/event-stream",
    .headers = (const char *const[]){NULL},
    .state_size = sizeof(struct agui_state),
    .begin = agui_begin,
    .event = agui_event,
    .gap = agui_gap,
    .question = agui_question,
};
