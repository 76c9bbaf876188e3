#include "protocol/native.h"

#include "base/json.h"
#include "run/pack.h"

#include <inttypes.h>
#include <string.h>

/* ---- the stream ---- */

#define EVENT_FIELD "event: "
#define DATA_FIELD  "\ndata: "
#define ID_FIELD    "\nid: "
#define END         "\n\n"
#define RETRY       "retry: 1000"

#define ID_MAX (strlen(ID_FIELD "." END) + RUN_ID_LENGTH + BUF_DIGITS_MAX)

static char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

static char *put_id(char *to, const struct run_identity *run, uint64_t sequence)
{
    to = put(to, ID_FIELD, strlen(ID_FIELD));
    to = put(to, run->id, RUN_ID_LENGTH);
    *to++ = '.';
    to = buf_digits(to, sequence);
    return put(to, END, strlen(END));
}

static void native_begin(void *state, const struct run_identity *run, uint64_t after,
                         struct buf *out)
{
    char *begin = buf_reserve(out, strlen(RETRY) + ID_MAX);

    (void)state;
    buf_commit(out, (size_t)(put_id(put(begin, RETRY, strlen(RETRY)), run, after) - begin));
}

static void native_event(void *state, const struct run_identity *run, const struct event *event,
                         struct buf *out)
{
    char *begin = buf_reserve(out, strlen(EVENT_FIELD DATA_FIELD) + event->type_length +
                                       event->json_length + ID_MAX);
    char *to = begin;

    (void)state;
    to = put(to, EVENT_FIELD, strlen(EVENT_FIELD));
    to = put(to, event->type, event->type_length);
    to = put(to, DATA_FIELD, strlen(DATA_FIELD));
    to = put(to, event->json, event->json_length);
    to = put_id(to, run, event->sequence);
    buf_commit(out, (size_t)(to - begin));
}

/* The gap's id is that of the last event in it: a client that resumes there is not told again. */
static void native_gap(void *state, const struct run_identity *run, const struct run_gap *gap,
                       struct buf *out)
{
    struct buf json = {0};
    struct event event = {.sequence = gap->to, .type = "gap", .type_length = strlen("gap")};

    buf_printf(&json, "{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}", gap->from, gap->to);
    event.json = buf_data(&json);
    event.json_length = buf_length(&json);
    native_event(state, run, &event, out);
    buf_finish(&json);
}

static void native_heartbeat(const void *state, struct buf *out)
{
    (void)state;
    buf_puts(out, ":" END);
}

/* ---- the document ---- */

struct native_document {
    struct buf text;  /* the inside of a JSON string */
    struct buf usage; /* JSON of the last usage event */
    size_t usage_charge;
    struct buf done; /* JSON of the done event */
    bool truncated;
};

static void document_gap(void *data, const struct run_gap *gap)
{
    struct native_document *document = data;

    (void)gap;
    document->truncated = true;
}

/* Return room for more text; NULL, from then on, if there is none. */
static char *reserve_text(struct native_document *document, const struct document_room *room,
                          size_t length)
{
    char *to;

    if (document->truncated || buf_length(&document->text) + length > NATIVE_TEXT_MAX ||
        !buf_try_reserve(&document->text, length) || !room->take(room->data, length)) {
        document->truncated = true;
        return NULL;
    }
    to = buf_reserve(&document->text, length);
    buf_commit(&document->text, length);
    return to;
}

static void add_text(struct native_document *document, const struct document_room *room,
                     const struct event *event)
{
    struct buf delta = {0};
    const char *inside;
    size_t length;
    ssize_t escaped = 0;
    char *to;

    if (pack_delta(event, &inside, &length)) {
        to = length > 0 ? reserve_text(document, room, length) : NULL;
        if (to)
            memcpy(to, inside, length);
        return;
    }
    /* The text has other members besides its delta. */
    if (json_member_text(event->json, event->json_length, "delta", &delta))
        escaped = json_escaped_length(buf_data(&delta), buf_length(&delta));
    to = escaped > 0 ? reserve_text(document, room, (size_t)escaped) : NULL;
    if (to)
        json_escape(to, buf_data(&delta), buf_length(&delta));
    buf_finish(&delta);
}

static void keep(struct buf *kept, const struct event *event)
{
    buf_consume(kept, buf_length(kept));
    buf_append(kept, event->json, event->json_length);
}

/* Keep the last usage; it is left out if there is no room. */
static void keep_usage(struct native_document *document, const struct document_room *room,
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

static void document_event(void *data, const struct event *event, const struct document_room *room)
{
    struct native_document *document = data;

    if (event_is(event, "text"))
        add_text(document, room, event);
    else if (event_is(event, "usage"))
        keep_usage(document, room, event);
    else if (event_is(event, "done"))
        keep(&document->done, event);
}

/* The done event's JSON is an object: its members end the document. */
static void document_end(void *data, const struct run_identity *run, struct buf *out)
{
    struct native_document *document = data;

    run_identity_describe(run, out);
    buf_puts(out, ",\"text\":\"");
    buf_append(out, buf_data(&document->text), buf_length(&document->text));
    buf_puts(out, document->truncated ? "\",\"truncated\":true" : "\"");
    if (buf_length(&document->usage) > 0) {
        buf_puts(out, ",\"usage\":");
        buf_append(out, buf_data(&document->usage), buf_length(&document->usage));
    }
    buf_puts(out, ",");
    buf_append(out, buf_data(&document->done) + 1, buf_length(&document->done) - 1);
    buf_puts(out, "\n");
}

static void document_finish(void *data)
{
    struct native_document *document = data;

    buf_finish(&document->text);
    buf_finish(&document->usage);
    buf_finish(&document->done);
}

static const struct document_encoder document_native = {
    .content_type = "application/json",
    .size = sizeof(struct native_document),
    .gap = document_gap,
    .event = document_event,
    .end = document_end,
    .finish = document_finish,
};

const struct encoder encoder_native = {
    .name = "native",
    .content_type = "text/event-stream",
    .begin = native_begin,
    .event = native_event,
    .gap = native_gap,
    .heartbeat = native_heartbeat,
    .document = &document_native,
};
