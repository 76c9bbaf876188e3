/* Linked with --wrap: whatever the front appends to a log passes through here. */
#include "front_truth.h"

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
void __real_run_cancel(struct run *run);
void __wrap_run_cancel(struct run *run);
bool __real_run_take_memory(struct run *run, size_t size);
bool __wrap_run_take_memory(struct run *run, size_t size);

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

void truth_must_cancel(struct truth *truth)
{
    truth->must_cancel = truth->may_cancel = true;
}

void truths_check(void)
{
    for (const struct truth *truth = truths; truth; truth = truth->next)
        LAW(!truth->must_cancel || truth->cancelled || truth->done,
            "a question did not cancel its run");
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

void __wrap_run_cancel(struct run *run)
{
    truth_of(run_log(run))->cancelled = true;
    __real_run_cancel(run);
}

bool __wrap_run_take_memory(struct run *run, size_t size)
{
    bool taken = __real_run_take_memory(run, size);

    if (!taken)
        truth_of(run_log(run))->refused = true;
    return taken;
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
