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

/* The texts are not terminated. The JSON is one line. */
struct event {
    uint64_t sequence; /* from 1, without gaps */
    const char *type;
    size_t type_length;
    const char *json;
    size_t json_length;
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
    uint64_t generation;
};

/* Append a JSON object's first members, which say who the run is; the caller closes the object. */
void run_identity_describe(const struct run_identity *run, struct buf *json);

static inline bool event_is(const struct event *event, const char *type)
{
    return event->type_length == strlen(type) && memcmp(event->type, type, event->type_length) == 0;
}

#endif
