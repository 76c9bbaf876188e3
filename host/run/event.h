/* An event of a run, and what encoders may know of the run besides its events. */
#ifndef RUN_EVENT_H
#define RUN_EVENT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Run ids are 128 random bits in base 32 (Crockford's alphabet, lower case). */
#define RUN_ID_LENGTH 26

/* The types that everybody knows (sdk/agent.h), and those of the host. */
#define EVENT_KINDS(X) \
    X(text)            \
    X(reasoning)       \
    X(step)            \
    X(tool_call)       \
    X(tool_result)     \
    X(state)           \
    X(usage)           \
    X(input_request)   \
    X(run)             \
    X(done)

enum event_kind {
    EVENT_OTHER, /* the author's own */
#define X(name) EVENT_##name,
    EVENT_KINDS(X)
#undef X
};

enum event_kind event_kind_of(const char *type, size_t length);

/* The texts are not terminated. The JSON is one line. */
struct event {
    uint64_t sequence;    /* from 1, without gaps */
    enum event_kind kind; /* of an event that was read from a log */
    const char *type;
    size_t type_length;
    const char *json;
    size_t json_length;
    bool closed; /* an input_request: nobody is asked any longer. Set by who shows it. */
};

/* The events from..to are no longer kept; to is 0 if there is no gap. */
struct run_gap {
    uint64_t from, to;
};

/* Who a run is: what a protocol's frames may say besides its events. */
struct run_identity {
    char id[RUN_ID_LENGTH + 1];
    const char *agent;
    const char *version; /* NULL while the run is queued */
    const char *thread;  /* the conversation that the run is a turn of; NULL: none */
    uint64_t generation;
    int64_t created; /* in seconds since 1970 */
};

/* Append a JSON object's first members, which say who the run is; the caller closes the object. */
void run_identity_describe(const struct run_identity *run, struct buf *json);

/* Around what is between the quotes of a delta. */
#define EVENT_DELTA_BEFORE "{\"delta\":\""
#define EVENT_DELTA_AFTER  "\"}"

/*
 * Return true if the event's JSON is exactly {"delta":"..."}, and set what is between the
 * quotes. The delta of an event with other members is found by json_member_text().
 */
bool event_delta(const struct event *event, const char **inside, size_t *length);

static inline bool event_is(const struct event *event, const char *type)
{
    return event->type_length == strlen(type) && memcmp(event->type, type, event->type_length) == 0;
}

#endif
