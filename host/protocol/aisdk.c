/*
 * The state is the part that is open, and which calls were made. For the latter there is room
 * for any number of them, but not for their ids: each sets CALL_BITS bits, which its id
 * chooses (a Bloom filter). So the output of a call that was made is always known as such;
 * that of another is taken for data, but for a few if there were many calls.
 *
 * Numbers of parts must not depend on how text is packed (run/pack.h), so a text has the
 * number after that of the last event that is no text.
 */
#include "protocol/aisdk.h"

#include "protocol/pieces.h"

#include <inttypes.h>
#include <string.h>

#define CALL_BITS 3
#define CALLS     256

/* Numbers are of events, of which the low bits suffice. */
struct aisdk_state {
    uint32_t last;   /* the last event that is no text */
    uint32_t number; /* that of the open part */
    uint8_t part;
    bool asks; /* the last event is a question that ends the answer */
    uint8_t calls[CALLS / 8];
};

/* ---- terms: the number, then the message's id ---- */

void aisdk_terms(uint64_t answered, const char *message_id, struct buf *terms)
{
    buf_append(terms, &answered, sizeof answered);
    if (message_id)
        buf_append(terms, message_id, strlen(message_id));
}

/* Return the number up to which questions do not end the answer. */
static uint64_t answered(const struct encoding *encoding)
{
    uint64_t number = UINT64_MAX;

    if (encoding->terms)
        memcpy(&number, encoding->terms, sizeof number);
    return number;
}

static size_t message_id_length(const struct encoding *encoding)
{
    return encoding->terms ? encoding->terms_size - sizeof(uint64_t) : 0;
}

/* ---- messages and steps ---- */

#define START_STEP FRAME_BEGIN "start-step\"" FRAME_END

static void add_start(const struct encoding *encoding, struct buf *out)
{
    size_t length = message_id_length(encoding);

    buf_puts(out, FRAME_BEGIN "start\",\"messageId\":");
    if (length > 0)
        piece_quote((const char *)encoding->terms + sizeof(uint64_t), length, out);
    else
        buf_printf(out, "\"msg-%.*s\"", RUN_ID_LENGTH, encoding->run->id);
    buf_puts(out, FRAME_END);
}

/*
 * Begin a step after one with calls that have their results. The client would take the calls of
 * its last step for new, and send their results again; it keeps a step only if something follows
 * it that it stores, which start is, and changes nothing.
 */
static void begin_step(const struct encoding *encoding, struct buf *out)
{
    buf_puts(out, START_STEP);
    add_start(encoding, out);
}

/* ---- parts ---- */

static const char *const part_names[] = {[PART_TEXT] = "text", [PART_REASONING] = "reasoning"};

/* Append -start or -end of the open part. */
static void part_frame(const struct aisdk_state *state, const char *what, struct buf *out)
{
    const char *name = part_names[state->part];

    buf_printf(out, FRAME_BEGIN "%s-%s\",\"id\":\"%s-%" PRIu32 "\"" FRAME_END, name, what, name,
               state->number);
}

static void close_part(struct aisdk_state *state, struct buf *out)
{
    if (state->part != PART_NONE)
        part_frame(state, "end", out);
    state->part = PART_NONE;
}

static void open_part(struct aisdk_state *state, enum part part, uint32_t number, struct buf *out)
{
    close_part(state, out);
    state->part = (uint8_t)part;
    state->number = number;
    part_frame(state, "start", out);
}

/* head is all up to the number. */
static inline void delta_frame(const struct aisdk_state *state, const char *head,
                               size_t head_length, const struct piece *inside, struct buf *out)
{
    static const char delta[] = "\",\"delta\":\"", end[] = "\"" FRAME_END;
    char *begin =
        buf_reserve(out, head_length + BUF_DIGITS_MAX + sizeof delta + inside->length + sizeof end);
    char *to = put(begin, head, head_length);

    to = buf_digits(to, state->number);
    to = PUT_LITERAL(to, delta);
    to = put(to, inside->at, inside->length);
    to = PUT_LITERAL(to, end);
    buf_commit(out, (size_t)(to - begin));
}

/* ---- calls ---- */

/* Return true if the bits of this id are set; set them if that is wanted. */
static bool call_is_known(struct aisdk_state *state, const struct piece *id, bool set)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    bool known = true;

    for (size_t i = 0; i < id->length; i++)
        hash = (hash ^ (unsigned char)id->at[i]) * UINT64_C(1099511628211);
    for (unsigned i = 0; i < CALL_BITS; i++) {
        unsigned bit = (unsigned)(hash >> (16 * i + 8)) % CALLS;
        known = known && state->calls[bit / 8] & 1u << bit % 8;
        if (set)
            state->calls[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
    return known;
}

static bool add_call(struct aisdk_state *state, const struct event *event, struct buf *out)
{
    struct piece id, name, arguments, client;

    if (!piece_find_kind(event, "id", '"', &id) || !piece_find_kind(event, "name", '"', &name))
        return false;
    close_part(state, out);
    call_is_known(state, &id, true);
    buf_puts(out, FRAME_BEGIN "tool-input-available\",\"toolCallId\":");
    piece_append(&id, out);
    buf_puts(out, ",\"toolName\":");
    piece_append(&name, out);
    buf_puts(out, ",\"input\":");
    if (piece_find(event, "arguments", &arguments))
        piece_append(&arguments, out);
    else
        buf_puts(out, "{}");
    buf_puts(out, ",\"dynamic\":true");
    if (!piece_find(event, "client", &client) || !piece_is(&client, "true"))
        buf_puts(out, ",\"providerExecuted\":true");
    buf_puts(out, FRAME_END);
    return true;
}

static bool add_result(struct aisdk_state *state, const struct event *event, struct buf *out)
{
    struct piece id, content;

    if (!piece_find_kind(event, "id", '"', &id) || !call_is_known(state, &id, false))
        return false;
    buf_puts(out, FRAME_BEGIN "tool-output-available\",\"toolCallId\":");
    piece_append(&id, out);
    buf_puts(out, ",\"output\":");
    if (piece_find(event, "content", &content))
        piece_append(&content, out);
    else
        buf_puts(out, "\"\"");
    buf_puts(out, ",\"dynamic\":true,\"providerExecuted\":true" FRAME_END);
    return true;
}

/* ---- others ---- */

/* id is JSON; NULL: none. */
static void add_data(const struct event *event, const struct piece *id, struct buf *out)
{
    buf_puts(out, FRAME_BEGIN "data-");
    buf_append(out, event->type, event->type_length);
    if (id) {
        buf_puts(out, "\",\"id\":");
        piece_append(id, out);
        buf_puts(out, ",\"data\":");
    } else {
        buf_puts(out, "\",\"data\":");
    }
    buf_append(out, event->json, event->json_length);
    buf_puts(out, FRAME_END);
}

static bool add_usage(const struct event *event, struct buf *out)
{
    uint64_t input, output;
    bool has_input = piece_count(event, "input_tokens", &input);
    bool has_output = piece_count(event, "output_tokens", &output);

    if (!has_input && !has_output)
        return false;
    buf_puts(out, FRAME_BEGIN "message-metadata\",\"messageMetadata\":{\"usage\":{");
    if (has_input)
        buf_printf(out, "\"inputTokens\":%" PRIu64, input);
    if (has_output)
        buf_printf(out, "%s\"outputTokens\":%" PRIu64, has_input ? "," : "", output);
    buf_puts(out, "}}" FRAME_END);
    return true;
}

/* ---- the end ---- */

#define FINISH_STEP FRAME_BEGIN "finish-step\"" FRAME_END
#define DONE        "data: [DONE]\n\n"

static void end_step(const char *reason, struct buf *out)
{
    buf_puts(out, FINISH_STEP FRAME_BEGIN "finish\",\"finishReason\":\"");
    buf_puts(out, reason);
    buf_puts(out, "\"" FRAME_END DONE);
}

static void add_question(struct aisdk_state *state, const struct encoding *encoding,
                         const struct event *event, struct buf *out)
{
    struct buf id = {0};

    close_part(state, out);
    buf_printf(&id, "\",\"toolCallId\":\"%.*s.%" PRIu64 "\"", RUN_ID_LENGTH, encoding->run->id,
               event->sequence);
    buf_puts(out, FRAME_BEGIN "tool-input-available");
    buf_append(out, buf_data(&id), buf_length(&id));
    buf_puts(out, ",\"toolName\":\"input\",\"input\":");
    buf_append(out, event->json, event->json_length);
    buf_puts(out, ",\"dynamic\":true" FRAME_END);
    state->asks = !event->closed && event->sequence > answered(encoding);
    if (state->asks) {
        end_step("tool-calls", out);
    } else if (encoding->terms) {
        buf_puts(out, FRAME_BEGIN "tool-output-available");
        buf_append(out, buf_data(&id), buf_length(&id));
        buf_puts(out, ",\"output\":null,\"dynamic\":true" FRAME_END FINISH_STEP);
        begin_step(encoding, out);
    }
    buf_finish(&id);
}

static void add_done(struct aisdk_state *state, const struct event *event, struct buf *out)
{
    struct piece status, member, message;

    close_part(state, out);
    if (!piece_find(event, "status", &status))
        return;
    if (piece_is(&status, "\"cancelled\"")) {
        buf_puts(out, FRAME_BEGIN "abort\"" FRAME_END DONE);
    } else if (piece_is(&status, "\"failed\"")) {
        buf_puts(out, FRAME_BEGIN "error\",\"errorText\":");
        if (piece_find(event, "error", &member) && piece_find_in(&member, "message", &message))
            piece_append(&message, out);
        else
            buf_puts(out, "\"\"");
        buf_puts(out, FRAME_END DONE);
    } else {
        if (piece_find(event, "result", &member) && !piece_is(&member, "null")) {
            buf_puts(out, FRAME_BEGIN "data-result\",\"data\":");
            piece_append(&member, out);
            buf_puts(out, FRAME_END);
        }
        end_step("stop", out);
    }
}

/* ---- the encoder ---- */

static void aisdk_begin(void *data, const struct encoding *encoding, uint64_t after,
                        struct buf *out)
{
    (void)data;
    (void)after;
    add_start(encoding, out);
    if (message_id_length(encoding) > 0)
        begin_step(encoding, out);
    else
        buf_puts(out, START_STEP);
}

/* Append the event's frames; false if its members are not what its type says. */
static bool add_event(struct aisdk_state *state, const struct encoding *encoding,
                      const struct event *event, struct buf *out)
{
    static const char reasoning[] = FRAME_BEGIN "reasoning-delta\",\"id\":\"reasoning-";
    static const struct piece state_id = {"\"state\"", 7};
    struct piece piece;

    switch (event->kind) {
    case EVENT_reasoning:
        if (!piece_delta(event, &piece))
            return false;
        if (piece.length == 0)
            return true;
        if (state->part != PART_REASONING)
            open_part(state, PART_REASONING, (uint32_t)event->sequence, out);
        delta_frame(state, reasoning, sizeof reasoning - 1, &piece, out);
        return true;
    case EVENT_step:
        if (!piece_find_kind(event, "name", '"', &piece))
            return false;
        add_data(event, &piece, out);
        return true;
    case EVENT_state:
        add_data(event, &state_id, out);
        return true;
    case EVENT_tool_call:
        return add_call(state, event, out);
    case EVENT_tool_result:
        return add_result(state, event, out);
    case EVENT_usage:
        return add_usage(event, out);
    case EVENT_input_request:
        add_question(state, encoding, event, out);
        return true;
    case EVENT_done:
        add_done(state, event, out);
        return true;
    case EVENT_run:
        return true;
    default:
        return false;
    }
}

static void aisdk_event(void *data, const struct encoding *encoding, const struct event *event,
                        struct buf *out)
{
    static const char text[] = FRAME_BEGIN "text-delta\",\"id\":\"text-";
    struct aisdk_state *state = data;
    struct piece piece;

    if (event->kind == EVENT_text) {
        if (!piece_delta(event, &piece)) {
            add_data(event, NULL, out);
        } else if (piece.length > 0) {
            if (state->part != PART_TEXT)
                open_part(state, PART_TEXT, state->last + 1, out);
            delta_frame(state, text, sizeof text - 1, &piece, out);
        }
        return;
    }
    if (!add_event(state, encoding, event, out))
        add_data(event, NULL, out);
    state->last = (uint32_t)event->sequence;
}

static void aisdk_gap(void *data, const struct encoding *encoding, const struct run_gap *gap,
                      struct buf *out)
{
    struct aisdk_state *state = data;

    (void)encoding;
    close_part(state, out);
    state->last = (uint32_t)gap->to;
    buf_printf(
        out, FRAME_BEGIN "data-gap\",\"data\":{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}" FRAME_END,
        gap->from, gap->to);
}

static enum encoder_question aisdk_question(const void *data, const struct encoding *encoding)
{
    const struct aisdk_state *state = data;

    (void)encoding;
    return state->asks ? QUESTION_ENDS : QUESTION_GOES_ON;
}

const struct encoder encoder_aisdk = {
    .name = "ai-sdk",
    .content_type = "text/event-stream",
    .headers = (const char *const[]){"x-vercel-ai-ui-message-stream", "v1", NULL},
    .state_size = sizeof(struct aisdk_state),
    .begin = aisdk_begin,
    .event = aisdk_event,
    .gap = aisdk_gap,
    .question = aisdk_question,
};
