/* Linked with --wrap: whatever the front appends to a log passes through here. */
#include "front_truth.h"

#include "run/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

void __real_eventlog_append(struct eventlog *log, struct event *event);
void __wrap_eventlog_append(struct eventlog *log, struct event *event);
struct eventlog *__real_eventlog_create(void);
struct eventlog *__wrap_eventlog_create(void);
void __real_eventlog_destroy(struct eventlog *log);
void __wrap_eventlog_destroy(struct eventlog *log);

static struct truth *truths;

void law_broken(const char *words, const char *file, int line)
{
    fprintf(stderr, "%s:%d: a law is broken: %s\n", file, line, words);
    abort();
}

struct truth *truth_of(const struct eventlog *log)
{
    struct truth *truth = truths;

    while (truth && truth->log != log)
        truth = truth->next;
    LAW(truth, "a log is used after its run was forgotten");
    return truth;
}

struct eventlog *__wrap_eventlog_create(void)
{
    struct truth *truth = calloc(1, sizeof *truth);

    truth->log = __real_eventlog_create();
    truth->next = truths;
    truths = truth;
    return (struct eventlog *)truth->log;
}

static bool says_status(const struct event *event, const char *status)
{
    char begin[48];
    size_t length = (size_t)snprintf(begin, sizeof begin, "{\"status\":\"%s\"", status);

    return event->json_length > length && memcmp(event->json, begin, length) == 0;
}

static void check_done(const struct truth *truth, const struct event *event)
{
    static const char unavailable[] = "\"code\":\"unavailable\"";
    static const char drained[] = "\"code\":\"drain_timeout\"";

    LAW(memmem(event->json, event->json_length, drained, strlen(drained)) == NULL ||
            (truth->drain_ms > 0 && truth->drain_ms <= uv_hrtime() / CLOCK_MS),
        "a run ends before its worker's time to drain is over");
    if (says_status(event, "finished"))
        LAW(truth->may_finish, "a run finished, but its agent did not");
    else if (says_status(event, "cancelled"))
        LAW(truth->may_cancel, "a run was cancelled, but nobody wanted that");
    else if (!truth->started &&
             memmem(event->json, event->json_length, unavailable, strlen(unavailable)))
        return; /* its plugin cannot serve */
    else
        LAW(truth->may_fail && says_status(event, "failed"), "a run failed without a cause");
}

void __wrap_eventlog_append(struct eventlog *log, struct event *event)
{
    struct truth *truth = truth_of(log);
    struct truth_event *copy;

    LAW(!truth->done, "an event follows `done`");
    __real_eventlog_append(log, event);
    LAW(event->sequence == truth->count + 1, "an event has not the next number");
    if (truth->count % 32 == 0)
        truth->events = realloc(truth->events, (truth->count + 32) * sizeof *truth->events);
    copy = &truth->events[truth->count++];
    copy->type = strndup(event->type, event->type_length);
    copy->json = malloc(event->json_length + 1);
    memcpy(copy->json, event->json, event->json_length);
    copy->json_length = event->json_length;
    truth->done = event_is(event, "done");
    if (truth->done)
        check_done(truth, event);
}

void __wrap_eventlog_destroy(struct eventlog *log)
{
    struct truth *truth = truth_of(log);

    LAW(truth->done, "a run is forgotten that has not ended");
    truth->log = NULL;
    __real_eventlog_destroy(log);
}

void truth_reset(void)
{
    while (truths) {
        struct truth *truth = truths;

        LAW(truth->log == NULL, "a log is left");
        truths = truth->next;
        for (size_t i = 0; i < truth->count; i++) {
            free(truth->events[i].type);
            free(truth->events[i].json);
        }
        free(truth->events);
        free(truth);
    }
}

/* Set what is between the quotes of a text event's delta; false if the event has another shape. */
static bool inside_of(const struct truth_event *event, const char **inside, size_t *length)
{
    struct event view = {.kind = event_kind_of(event->type, strlen(event->type)),
                         .type = event->type,
                         .type_length = strlen(event->type),
                         .json = event->json,
                         .json_length = event->json_length};

    return pack_delta(&view, inside, length);
}

void truth_check(const struct truth *truth, uint64_t first, uint64_t number, const char *type,
                 size_t type_length, const char *json, size_t json_length)
{
    const struct truth_event *event;
    const char *at, *inside;
    size_t length;

    LAW(number >= first, "a number goes back");
    LAW(number <= truth->count, "a client gets an event that there never was");
    event = &truth->events[number - 1];
    if (number == first) {
        LAW(strlen(event->type) == type_length && memcmp(event->type, type, type_length) == 0,
            "an event arrives with another type");
        LAW(event->json_length == json_length && memcmp(event->json, json, json_length) == 0,
            "an event arrives with other JSON");
        return;
    }
    LAW(type_length == strlen("text") && memcmp(type, "text", type_length) == 0 &&
            json_length > strlen("{\"delta\":\"\"}"),
        "a hole has no `gap`");
    LAW(json_length <= PACK_MAX, "a packed text is too long");
    at = json + strlen("{\"delta\":\"");
    for (uint64_t n = first; n <= number; n++) {
        LAW(inside_of(&truth->events[n - 1], &inside, &length), "a packed text hides an event");
        LAW(length <= (size_t)(json + json_length - at) && memcmp(at, inside, length) == 0,
            "a packed text has lost some");
        at += length;
    }
    LAW(at + strlen("\"}") == json + json_length, "a packed text has too much");
}

void truth_check_document(const struct truth *truth, unsigned status, const struct buf *document)
{
    static const char begin[] = ",\"text\":\"";
    const char *text, *inside;
    struct event done;
    size_t length;

    LAW(truth->done, "a document comes before the end of its run");
    done = (struct event){.json = truth->events[truth->count - 1].json,
                          .json_length = truth->events[truth->count - 1].json_length};
    LAW(status == 0 || status == (says_status(&done, "finished") ? 200u
                                  : says_status(&done, "failed") ? 500u
                                                                 : 409u),
        "a document's status is not that of the run");
    text = memmem(buf_data(document), buf_length(document), begin, strlen(begin));
    LAW(text, "a document has no text");
    if (memmem(text, buf_length(document) - (size_t)(text - buf_data(document)),
               "\"truncated\":true", strlen("\"truncated\":true")))
        return;
    text += strlen(begin);
    for (size_t i = 0; i < truth->count; i++) {
        if (strcmp(truth->events[i].type, "text") != 0)
            continue;
        if (!inside_of(&truth->events[i], &inside, &length))
            return; /* another shape: the document has its text in its own way */
        LAW((size_t)(buf_data(document) + buf_length(document) - text) > length &&
                memcmp(text, inside, length) == 0,
            "a document has lost text");
        text += length;
    }
    LAW(*text == '"', "a document has too much text");
}
