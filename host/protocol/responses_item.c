#include "protocol/responses_item.h"

#include "run/eventlog.h"

#include <inttypes.h>
#include <string.h>

/* Return the part that the event is of. inside: its text, for text and reasoning. */
static enum item_kind part_of(const struct event *event, struct piece *inside,
                              struct openai_call *call)
{
    const struct piece json = {event->json, event->json_length};

    if (event->kind == EVENT_tool_call && openai_read_call(&json, call))
        return ITEM_CALL;
    return item_text(event, inside);
}

void item_append_id(const struct encoding *encoding, enum item_kind part, uint32_t index,
                    struct buf *out)
{
    buf_printf(out, "\"%s_%s_%" PRIu32 "\"",
               part == ITEM_TEXT        ? "msg"
               : part == ITEM_REASONING ? "rs"
                                        : "fc",
               encoding->run->id, index);
}

void item_recall(const struct encoding *encoding, const struct item *item, struct buf *out)
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

void item_append_content(enum item_kind part, const struct buf *text, struct buf *out)
{
    buf_puts(out, part == ITEM_TEXT ? "{\"type\":\"output_text\",\"text\":\""
                                    : "{\"type\":\"summary_text\",\"text\":\"");
    buf_append(out, buf_data(text), buf_length(text));
    buf_puts(out, part == ITEM_TEXT ? "\",\"annotations\":[],\"logprobs\":[]}" : "\"}");
}

void item_append(const struct encoding *encoding, enum item_kind part, uint32_t index,
                 const struct buf *text, struct buf *out)
{
    buf_puts(out, "{\"id\":");
    item_append_id(encoding, part, index, out);
    buf_puts(out, part == ITEM_TEXT ? ",\"type\":\"message\",\"role\":\"assistant\""
                                    : ",\"type\":\"reasoning\"");
    buf_printf(out, ",\"status\":\"%s\"", text ? "completed" : "in_progress");
    buf_puts(out, part == ITEM_TEXT ? ",\"content\":[" : ",\"summary\":[");
    if (text)
        item_append_content(part, text, out);
    buf_puts(out, "]}");
}

void item_append_call(const struct encoding *encoding, uint32_t index,
                      const struct openai_call *call, bool begun, struct buf *out)
{
    buf_puts(out, "{\"id\":");
    item_append_id(encoding, ITEM_CALL, index, out);
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
        item_append_call(output->encoding, item->index, &item->call, false, output->out);
        return;
    }
    item_recall(output->encoding, item, &text);
    item_append(output->encoding, item->part, item->index, &text, output->out);
    buf_finish(&text);
}

void items_append(const struct encoding *encoding, uint64_t upto, const struct piece *result,
                  struct buf *out)
{
    struct output output = {.encoding = encoding, .out = out};
    struct buf text = {0};

    walk_items(encoding->log, upto, output_item, &output);
    if (result) {
        piece_append(result, &text);
        buf_puts(out, output.count > 0 ? "," : "");
        item_append(encoding, ITEM_TEXT, output.count, &text, out);
    }
    buf_finish(&text);
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

    item_append_id(choice->output.encoding, part, index, &id);
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
        item_append(choice->output.encoding, ITEM_TEXT, choice->count, &text, choice->output.out);
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
