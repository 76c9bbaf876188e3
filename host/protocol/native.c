#include "protocol/native.h"

#include "protocol/pieces.h"

#include <inttypes.h>
#include <string.h>

/* ---- the stream ---- */

#define EVENT_FIELD "event: "
#define DATA_FIELD  "\ndata: "
#define ID_FIELD    "\nid: "
#define END         "\n\n"
#define RETRY       "retry: 1000"

#define ID_MAX (strlen(ID_FIELD "." END) + RUN_ID_LENGTH + BUF_DIGITS_MAX)

static char *put_id(char *to, const struct run_identity *run, uint64_t sequence)
{
    to = put(to, ID_FIELD, strlen(ID_FIELD));
    to = put(to, run->id, RUN_ID_LENGTH);
    *to++ = '.';
    to = buf_digits(to, sequence);
    return put(to, END, strlen(END));
}

static void native_begin(void *state, const struct encoding *encoding, uint64_t after,
                         struct buf *out)
{
    char *begin = buf_reserve(out, strlen(RETRY) + ID_MAX);

    (void)state;
    buf_commit(out,
               (size_t)(put_id(put(begin, RETRY, strlen(RETRY)), encoding->run, after) - begin));
}

static void native_event(void *state, const struct encoding *encoding, const struct event *event,
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
    to = put_id(to, encoding->run, event->sequence);
    buf_commit(out, (size_t)(to - begin));
}

/* The gap's id is that of the last event in it: a client that resumes there is not told again. */
static struct event gap_event(const struct run_gap *gap, struct buf *json)
{
    buf_printf(json, "{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}", gap->from, gap->to);
    return (struct event){.sequence = gap->to,
                          .type = "gap",
                          .type_length = strlen("gap"),
                          .json = buf_data(json),
                          .json_length = buf_length(json)};
}

static void native_gap(void *state, const struct encoding *encoding, const struct run_gap *gap,
                       struct buf *out)
{
    struct buf json = {0};
    struct event event = gap_event(gap, &json);

    native_event(state, encoding, &event, out);
    buf_finish(&json);
}

/* ---- the same as messages ---- */

#define MESSAGE_TYPE "data: {\"type\":\""
#define MESSAGE_SEQ  "\",\"seq\":"
#define MESSAGE_DATA ",\"data\":"
#define MESSAGE_END  "}"

/* The type has no character that JSON escapes (wire_type_is_free()). */
static void message_event(void *state, const struct encoding *encoding, const struct event *event,
                          struct buf *out)
{
    char *begin =
        buf_reserve(out, strlen(MESSAGE_TYPE MESSAGE_SEQ MESSAGE_DATA MESSAGE_END) +
                             event->type_length + BUF_DIGITS_MAX + event->json_length + ID_MAX);
    char *to = begin;

    (void)state;
    to = put(to, MESSAGE_TYPE, strlen(MESSAGE_TYPE));
    to = put(to, event->type, event->type_length);
    to = put(to, MESSAGE_SEQ, strlen(MESSAGE_SEQ));
    to = buf_digits(to, event->sequence);
    to = put(to, MESSAGE_DATA, strlen(MESSAGE_DATA));
    to = put(to, event->json, event->json_length);
    to = put(to, MESSAGE_END, strlen(MESSAGE_END));
    to = put_id(to, encoding->run, event->sequence);
    buf_commit(out, (size_t)(to - begin));
}

static void message_gap(void *state, const struct encoding *encoding, const struct run_gap *gap,
                        struct buf *out)
{
    struct buf json = {0};
    struct event event = gap_event(gap, &json);

    message_event(state, encoding, &event, out);
    buf_finish(&json);
}

/* ---- the document ---- */

/* The events' JSON is an object: the members of `done` end the document. */
static unsigned document_end(const struct document *document, const struct encoding *encoding,
                             struct buf *out)
{
    run_identity_describe(encoding->run, out);
    buf_puts(out, ",\"text\":\"");
    buf_append(out, buf_data(&document->text), buf_length(&document->text));
    buf_puts(out, document->truncated ? "\",\"truncated\":true" : "\"");
    if (buf_length(&document->usage) > 0) {
        buf_puts(out, ",\"usage\":");
        buf_append(out, buf_data(&document->usage), buf_length(&document->usage));
    }
    if (buf_length(&document->done) == 0) {
        buf_puts(out, ",\"status\":\"waiting\",\"input_request\":");
        buf_append(out, buf_data(&document->question), buf_length(&document->question));
        buf_puts(out, "}\n");
        return 202;
    }
    buf_puts(out, ",");
    buf_append(out, buf_data(&document->done) + 1, buf_length(&document->done) - 1);
    buf_puts(out, "\n");
    return document_status(document);
}

static const struct document_encoder document_native = {
    .content_type = "application/json",
    .question = QUESTION_ENDS,
    .end = document_end,
};

const struct encoder encoder_native = {
    .name = "native",
    .content_type = "text/event-stream",
    .begin = native_begin,
    .event = native_event,
    .gap = native_gap,
    .document = &document_native,
};

const struct encoder encoder_message = {
    .name = "message",
    .content_type = "text/event-stream",
    .begin = native_begin,
    .event = message_event,
    .gap = message_gap,
    .document = &document_native,
};
