/*
 * The record of a run, as a test reads it back: taken from the frames that leave the
 * worker's code.
 */
#ifndef HARNESS_RECORD_H
#define HARNESS_RECORD_H

#include "agent_test.h"
#include "base/buf.h"
#include "harness/list.h"

#include <stdint.h>

struct record {
    struct list events;   /* struct agent_test_emitted */
    struct list requests; /* struct agent_test_requested */
    const char *status;   /* "" until it has ended */
    char *code;
    char *message;
    char *result;
    uint64_t elapsed_ms;
    char *text;       /* that was read back */
    char *transcript; /* the same */
};

void record_init(struct record *record);
void record_finish(struct record *record);

/* Take all frames, which were sent at this time of the run. */
void record_take(struct record *record, struct buf *frames, uint64_t at_ms);

/* Make what is read back; valid until the next call. */
const char *record_text(struct record *record);
const char *record_transcript(struct record *record);

#endif
