#include "protocol/document.h"

#include "base/json.h"
#include "run/eventlog.h"

#include <string.h>

/* Return room for this many bytes more; NULL, and the document is full, if there is none. */
static char *reserve(struct document *document, struct buf *to, const struct document_room *room,
                     size_t length)
{
    char *at;

    if (document->full || buf_length(to) + length > DOCUMENT_TEXT_MAX ||
        !buf_try_reserve(to, length) || !room->take(room->data, length)) {
        document->full = document->truncated = true;
        return NULL;
    }
    at = buf_reserve(to, length);
    buf_commit(to, length);
    return at;
}

/* Add the inside of the event's delta. */
static void add_delta(struct document *document, struct buf *to, const struct document_room *room,
                      const struct event *event)
{
    struct buf delta = {0};
    const char *inside;
    size_t length;
    ssize_t escaped = 0;
    char *at;

    if (event_delta(event, &inside, &length)) {
        at = length > 0 ? reserve(document, to, room, length) : NULL;
        if (at)
            memcpy(at, inside, length);
        return;
    }
    /* The event has other members besides its delta. */
    if (json_member_text(event->json, event->json_length, "delta", &delta))
        escaped = json_escaped_length(buf_data(&delta), buf_length(&delta));
    at = escaped > 0 ? reserve(document, to, room, (size_t)escaped) : NULL;
    if (at)
        json_escape(at, buf_data(&delta), buf_length(&delta));
    buf_finish(&delta);
}

static void add_item(struct document *document, struct buf *to, const struct document_room *room,
                     const struct event *event)
{
    size_t comma = buf_length(to) > 0;
    char *at = reserve(document, to, room, comma + event->json_length);

    if (at == NULL)
        return;
    if (comma)
        *at = ',';
    memcpy(at + comma, event->json, event->json_length);
}

static void keep(struct buf *kept, const struct event *event)
{
    buf_consume(kept, buf_length(kept));
    buf_append(kept, event->json, event->json_length);
}

/* Keep the last usage; it is left out if there is no room. */
static void keep_usage(struct document *document, const struct document_room *room,
                       const struct event *event)
{
    if (event->json_length > document->usage_charge) {
        if (!room->take(room->data, event->json_length - document->usage_charge)) {
            buf_finish(&document->usage);
            return;
        }
        document->usage_charge = event->json_length;
    }
    keep(&document->usage, event);
}

void document_add_gap(struct document *document)
{
    document->truncated = true;
    document->full = document->events > 0; /* no text has a hole */
}

void document_add(struct document *document, unsigned keeps, const struct event *event,
                  const struct document_room *room)
{
    document->events = event->sequence;
    switch (event->kind) {
    case EVENT_text:
        add_delta(document, &document->text, room, event);
        break;
    case EVENT_reasoning:
        if (keeps & DOCUMENT_REASONING)
            add_delta(document, &document->reasoning, room, event);
        break;
    case EVENT_tool_call:
        if (keeps & DOCUMENT_CALLS)
            add_item(document, &document->calls, room, event);
        break;
    case EVENT_tool_result:
        if (keeps & DOCUMENT_CALLS)
            add_item(document, &document->results, room, event);
        break;
    case EVENT_usage:
        keep_usage(document, room, event);
        break;
    case EVENT_input_request:
        keep(&document->question, event);
        document->asked = event->sequence;
        break;
    case EVENT_done:
        keep(&document->done, event);
        break;
    default:
        break;
    }
}

static bool take_any(void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return true;
}

void document_recall(struct document *document, unsigned keeps, const struct eventlog *log,
                     uint64_t upto)
{
    const struct document_room room = {.take = take_any};
    struct log_cursor cursor = log->start;
    struct buf scratch = {0};
    struct event event;

    while (cursor.sequence < upto) {
        eventlog_read(log, &cursor, &scratch, &event);
        document_add(document, keeps, &event, &room);
    }
    if (log->start.sequence > 0)
        document_add_gap(document);
    buf_finish(&scratch);
}

enum document_outcome document_outcome(const struct document *document)
{
    static const char status[] = "{\"status\":\"";
    const char *at = buf_data(&document->done) + strlen(status);

    if (buf_length(&document->done) < sizeof status)
        return DOCUMENT_FAILED;
    return *at == 'c'                        ? DOCUMENT_CANCELLED
           : strncmp(at, "finished", 8) == 0 ? DOCUMENT_FINISHED
                                             : DOCUMENT_FAILED;
}

unsigned document_status(const struct document *document)
{
    static const unsigned statuses[] = {
        [DOCUMENT_FINISHED] = 200, [DOCUMENT_CANCELLED] = 409, [DOCUMENT_FAILED] = 500};

    return statuses[document_outcome(document)];
}

void document_finish(struct document *document)
{
    buf_finish(&document->text);
    buf_finish(&document->reasoning);
    buf_finish(&document->calls);
    buf_finish(&document->results);
    buf_finish(&document->usage);
    buf_finish(&document->question);
    buf_finish(&document->done);
}
