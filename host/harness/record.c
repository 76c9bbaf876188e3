#include "harness/record.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/frames.h"

#include <stdlib.h>
#include <string.h>

void record_init(struct record *record)
{
    *record = (struct record){.status = ""};
    record->code = mem_strdup("");
    record->message = mem_strdup("");
    record->result = mem_strdup("");
}

static void request_destroy(void *item)
{
    struct agent_test_requested *request = item;

    free((char *)request->method);
    free((char *)request->url);
    free((char *)request->headers);
    free((char *)request->body);
    free(request);
}

void record_finish(struct record *record)
{
    list_finish(&record->events, free);
    list_finish(&record->requests, request_destroy);
    free(record->code);
    free(record->message);
    free(record->result);
    free(record->text);
    free(record->transcript);
}

/* ---- frames ---- */

static int take_event(struct record *record, const struct wire_frame *frame, uint64_t at_ms)
{
    struct agent_test_emitted *event;
    const char *type, *json;
    size_t type_length, json_length;
    char *copy;

    if (wire_read_event(frame, &type, &type_length, &json, &json_length) < 0)
        return -1;
    event = mem_alloc(sizeof *event + type_length + json_length + 2);
    copy = (char *)(event + 1);
    memcpy(copy, type, type_length);
    memcpy(copy + type_length + 1, json, json_length);
    *event =
        (struct agent_test_emitted){.type = copy, .json = copy + type_length + 1, .at_ms = at_ms};
    list_add(&record->events, event);
    return 0;
}

static int take_end(struct record *record, const struct wire_frame *frame, uint64_t at_ms)
{
    struct wire_end end;

    if (wire_read_end(frame, &end) < 0)
        return -1;
    record->status = end.status == WIRE_FINISHED ? "finished"
                     : end.status == WIRE_FAILED ? "failed"
                                                 : "cancelled";
    mem_set(&record->code, end.code);
    mem_set(&record->message, end.message);
    mem_set(&record->result, end.result);
    record->elapsed_ms = at_ms;
    return 0;
}

static int take_frame(struct record *record, const struct wire_frame *frame, uint64_t at_ms)
{
    switch ((int)frame->type) {
    case WIRE_EVENT:
        return take_event(record, frame, at_ms);
    case WIRE_END:
        return take_end(record, frame, at_ms);
    default: /* what only a front wants to know */
        return 0;
    }
}

void record_take(struct record *record, struct buf *frames, uint64_t at_ms)
{
    struct wire_frame frame;
    ssize_t size;

    while ((size = wire_next(frames, WIRE_WORKER, &frame)) > 0) {
        if (take_frame(record, &frame, at_ms) < 0)
            log_fatal("the worker's code sent a bad frame: %s", wire_name(frame.type));
        buf_consume(frames, (size_t)size);
    }
}

/* ---- reading back ---- */

const char *record_text(struct record *record)
{
    struct buf text = {0};

    for (size_t i = 0; i < record->events.count; i++) {
        const struct agent_test_emitted *event = record->events.items[i];
        if (strcmp(event->type, "text") == 0)
            json_member_text(event->json, strlen(event->json), "delta", &text);
    }
    free(record->text);
    return record->text = buf_steal(&text);
}

const char *record_transcript(struct record *record)
{
    struct buf text = {0};

    for (size_t i = 0; i < record->events.count; i++) {
        const struct agent_test_emitted *event = record->events.items[i];
        buf_printf(&text, "%s %s\n", event->type, event->json);
    }
    if (*record->status) {
        buf_printf(&text, "done {\"status\":\"%s\"", record->status);
        if (strcmp(record->status, "cancelled") == 0)
            buf_puts(&text, ",\"reason\":\"client\""); /* which a test is */
        if (*record->result)
            buf_printf(&text, ",\"result\":%s", record->result);
        if (*record->code) {
            buf_puts(&text, ",\"error\":{\"code\":");
            json_append_string(&text, record->code);
            buf_puts(&text, ",\"message\":");
            json_append_string(&text, record->message);
            buf_puts(&text, "}");
        }
        buf_puts(&text, "}\n");
    }
    free(record->transcript);
    return record->transcript = buf_steal(&text);
}
