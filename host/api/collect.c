#include "api/collect.h"

#include "base/json.h"
#include "base/mem.h"
#include "run/pack.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

struct collector {
    struct subscriber subscriber; /* first */
    struct http_request *request;
    struct buf text;  /* the inside of a JSON string */
    struct buf usage; /* the last usage event's JSON */
    bool truncated;
};

/* How it leaves the run is for the caller to say. */
static void collector_destroy(struct collector *collector, void (*leave)(struct subscriber *self))
{
    run_give_memory(collector->subscriber.run, buf_length(&collector->text));
    leave(&collector->subscriber);
    buf_finish(&collector->text);
    buf_finish(&collector->usage);
    free(collector);
}

/* Makes room for so many bytes of text; NULL, from then on, if there is none. */
static char *reserve_text(struct collector *collector, size_t length)
{
    char *to;

    if (collector->truncated || buf_length(&collector->text) + length > COLLECT_TEXT_MAX ||
        !run_take_memory(collector->subscriber.run, length)) {
        collector->truncated = true;
        return NULL;
    }
    to = buf_reserve(&collector->text, length);
    buf_commit(&collector->text, length);
    return to;
}

/* The delta of text that has other members besides. */
static void add_parsed(struct collector *collector, const struct event *event)
{
    cJSON *json = cJSON_ParseWithLength(event->json, event->json_length);
    const char *delta = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "delta"));
    ssize_t length = delta ? json_escaped_length(delta, strlen(delta)) : 0;
    char *to = length > 0 ? reserve_text(collector, (size_t)length) : NULL;

    if (to)
        json_escape(to, delta, strlen(delta));
    cJSON_Delete(json);
}

static void add_text(struct collector *collector, const struct event *event)
{
    const char *inside;
    size_t length;
    char *to;

    if (!pack_delta(event, &inside, &length)) {
        add_parsed(collector, event);
        return;
    }
    to = length > 0 ? reserve_text(collector, length) : NULL;
    if (to)
        memcpy(to, inside, length);
}

static void keep_usage(struct collector *collector, const struct event *event)
{
    buf_consume(&collector->usage, buf_length(&collector->usage));
    buf_append(&collector->usage, event->json, event->json_length);
}

static unsigned http_status(enum run_state state)
{
    return state == RUN_finished ? 200 : state == RUN_cancelled ? 409 : 500;
}

/* The done event's JSON is an object: its members end the document. */
static void collector_reply(struct collector *collector, const struct event *done)
{
    struct http_request *request = collector->request;
    unsigned status = http_status(run_get_state(collector->subscriber.run));
    struct buf body = {0};

    run_describe_agent(collector->subscriber.run, &body);
    buf_puts(&body, ",\"text\":\"");
    buf_append(&body, buf_data(&collector->text), buf_length(&collector->text));
    buf_puts(&body, collector->truncated ? "\",\"truncated\":true" : "\"");
    if (buf_length(&collector->usage) > 0) {
        buf_puts(&body, ",\"usage\":");
        buf_append(&body, buf_data(&collector->usage), buf_length(&collector->usage));
    }
    buf_puts(&body, ",");
    buf_append(&body, done->json + 1, done->json_length - 1);
    buf_puts(&body, "\n");
    http_reply(request, status, "application/json", &body);
}

/* Whether that was the last. */
static bool collector_take(struct collector *collector, const struct event *event)
{
    if (event_is(event, "text"))
        add_text(collector, event);
    else if (event_is(event, "usage"))
        keep_usage(collector, event);
    else if (event_is(event, "done"))
        collector_reply(collector, event);
    return event_is(event, "done");
}

/* Reads what there is; at its end the collector is gone. */
static void collector_read(struct collector *collector)
{
    struct subscriber *subscriber = &collector->subscriber;
    const struct eventlog *log = run_log(subscriber->run);
    uint64_t at = subscriber->cursor;
    struct buf scratch = {0};
    struct event event;
    bool done = false;

    while (!done && at < log->ring.end) {
        at = eventlog_read(log, at, &scratch, &event);
        done = collector_take(collector, &event);
    }
    buf_finish(&scratch);
    run_consume(subscriber, at);
    if (done)
        collector_destroy(collector, run_unsubscribe);
}

static void on_appended(struct subscriber *subscriber)
{
    collector_read((struct collector *)subscriber);
}

static void on_left(void *data)
{
    collector_destroy(data, run_leave);
}

void collect_open(struct http_request *request, struct run *run)
{
    struct collector *collector = mem_alloc(sizeof *collector);
    struct run_gap gap;

    collector->subscriber.appended = on_appended;
    collector->request = request;
    run_subscribe(run, &collector->subscriber, 0, &gap);
    collector->truncated = gap.to > 0;
    if (!run_has_ended(run))
        http_wait(request, on_left, collector);
    collector_read(collector);
}
