#include "protocol/a2a.h"

#include "base/json.h"
#include "protocol/pieces.h"

#include <inttypes.h>
#include <string.h>

static const char *const state_names[] = {
    [A2A_SUBMITTED] = "TASK_STATE_SUBMITTED",
    [A2A_WORKING] = "TASK_STATE_WORKING",
    [A2A_INPUT_REQUIRED] = "TASK_STATE_INPUT_REQUIRED",
    [A2A_COMPLETED] = "TASK_STATE_COMPLETED",
    [A2A_FAILED] = "TASK_STATE_FAILED",
    [A2A_CANCELED] = "TASK_STATE_CANCELED",
};

static const struct a2a_status working = {.state = A2A_WORKING};

struct a2a {
    uint32_t context;         /* bytes of the context's id */
    uint32_t context_escaped; /* in JSON */
    bool has_text;            /* the artifact "text" is begun */
};

#define RPC_BEGIN  "{\"jsonrpc\":\"2.0\",\"id\":"
#define RPC_RESULT ",\"result\":"

const char *a2a_context(const struct run_identity *run)
{
    return run->thread ? run->thread : run->id;
}

static unsigned flags_of(const struct encoding *encoding)
{
    return encoding->terms ? *(const unsigned char *)encoding->terms : 0;
}

/* ---- text: bytes around those of the log ---- */

#define FRAME         "data: "
#define BLOCK_END     "\n\n"
#define ARTIFACT_TASK "{\"artifactUpdate\":{\"taskId\":\""
#define CONTEXT       "\",\"contextId\":\""
#define TEXT_ARTIFACT \
    "\",\"artifact\":{\"artifactId\":\"text\",\"name\":\"text\",\"parts\":[{\"text\":\""
#define TEXT_FIRST "\"}]},\"append\":false,\"lastChunk\":false}}"
#define TEXT_NEXT  "\"}]},\"append\":true,\"lastChunk\":false}}"

#define TEXT_MAX                                                                      \
    (strlen(FRAME RPC_BEGIN RPC_RESULT ARTIFACT_TASK CONTEXT TEXT_ARTIFACT TEXT_FIRST \
            "}" BLOCK_END) +                                                          \
     RUN_ID_LENGTH)

static void text_frame(struct a2a *a2a, const struct encoding *encoding, const char *inside,
                       size_t length, struct buf *out)
{
    bool is_rpc = flags_of(encoding) & A2A_RPC;
    const char *context = a2a_context(encoding->run);
    char *begin = buf_reserve(out, TEXT_MAX + encoding->terms_size + a2a->context_escaped + length);
    char *to = put(begin, FRAME, strlen(FRAME));

    if (is_rpc) {
        to = put(to, RPC_BEGIN, strlen(RPC_BEGIN));
        to = put(to, (const char *)encoding->terms + 1, encoding->terms_size - 1);
        to = put(to, RPC_RESULT, strlen(RPC_RESULT));
    }
    to = put(to, ARTIFACT_TASK, strlen(ARTIFACT_TASK));
    to = put(to, encoding->run->id, RUN_ID_LENGTH);
    to = put(to, CONTEXT, strlen(CONTEXT));
    if (a2a->context == a2a->context_escaped)
        to = put(to, context, a2a->context);
    else
        to += json_escape(to, context, a2a->context);
    to = put(to, TEXT_ARTIFACT, strlen(TEXT_ARTIFACT));
    to = put(to, inside, length);
    if (a2a->has_text)
        to = put(to, TEXT_NEXT, strlen(TEXT_NEXT));
    else
        to = put(to, TEXT_FIRST, strlen(TEXT_FIRST));
    if (is_rpc)
        *to++ = '}';
    to = put(to, BLOCK_END, strlen(BLOCK_END));
    buf_commit(out, (size_t)(to - begin));
    a2a->has_text = true;
}

/* ---- parts of frames and documents ---- */

static void begin_result(const struct encoding *encoding, struct buf *out)
{
    if (!(flags_of(encoding) & A2A_RPC))
        return;
    buf_puts(out, RPC_BEGIN);
    buf_append(out, (const char *)encoding->terms + 1, encoding->terms_size - 1);
    buf_puts(out, RPC_RESULT);
}

static void end_result(const struct encoding *encoding, struct buf *out)
{
    if (flags_of(encoding) & A2A_RPC)
        buf_puts(out, "}");
}

static void begin_frame(const struct encoding *encoding, struct buf *out)
{
    buf_puts(out, FRAME);
    begin_result(encoding, out);
}

static void end_frame(const struct encoding *encoding, struct buf *out)
{
    end_result(encoding, out);
    buf_puts(out, BLOCK_END);
}

static void append_ids(const struct run_identity *run, struct buf *out)
{
    buf_printf(out, "\"taskId\":\"%s\",\"contextId\":", run->id);
    json_append_string(out, a2a_context(run));
}

/* A message of the agent: what the JSON has as its "message". */
static void append_message(const struct run_identity *run, const struct a2a_status *status,
                           struct buf *out)
{
    const char *text = "\"\"";
    size_t length = 2;

    json_member_find(status->reason, status->reason_length, "message", &text, &length);
    buf_printf(out, ",\"message\":{\"messageId\":\"%s.%" PRIu64 "\",", run->id, status->event);
    append_ids(run, out);
    buf_printf(out, ",\"role\":\"ROLE_AGENT\",\"parts\":[{\"%s\":", *text == '"' ? "text" : "data");
    buf_append(out, text, length);
    buf_puts(out, "}]");
    if (status->state == A2A_INPUT_REQUIRED) {
        buf_puts(out, ",\"metadata\":{\"sluice/input_request\":");
        buf_append(out, status->reason, status->reason_length);
        buf_puts(out, "}");
    }
    buf_puts(out, "}");
}

static void append_status(const struct run_identity *run, const struct a2a_status *status,
                          struct buf *out)
{
    buf_printf(out, "\"status\":{\"state\":\"%s\"", state_names[status->state]);
    if (status->reason)
        append_message(run, status, out);
    buf_puts(out, "}");
}

/* Append a member of metadata. */
static void append_metadata(struct buf *out, const char *name, const char *json, size_t length)
{
    buf_printf(out, "\"%s\":", name);
    buf_append(out, json, length);
}

static void append_result(const char *json, size_t length, struct buf *out)
{
    buf_puts(out, "{\"artifactId\":\"result\",\"name\":\"result\",\"parts\":[{\"data\":");
    buf_append(out, json, length);
    buf_puts(out, ",\"mediaType\":\"application/json\"}]}");
}

/* Find the result in the JSON of `done`; null is none, for a part must have some content. */
static bool find_result(const char *done, size_t size, const char **json, size_t *length)
{
    return json_member_find(done, size, "result", json, length) &&
           !(*length == 4 && memcmp(*json, "null", 4) == 0);
}

/* ---- the stream ---- */

static void a2a_begin(void *state, const struct encoding *encoding, uint64_t after, struct buf *out)
{
    static const struct document nothing;
    const char *context = a2a_context(encoding->run);
    ssize_t escaped = json_escaped_length(context, strlen(context));
    struct a2a *a2a = state;

    (void)after;
    a2a->context = escaped < 0 ? 0 : (uint32_t)strlen(context);
    a2a->context_escaped = escaped < 0 ? 0 : (uint32_t)escaped;
    if (!(flags_of(encoding) & A2A_GIVEN))
        a2a_task_frame(encoding, &working, &nothing, out);
}

static void begin_status(const struct encoding *encoding, const struct a2a_status *status,
                         struct buf *out)
{
    begin_frame(encoding, out);
    buf_puts(out, "{\"statusUpdate\":{");
    append_ids(encoding->run, out);
    buf_puts(out, ",");
    append_status(encoding->run, status, out);
}

static void end_status(const struct encoding *encoding, struct buf *out)
{
    buf_puts(out, "}}");
    end_frame(encoding, out);
}

static void other_frame(const struct encoding *encoding, const struct event *event, struct buf *out)
{
    begin_status(encoding, &working, out);
    buf_puts(out, ",\"metadata\":{\"sluice/event\":{\"type\":\"");
    buf_append(out, event->type, event->type_length);
    buf_puts(out, "\",");
    append_metadata(out, "data", event->json, event->json_length);
    buf_puts(out, "}}");
    end_status(encoding, out);
}

static void question_frame(const struct encoding *encoding, const struct event *event,
                           struct buf *out)
{
    const struct a2a_status status = {.state = A2A_INPUT_REQUIRED,
                                      .event = event->sequence,
                                      .reason = event->json,
                                      .reason_length = event->json_length};

    begin_status(encoding, &status, out);
    end_status(encoding, out);
}

static struct a2a_status status_of_done(const char *json, size_t length, uint64_t event)
{
    struct a2a_status status = {.event = event};
    const struct buf done = {.base = (char *)json, .end = length};
    static const enum a2a_state states[] = {[DOCUMENT_FINISHED] = A2A_COMPLETED,
                                            [DOCUMENT_CANCELLED] = A2A_CANCELED,
                                            [DOCUMENT_FAILED] = A2A_FAILED};

    status.state = states[document_outcome(&(struct document){.done = done})];
    json_member_find(json, length, "error", &status.reason, &status.reason_length);
    return status;
}

static void done_frames(const struct encoding *encoding, const struct event *event, struct buf *out)
{
    struct a2a_status status = status_of_done(event->json, event->json_length, event->sequence);
    const char *result;
    size_t length;

    if (find_result(event->json, event->json_length, &result, &length)) {
        begin_frame(encoding, out);
        buf_puts(out, "{\"artifactUpdate\":{");
        append_ids(encoding->run, out);
        buf_puts(out, ",\"artifact\":");
        append_result(result, length, out);
        buf_puts(out, ",\"append\":false,\"lastChunk\":true}}");
        end_frame(encoding, out);
    }
    begin_status(encoding, &status, out);
    if (status.reason) {
        buf_puts(out, ",\"metadata\":{");
        append_metadata(out, "sluice/error", status.reason, status.reason_length);
        buf_puts(out, "}");
    }
    end_status(encoding, out);
}

static void a2a_event(void *state, const struct encoding *encoding, const struct event *event,
                      struct buf *out)
{
    struct piece inside;

    switch (event->kind) {
    case EVENT_text:
        if (!piece_delta(event, &inside))
            other_frame(encoding, event, out);
        else if (inside.length > 0)
            text_frame(state, encoding, inside.at, inside.length, out);
        break;
    case EVENT_run:
        break;
    case EVENT_input_request:
        if (!event->closed)
            question_frame(encoding, event, out);
        break;
    case EVENT_done:
        done_frames(encoding, event, out);
        break;
    default:
        other_frame(encoding, event, out);
    }
}

static void a2a_gap(void *state, const struct encoding *encoding, const struct run_gap *gap,
                    struct buf *out)
{
    (void)state;
    begin_status(encoding, &working, out);
    buf_printf(out, ",\"metadata\":{\"sluice/gap\":{\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}}",
               gap->from, gap->to);
    end_status(encoding, out);
}

static enum encoder_question a2a_question(const void *state, const struct encoding *encoding)
{
    (void)state;
    return encoding->terms ? QUESTION_ENDS : QUESTION_GOES_ON;
}

/* ---- the task ---- */

struct a2a_status a2a_status(const struct document *document)
{
    if (buf_length(&document->done) > 0)
        return status_of_done(buf_data(&document->done), buf_length(&document->done),
                              document->events);
    if (buf_length(&document->question) > 0)
        return (struct a2a_status){.state = A2A_INPUT_REQUIRED,
                                   .event = document->asked,
                                   .reason = buf_data(&document->question),
                                   .reason_length = buf_length(&document->question)};
    return (struct a2a_status){.state = document->waits        ? A2A_INPUT_REQUIRED
                                        : document->events > 0 ? A2A_WORKING
                                                               : A2A_SUBMITTED};
}

static void append_artifacts(const struct document *document, struct buf *out)
{
    const char *result;
    size_t length;

    buf_puts(out, ",\"artifacts\":[");
    if (buf_length(&document->text) > 0) {
        buf_puts(out, "{\"artifactId\":\"text\",\"name\":\"text\",\"parts\":[{\"text\":\"");
        buf_append(out, buf_data(&document->text), buf_length(&document->text));
        buf_puts(out, "\"}]}");
    }
    if (find_result(buf_data(&document->done), buf_length(&document->done), &result, &length)) {
        buf_puts(out, buf_length(&document->text) > 0 ? "," : "");
        append_result(result, length, out);
    }
    buf_puts(out, "]");
}

void a2a_task(const struct run_identity *run, const struct a2a_status *status,
              const struct document *document, struct buf *out)
{
    bool is_truncated = document && document->truncated, failed = status->state == A2A_FAILED;

    buf_printf(out, "{\"id\":\"%s\",\"contextId\":", run->id);
    json_append_string(out, a2a_context(run));
    buf_puts(out, ",");
    append_status(run, status, out);
    if (document)
        append_artifacts(document, out);
    if (is_truncated || (failed && status->reason)) {
        buf_puts(out, ",\"metadata\":{");
        if (is_truncated)
            append_metadata(out, "sluice/truncated", "true", strlen("true"));
        if (failed && status->reason) {
            buf_puts(out, is_truncated ? "," : "");
            append_metadata(out, "sluice/error", status->reason, status->reason_length);
        }
        buf_puts(out, "}");
    }
    buf_puts(out, "}");
}

void a2a_task_frame(const struct encoding *encoding, const struct a2a_status *status,
                    const struct document *document, struct buf *out)
{
    begin_frame(encoding, out);
    buf_puts(out, "{\"task\":");
    a2a_task(encoding->run, status, document, out);
    buf_puts(out, "}");
    end_frame(encoding, out);
}

/* A task that failed is an answer like others. */
static unsigned document_end(const struct document *document, const struct encoding *encoding,
                             struct buf *out)
{
    struct a2a_status status = a2a_status(document);
    bool is_bare = flags_of(encoding) & A2A_BARE;

    begin_result(encoding, out);
    buf_puts(out, is_bare ? "" : "{\"task\":");
    a2a_task(encoding->run, &status, document, out);
    buf_puts(out, is_bare ? "" : "}");
    end_result(encoding, out);
    buf_puts(out, "\n");
    return 200;
}

static const struct document_encoder document_rest = {
    .content_type = "application/a2a+json",
    .question = QUESTION_ENDS,
    .end = document_end,
};

static const struct document_encoder document_rpc = {
    .content_type = "application/json",
    .question = QUESTION_ENDS,
    .end = document_end,
};

/* Answers with a run have its id in a header. */
static const char *const headers[] = {NULL};

#define A2A_ENCODER                                                                           \
    .name = "a2a", .content_type = "text/event-stream", .headers = headers,                   \
    .state_size = sizeof(struct a2a), .begin = a2a_begin, .event = a2a_event, .gap = a2a_gap, \
    .question = a2a_question

const struct encoder encoder_a2a = {A2A_ENCODER, .document = &document_rest};

const struct encoder encoder_a2a_rpc = {A2A_ENCODER, .document = &document_rpc};
