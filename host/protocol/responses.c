/*
 * The state is the open item and the number of the next frame. An item's text is said again
 * when the item is closed, and all items in the last frame: they are recalled from the log. If
 * the log has forgotten the first of them, the last frame has no output, and clients that keep
 * one make it of the items that they got.
 *
 * How text is packed must not change later numbers, so a frame of text counts all the events
 * that it stands for.
 */
#include "protocol/responses.h"

#include "base/json.h"
#include "protocol/openai.h"
#include "protocol/pieces.h"
#include "protocol/responses_item.h"
#include "run/eventlog.h"

#include <inttypes.h>
#include <string.h>

/* Counts of tokens have 1 added; 0 is unknown. */
struct responses {
    uint32_t next;  /* number of the next frame */
    uint32_t last;  /* number of the last event; 0 if those before are dropped, too */
    uint32_t first; /* number of the open item's first event */
    uint32_t items; /* that were begun; an item's index is in its id */
    uint32_t input_tokens, output_tokens;
    uint8_t part; /* of the open item */
    bool has_text;
    bool has_calls;
};

static struct responses_terms terms_of(const struct encoding *encoding)
{
    struct responses_terms terms = {.from = 0};

    if (encoding->terms)
        memcpy(&terms, encoding->terms, sizeof terms);
    return terms;
}

/* ---- the response object ---- */

struct usage {
    uint32_t input, output;
};

static void append_usage(const struct usage *usage, struct buf *out)
{
    uint64_t in = usage->input ? usage->input - 1 : 0, made = usage->output ? usage->output - 1 : 0;

    if (usage->input == 0 && usage->output == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_printf(out,
               "{\"input_tokens\":%" PRIu64
               ",\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":%" PRIu64
               ",\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%" PRIu64 "}",
               in, made, in + made);
}

/* error: an object, or NULL. output: items with commas between, or NULL, if they are unknown. */
static void append_response(const struct encoding *encoding, const char *status,
                            const struct buf *error, const struct buf *output,
                            const struct usage *usage, struct buf *out)
{
    bool incomplete = strcmp(status, "incomplete") == 0;

    buf_printf(out,
               "{\"id\":\"" RESPONSES_ID "%s\",\"object\":\"response\",\"created_at\":%" PRId64
               ",\"status\":\"%s\",\"error\":",
               encoding->run->id, encoding->run->created, status);
    buf_puts(out, error ? "" : "null");
    if (error)
        buf_append(out, buf_data(error), buf_length(error));
    buf_puts(out, incomplete ? ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}"
                             : ",\"incomplete_details\":null");
    buf_puts(out, ",\"instructions\":null,\"metadata\":{},\"model\":");
    json_append_string(out, encoding->run->agent);
    if (output) {
        buf_puts(out, ",\"output\":[");
        buf_append(out, buf_data(output), buf_length(output));
        buf_puts(out, "]");
    }
    buf_puts(out, ",\"parallel_tool_calls\":true,\"temperature\":null,\"tool_choice\":\"auto\","
                  "\"tools\":[],\"top_p\":null,\"usage\":");
    append_usage(usage, out);
    buf_puts(out, "}");
}

/* ---- frames ---- */

/* Begin the next frame; return false if the client has it already. */
static bool begin_frame(struct responses *state, const struct encoding *encoding, const char *type,
                        struct buf *out)
{
    uint32_t number = state->next++;

    if (number < terms_of(encoding).from)
        return false;
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRIu32, type, type,
               number);
    return true;
}

static void end_frame(struct buf *out)
{
    buf_puts(out, "}\n\n");
}

/* Append which item a frame is of. */
static void append_place(const struct encoding *encoding, enum item_kind part, uint32_t index,
                         struct buf *out)
{
    buf_puts(out, ",\"item_id\":");
    item_append_id(encoding, part, index, out);
    buf_printf(out, ",\"output_index\":%" PRIu32, index);
    if (part != ITEM_CALL)
        buf_puts(out, part == ITEM_TEXT ? ",\"content_index\":0" : ",\"summary_index\":0");
}

/* output_item.added or .done, but for the item and the end of the frame. */
static bool begin_item_frame(struct responses *state, const struct encoding *encoding,
                             const char *type, uint32_t index, struct buf *out)
{
    if (!begin_frame(state, encoding, type, out))
        return false;
    buf_printf(out, ",\"output_index\":%" PRIu32 ",\"item\":", index);
    return true;
}

static void part_frame(struct responses *state, const struct encoding *encoding, const char *type,
                       const struct buf *text, struct buf *out)
{
    enum item_kind part = state->part;

    if (!begin_frame(state, encoding, type, out))
        return;
    append_place(encoding, part, state->items - 1, out);
    buf_puts(out, ",\"part\":");
    item_append_content(part, text, out);
    end_frame(out);
}

static void open_item(struct responses *state, const struct encoding *encoding, enum item_kind part,
                      struct buf *out)
{
    static const struct buf nothing;

    state->part = (uint8_t)part;
    state->first = state->last + 1;
    state->items++;
    if (begin_item_frame(state, encoding, "response.output_item.added", state->items - 1, out)) {
        item_append(encoding, part, state->items - 1, NULL, out);
        end_frame(out);
    }
    part_frame(state, encoding,
               part == ITEM_TEXT ? "response.content_part.added"
                                 : "response.reasoning_summary_part.added",
               &nothing, out);
}

/* Close the open item, whose text this is. */
static void close_with(struct responses *state, const struct encoding *encoding,
                       const struct buf *text, struct buf *out)
{
    enum item_kind part = state->part;
    bool is_text = part == ITEM_TEXT;

    if (begin_frame(state, encoding,
                    is_text ? "response.output_text.done" : "response.reasoning_summary_text.done",
                    out)) {
        append_place(encoding, part, state->items - 1, out);
        buf_puts(out, is_text ? ",\"logprobs\":[],\"text\":\"" : ",\"text\":\"");
        buf_append(out, buf_data(text), buf_length(text));
        buf_puts(out, "\"");
        end_frame(out);
    }
    part_frame(state, encoding,
               is_text ? "response.content_part.done" : "response.reasoning_summary_part.done",
               text, out);
    if (begin_item_frame(state, encoding, "response.output_item.done", state->items - 1, out)) {
        item_append(encoding, part, state->items - 1, text, out);
        end_frame(out);
    }
    state->part = ITEM_NONE;
}

static void close_item(struct responses *state, const struct encoding *encoding, struct buf *out)
{
    struct item item = {.part = state->part, .first = state->first, .last = state->last};
    struct buf text = {0};

    if (state->part == ITEM_NONE)
        return;
    item_recall(encoding, &item, &text);
    close_with(state, encoding, &text, out);
    buf_finish(&text);
}

/* ---- what the agent emits ---- */

#define DELTA_TEXT                        \
    "event: response.output_text.delta\n" \
    "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":"
#define DELTA_REASONING                              \
    "event: response.reasoning_summary_text.delta\n" \
    "data: {\"type\":\"response.reasoning_summary_text.delta\",\"sequence_number\":"
#define DELTA_MSG     ",\"item_id\":\"msg_"
#define DELTA_RS      ",\"item_id\":\"rs_"
#define DELTA_INDEX   "\",\"output_index\":"
#define DELTA_CONTENT ",\"content_index\":0,\"logprobs\":[],\"delta\":\""
#define DELTA_SUMMARY ",\"summary_index\":0,\"delta\":\""
#define DELTA_END     "\"}\n\n"
#define DELTA_MAX                                                                                \
    (strlen(DELTA_REASONING DELTA_MSG DELTA_INDEX DELTA_CONTENT DELTA_END) + RUN_ID_LENGTH + 1 + \
     3 * BUF_DIGITS_MAX)

/* A text of the open item, which stands for this number of events. */
static void delta_frame(struct responses *state, const struct encoding *encoding, uint32_t events,
                        const struct piece *inside, struct buf *out)
{
    bool is_text = state->part == ITEM_TEXT;
    uint32_t number = state->next + events - 1, index = state->items - 1;
    char *begin, *to;

    state->next = number + 1;
    if (number < terms_of(encoding).from)
        return;
    begin = buf_reserve(out, DELTA_MAX + inside->length);
    to = is_text ? PUT_LITERAL(begin, DELTA_TEXT) : PUT_LITERAL(begin, DELTA_REASONING);
    to = buf_digits(to, number);
    to = is_text ? PUT_LITERAL(to, DELTA_MSG) : PUT_LITERAL(to, DELTA_RS);
    to = put(to, encoding->run->id, RUN_ID_LENGTH);
    *to++ = '_';
    to = buf_digits(to, index);
    to = PUT_LITERAL(to, DELTA_INDEX);
    to = buf_digits(to, index);
    to = is_text ? PUT_LITERAL(to, DELTA_CONTENT) : PUT_LITERAL(to, DELTA_SUMMARY);
    to = put(to, inside->at, inside->length);
    to = PUT_LITERAL(to, DELTA_END);
    buf_commit(out, (size_t)(to - begin));
}

static void call_frames(struct responses *state, const struct encoding *encoding,
                        const struct openai_call *call, struct buf *out)
{
    static const char *const types[] = {"response.function_call_arguments.delta",
                                        "response.function_call_arguments.done"};
    uint32_t index = state->items++;

    if (begin_item_frame(state, encoding, "response.output_item.added", index, out)) {
        item_append_call(encoding, index, call, true, out);
        end_frame(out);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (!begin_frame(state, encoding, types[i], out))
            continue;
        append_place(encoding, ITEM_CALL, index, out);
        if (i == 1) {
            buf_puts(out, ",\"name\":");
            piece_append(&call->name, out);
        }
        buf_puts(out, i == 0 ? ",\"delta\":" : ",\"arguments\":");
        piece_append_text(&call->arguments, out);
        end_frame(out);
    }
    if (begin_item_frame(state, encoding, "response.output_item.done", index, out)) {
        item_append_call(encoding, index, call, false, out);
        end_frame(out);
    }
}

/* ---- the end ---- */

/* response.completed or response.failed, with all items if the log has them. */
static void last_frame(struct responses *state, const struct encoding *encoding, const char *type,
                       const char *status, const struct buf *error, const struct piece *result,
                       struct buf *out)
{
    const struct usage usage = {state->input_tokens, state->output_tokens};
    bool is_whole = encoding->log && encoding->log->start.sequence == 0;
    struct buf output = {0};

    if (!begin_frame(state, encoding, type, out))
        return;
    if (is_whole)
        items_append(encoding, state->last, result, &output);
    buf_puts(out, ",\"response\":");
    append_response(encoding, status, error, is_whole ? &output : NULL, &usage, out);
    end_frame(out);
    buf_finish(&output);
}

static void end_with_done(struct responses *state, const struct encoding *encoding,
                          const struct event *event, struct buf *out)
{
    const struct piece done = {event->json, event->json_length};
    struct buf scratch = {0}, error = {0}, text = {0};
    struct piece status = {"", 0}, result;

    close_item(state, encoding, out);
    piece_find(event, "status", &status);
    if (!piece_is(&status, "\"finished\"")) {
        openai_append_end(&done, &error);
        last_frame(state, encoding, "response.failed",
                   piece_is(&status, "\"cancelled\"") ? "cancelled" : "failed", &error, NULL, out);
        buf_finish(&error);
        return;
    }
    if (state->has_text || state->has_calls || !openai_result(&done, &scratch, &result)) {
        last_frame(state, encoding, "response.completed", "completed", NULL, NULL, out);
    } else {
        open_item(state, encoding, ITEM_TEXT, out);
        delta_frame(state, encoding, 1, &result, out);
        piece_append(&result, &text);
        close_with(state, encoding, &text, out);
        last_frame(state, encoding, "response.completed", "completed", NULL, &result, out);
    }
    buf_finish(&text);
    buf_finish(&scratch);
}

static void end_with_question(struct responses *state, const struct encoding *encoding,
                              const struct event *event, struct buf *out)
{
    const struct piece question = {event->json, event->json_length};
    struct buf error = {0};

    close_item(state, encoding, out);
    if (event->closed) {
        state->next++; /* later frames have the same numbers whether it is open or not */
        return;
    }
    openai_append_question(encoding, &question, &error);
    last_frame(state, encoding, "response.failed", "failed", &error, NULL, out);
    buf_finish(&error);
}

/* ---- the encoder ---- */

static void responses_begin(void *data, const struct encoding *encoding, uint64_t after,
                            struct buf *out)
{
    static const char *const types[] = {"response.created", "response.in_progress"};
    static const struct usage unknown;
    static const struct buf nothing;
    struct responses *state = data;

    for (unsigned i = 0; i < 2; i++) {
        if (after > 0) {
            state->next++;
        } else if (begin_frame(state, encoding, types[i], out)) {
            buf_puts(out, ",\"response\":");
            append_response(encoding, "in_progress", NULL, &nothing, &unknown, out);
            end_frame(out);
        }
    }
}

static void add_text(struct responses *state, const struct encoding *encoding, enum item_kind part,
                     uint32_t events, const struct piece *inside, struct buf *out)
{
    if (state->part != part) {
        close_item(state, encoding, out);
        open_item(state, encoding, part, out);
    }
    state->has_text |= part == ITEM_TEXT && inside->length > 0;
    delta_frame(state, encoding, events, inside, out);
}

static void add_other(struct responses *state, const struct encoding *encoding,
                      const struct event *event, struct buf *out)
{
    const struct piece json = {event->json, event->json_length};
    struct openai_call call;

    if (event->kind == EVENT_tool_call && openai_read_call(&json, &call)) {
        close_item(state, encoding, out);
        call_frames(state, encoding, &call, out);
        state->has_calls = true;
    } else if (event->kind == EVENT_usage) {
        state->input_tokens = piece_tokens(event, "input_tokens");
        state->output_tokens = piece_tokens(event, "output_tokens");
    } else if (event->kind == EVENT_input_request) {
        end_with_question(state, encoding, event, out);
    } else if (event->kind == EVENT_done) {
        end_with_done(state, encoding, event, out);
    }
}

static void responses_event(void *data, const struct encoding *encoding, const struct event *event,
                            struct buf *out)
{
    struct responses *state = data;
    uint32_t events = state->last ? (uint32_t)event->sequence - state->last : 1;
    struct piece inside;
    enum item_kind part = item_text(event, &inside);

    if (part != ITEM_NONE)
        add_text(state, encoding, part, events, &inside, out);
    else
        add_other(state, encoding, event, out);
    state->last = (uint32_t)event->sequence;
}

/* What is missing has no frames: a client sees that the text of an item is shorter. */
static void responses_gap(void *data, const struct encoding *encoding, const struct run_gap *gap,
                          struct buf *out)
{
    struct responses *state = data;

    (void)encoding;
    (void)out;
    state->last = (uint32_t)gap->to;
}

/* Who only looks at the run ends nothing but the own view. */
static enum encoder_question responses_question(const void *state, const struct encoding *encoding)
{
    (void)state;
    return encoding->terms && !terms_of(encoding).retrieved ? QUESTION_CANCELS : QUESTION_ENDS;
}

uint64_t responses_event_before(const struct run_identity *run, const struct eventlog *log,
                                uint32_t frame)
{
    const struct responses_terms nothing = {.from = UINT32_MAX};
    const struct encoding encoding = {.run = run, .terms = &nothing, .terms_size = sizeof nothing};
    struct log_cursor cursor = log->start;
    struct responses state = {.next = 2};
    struct buf scratch = {0}, out = {0};
    struct event event;
    uint64_t before = 0;

    while (state.next <= frame && cursor.at < log->end.at) {
        before = cursor.sequence;
        eventlog_read(log, &cursor, &scratch, &event);
        responses_event(&state, &encoding, &event, &out);
    }
    if (state.next <= frame)
        before = cursor.sequence;
    buf_finish(&scratch);
    buf_finish(&out);
    return before;
}

/* ---- the document ---- */

/* Append items of a document whose events are not all kept any longer. */
static void append_joined(const struct document *document, const struct encoding *encoding,
                          const struct piece *result, struct buf *out)
{
    const struct buf *texts[] = {
        [ITEM_TEXT] = &document->text, [ITEM_REASONING] = &document->reasoning};
    struct piece calls = {buf_data(&document->calls), buf_length(&document->calls)};
    struct openai_call call;
    struct buf message = {0};
    uint32_t index = 0;

    if (result)
        piece_append(result, &message);
    if (result)
        texts[ITEM_TEXT] = &message;
    for (enum item_kind part = ITEM_REASONING; part >= ITEM_TEXT; part--) {
        if (buf_length(texts[part]) == 0)
            continue;
        buf_puts(out, index > 0 ? "," : "");
        item_append(encoding, part, index++, texts[part], out);
    }
    while (openai_next_call(&calls, &call)) {
        buf_puts(out, index > 0 ? "," : "");
        item_append_call(encoding, index++, &call, false, out);
    }
    buf_finish(&message);
}

static void append_whole(const struct document *document, const struct encoding *encoding,
                         struct buf *out)
{
    const struct event event = {.json = buf_data(&document->usage),
                                .json_length = buf_length(&document->usage)};
    const struct usage usage = {piece_tokens(&event, "input_tokens"),
                                piece_tokens(&event, "output_tokens")};
    const struct piece done = {buf_data(&document->done), buf_length(&document->done)};
    const struct piece question = {buf_data(&document->question), buf_length(&document->question)};
    struct piece calls = {buf_data(&document->calls), buf_length(&document->calls)}, result;
    enum document_outcome outcome = document_outcome(document);
    struct buf output = {0}, error = {0}, scratch = {0};
    struct openai_call call;
    const char *status;
    bool has_result = buf_length(&document->text) == 0 && !openai_next_call(&calls, &call) &&
                      outcome == DOCUMENT_FINISHED && openai_result(&done, &scratch, &result);

    if (encoding->log && encoding->log->start.sequence == 0)
        items_append(encoding, UINT64_MAX, has_result ? &result : NULL, &output);
    else
        append_joined(document, encoding, has_result ? &result : NULL, &output);
    if (done.length == 0 && question.length > 0)
        status = "failed"; /* who polls until the end would wait for a person */
    else if (done.length == 0)
        status = encoding->run->version ? "in_progress" : "queued";
    else if (outcome == DOCUMENT_FINISHED)
        status = document->truncated ? "incomplete" : "completed";
    else
        status = outcome == DOCUMENT_CANCELLED ? "cancelled" : "failed";
    if (done.length > 0 && outcome != DOCUMENT_FINISHED)
        openai_append_end(&done, &error);
    else if (done.length == 0 && question.length > 0)
        openai_append_question(encoding, &question, &error);
    append_response(encoding, status, buf_length(&error) > 0 ? &error : NULL, &output, &usage, out);
    buf_puts(out, "\n");
    buf_finish(&output);
    buf_finish(&error);
    buf_finish(&scratch);
}

static unsigned document_end(const struct document *document, const struct encoding *encoding,
                             struct buf *out)
{
    if (!terms_of(encoding).retrieved &&
        (buf_length(&document->done) == 0 || document_outcome(document) != DOCUMENT_FINISHED))
        return openai_document_error(document, encoding, out);
    append_whole(document, encoding, out);
    return 200;
}

static const struct document_encoder document_responses = {
    .content_type = "application/json",
    .keeps = DOCUMENT_REASONING | DOCUMENT_CALLS,
    .question = QUESTION_CANCELS,
    .end = document_end,
};

const struct encoder encoder_responses = {
    .name = "responses",
    .content_type = "text/event-stream",
    .headers = openai_headers,
    .state_size = sizeof(struct responses),
    .recalls = true,
    .begin = responses_begin,
    .event = responses_event,
    .gap = responses_gap,
    .question = responses_question,
    .document = &document_responses,
};
