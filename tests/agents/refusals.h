/* Calls that a host refuses, and the words in which it tells: one table for the worker's host
 * (tests/unit/test_refused.c) and for the harness (tests/agents/test_harness.c). */
#ifndef TESTS_REFUSALS_H
#define TESTS_REFUSALS_H

#include <stddef.h>

struct refusal_case {
    int (*call)(void); /* in a run */
    int status;        /* what it returns */
    const char *text;  /* what is told */
};

extern const struct refusal_case refusals[];
extern const size_t refusal_count;

/* emit_event(type, json), and what is told; "" if it is accepted. */
struct refused_event {
    const char *type, *json, *text;
};

extern const struct refused_event refused_events[];
extern const size_t refused_event_count;

#endif
