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
#include "run/eventlog.h"

#include <inttypes.h>
#include <string.h>

enum item_kind { ITEM_NONE, ITEM_TEXT, ITEM_REASONING, ITEM_CALL };

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

/* Return the part that the event's text is of, and set the text; ITEM_NONE if it has none. */
static inline enum item_kind text_part(const struct event *event, struct piece *inside)
{
    if (event->kind != EVENT_text && event->kind != EVENT_reasoning)
        return ITEM_NONE;
    if (!piece_delta(event, inside))
        return ITEM_NONE;
    return event->kind == EVENT_text ? ITEM_TEXT : ITEM_REASONING;
}

/* Return the part that the event is of. inside: its text, for text and reasoning. */
static enum item_kind part_of(const struct event *event, struct piece *inside,
                              struct openai_call *call)
{
    const struct piece json = {event->json, event->json_length};

    if (event->kind == EVENT_tool_call && openai_read_call(&json, call))
        return ITEM_CALL;
    return text_part(event, inside);
}

/* ---- items, as the log has them ---- */

/* A row of events that make one item. */
struct item {
    enum item_kind part;
    uint32_t index;
    uint64_t first, last; /* numbers of events */
    struct openai_call call;
};

static void append_id(const struct encoding *encoding, enum item_kind part, uint32_t index,
                      struct buf *out)
{
    buf_printf(out, "\"%s_%s_%" PRIu32 "\"",
               part == ITEM_TEXT        ? "msg"
               : part == ITEM_REASONING ? "rs"
                                        : "fc",
               encoding->run->id, index);
}

/* Append the text of an item, the inside of a JSON string, as far as the log has it. */
static void recall_text(const struct encoding *encoding, const struct item *item, struct buf *out)
{
    struct log_cursor cursor;
    struct buf scratch = {0};
    struct event event;

    if (encoding->log == NULL)
        return;
    cursor = eventlog_seek(encoding->log, item->first - 1);
    while (cursor.sequence < item->last) {
        struct piece inside;
        struct openai_call call;
        eventlog_read(encoding->log, &cursor, &scratch, &event);
        if (part_of(&event, &inside, &call) == item->part)
            piece_append(&inside, out);
    }
    buf_finish(&scratch);
}

static void append_content(enum item_kind part, const struct buf *text, struct buf *out)
{
    buf_puts(out, part == ITEM_TEXT ? "{\"type\":\"output_text\",\"text\":\""
                                    : "{\"type\":\"summary_text\",\"text\":\"");
    buf_append(out, buf_data(text), buf_length(text));
    buf_puts(out, part == ITEM_TEXT ? "\",\"annotations\":[],\"logprobs\":[]}" : "\"}");
}

/* Append a message or reasoning; with text NULL, it is only begun. */
static void append_item(const struct encoding *encoding, enum item_kind part, uint32_t index,
                        const struct buf *text, struct buf *out)
{
    buf_puts(out, "{\"id\":");
    append_id(encoding, part, index, out);
    buf_puts(out, part == ITEM_TEXT ? ",\"type\":\"message\",\"role\":\"assistant\""
                                    : ",\"type\":\"reasoning\"");
    buf_printf(out, ",\"status\":\"%s\"", text ? "completed" : "in_progress");
    buf_puts(out, part == ITEM_TEXT ? ",\"content\":[" : ",\"summary\":[");
    if (text)
        append_content(part, text, out);
    buf_puts(out, "]}");
}

/* begun: without its arguments. */
static void append_call(const struct encoding *encoding, uint32_t index,
                        const struct openai_call *call, bool begun, struct buf *out)
{
    buf_puts(out, "{\"id\":");
    append_id(encoding, ITEM_CALL, index, out);
    buf_printf(out, ",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":",
               begun ? "in_progress" : "completed");
    piece_append(&call->id, out);
    buf_puts(out, ",\"name\":");
    piece_append(&call->name, out);
    buf_puts(out, ",\"arguments\":");
    if (begun)
        buf_puts(out, "\"\"");
    else
        piece_append_text(&call->arguments, out);
    buf_puts(out, "}");
}

/* Call visit() for each item of the events up to this number. */
static void walk_items(const struct eventlog *log, uint64_t upto,
                       void (*visit)(void *data, const struct item *item), void *data)
{
    struct log_cursor cursor = log->start;
    struct item item = {.part = ITEM_NONE};
    struct buf scratch = {0};
    struct event event;

    while (cursor.sequence < upto && cursor.at < log->end.at) {
        struct piece inside;
        enum item_kind part;
        eventlog_read(log, &cursor, &scratch, &event);
        part = part_of(&event, &inside, &item.call);
        if (part == ITEM_NONE || (part == item.part && part != ITEM_CALL)) {
            item.last = part == ITEM_NONE ? item.last : event.sequence;
            continue;
        }
        if (item.part == ITEM_TEXT || item.part == ITEM_REASONING)
            visit(data, &item);
        item.index += item.part != ITEM_NONE;
        item.part = part;
        item.first = item.last = event.sequence;
        if (part == ITEM_CALL)
            visit(data, &item);
    }
    if (item.part == ITEM_TEXT || item.part == ITEM_REASONING)
        visit(data, &item);
    buf_finish(&scratch);
}

/* What the items are appended to. */
struct output {
    const struct encoding *encoding;
    struct buf *out;
    unsigned count;
};

static void output_item(void *data, const struct item *item)
{
    struct output *output = data;
    struct buf text = {0};

    buf_puts(output->out, output->count++ > 0 ? "," : "");
    if (item->part == ITEM_CALL) {
        append_call(output->encoding, item->index, &item->call, false, output->out);
        return;
    }
    recall_text(output->encoding, item, &text);
    append_item(output->encoding, item->part, item->index, &text, output->out);
    buf_finish(&text);
}

/* Append the items of the events up to this number; result stands for a message, or is NULL. */
static void append_output(const struct encoding *encoding, uint64_t upto,
                          const struct piece *result, struct buf *out)
{
    struct output output = {.encoding = encoding, .out = out};
    struct buf text = {0};

    walk_items(encoding->log, upto, output_item, &output);
    if (result) {
        piece_append(result, &text);
        buf_puts(out, output.count > 0 ? "," : "");
        append_item(encoding, ITEM_TEXT, output.count, &text, out);
    }
    buf_finish(&text);
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
    append_id(encoding, part, index, out);
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
    append_content(part, text, out);
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
        append_item(encoding, part, state->items - 1, NULL, out);
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
        append_item(encoding, part, state->items - 1, text, out);
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
    recall_text(encoding, &item, &text);
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
        append_call(encoding, index, call, true, out);
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
        append_call(encoding, index, call, false, out);
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
        append_output(encoding, state->last, result, &output);
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
    enum item_kind part = text_part(event, &inside);

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

/* ---- one item ---- */

bool responses_item_run(const char *id, char run[RUN_ID_LENGTH + 1])
{
    const char *at = strchr(id, '_');

    if (at == NULL || strlen(at) < RUN_ID_LENGTH + 2 || at[RUN_ID_LENGTH + 1] != '_')
        return false;
    memcpy(run, at + 1, RUN_ID_LENGTH);
    run[RUN_ID_LENGTH] = '\0';
    return true;
}

/* The items of a response, of which one is wanted. */
struct choice {
    struct output output;
    const char *id;
    uint32_t count; /* of all items */
    bool speaks;    /* one of them is a message or a call */
    bool found;
};

static bool is_chosen(const struct choice *choice, enum item_kind part, uint32_t index)
{
    size_t length = strlen(choice->id);
    struct buf id = {0};
    bool is;

    append_id(choice->output.encoding, part, index, &id);
    is = buf_length(&id) == length + 2 && memcmp(buf_data(&id) + 1, choice->id, length) == 0;
    buf_finish(&id);
    return is;
}

static void choose_item(void *data, const struct item *item)
{
    struct choice *choice = data;

    choice->count++;
    choice->speaks |= item->part != ITEM_REASONING;
    if (!is_chosen(choice, item->part, item->index))
        return;
    output_item(&choice->output, item);
    choice->found = true;
}

/* The message of a run without text is its result. */
static void choose_result(struct choice *choice, const struct eventlog *log)
{
    struct log_cursor cursor = eventlog_seek(log, eventlog_last(log) - 1);
    struct buf scratch = {0}, escaped = {0}, text = {0};
    struct event event;
    struct piece result;

    eventlog_read(log, &cursor, &scratch, &event);
    if (event.kind == EVENT_done && is_chosen(choice, ITEM_TEXT, choice->count) &&
        openai_result(&(struct piece){event.json, event.json_length}, &escaped, &result)) {
        piece_append(&result, &text);
        append_item(choice->output.encoding, ITEM_TEXT, choice->count, &text, choice->output.out);
        choice->found = true;
    }
    buf_finish(&scratch);
    buf_finish(&escaped);
    buf_finish(&text);
}

bool responses_append_item(const struct run_identity *run, const struct eventlog *log,
                           const char *id, struct buf *out)
{
    const struct encoding encoding = {.run = run, .log = log};
    struct choice choice = {.output = {.encoding = &encoding, .out = out}, .id = id};

    walk_items(log, UINT64_MAX, choose_item, &choice);
    if (!choice.speaks && eventlog_last(log) > 0)
        choose_result(&choice, log);
    return choice.found;
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
        append_item(encoding, part, index++, texts[part], out);
    }
    while (openai_next_call(&calls, &call)) {
        buf_puts(out, index > 0 ? "," : "");
        append_call(encoding, index++, &call, false, out);
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
    struct piece calls = {buf_data(&document->calls), buf_length(&document->calls)}, result;
    enum document_outcome outcome = document_outcome(document);
    struct buf output = {0}, error = {0}, scratch = {0};
    struct openai_call call;
    const char *status;
    bool has_result = buf_length(&document->text) == 0 && !openai_next_call(&calls, &call) &&
                      outcome == DOCUMENT_FINISHED && openai_result(&done, &scratch, &result);

    if (encoding->log && encoding->log->start.sequence == 0)
        append_output(encoding, UINT64_MAX, has_result ? &result : NULL, &output);
    else
        append_joined(document, encoding, has_result ? &result : NULL, &output);
    if (done.length == 0)
        status = encoding->run->version ? "in_progress" : "queued";
    else if (outcome == DOCUMENT_FINISHED)
        status = document->truncated ? "incomplete" : "completed";
    else
        status = outcome == DOCUMENT_CANCELLED ? "cancelled" : "failed";
    if (done.length > 0 && outcome != DOCUMENT_FINISHED)
        openai_append_end(&done, &error);
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
