/*
 * The events of one run, numbered from 1 without gaps and kept encoded, as
 * encode_sse.h has them, in a ring of bytes: what a stream sends is a view of
 * it. Offsets are those of the ring; the start and the end of the log are
 * always between two events. A plain struct: zeroed is empty.
 *
 * It does no I/O and knows no reader: run.h says what is kept, and how long.
 */
#ifndef RUN_EVENTLOG_H
#define RUN_EVENTLOG_H

#include "base/buf.h"
#include "protocol/native.h"
#include "run/ring.h"

#include <stdbool.h>

struct eventlog {
    struct ring ring;
    uint64_t last;    /* number of the newest event, 0 for none */
    uint64_t dropped; /* number of the newest event that is not kept any more, 0 for none */
};

/* Numbers, encodes and appends an event. */
void eventlog_append(struct eventlog *log, const char *run_id, struct event *event);

/* The offset behind the event of this number, or of the oldest that is kept if that is later. */
uint64_t eventlog_behind(const struct eventlog *log, uint64_t sequence);

/* The end of the event in which the offset lies; the offset itself if it is the log's end. */
uint64_t eventlog_event_end(const struct eventlog *log, uint64_t at);

/* Whether the offset is between two events. */
bool eventlog_is_boundary(const struct eventlog *log, uint64_t at);

/*
 * Reads the event at the offset, which is between two events and not the
 * end; returns the offset behind it. The event points into the log, or into
 * scratch if it lies across the ring's seam: valid until either changes.
 */
uint64_t eventlog_read(const struct eventlog *log, uint64_t at, struct buf *scratch,
                       struct event *event);

/* Forgets the oldest events while there are more than keep bytes of them before upto. */
void eventlog_drop(struct eventlog *log, size_t keep, uint64_t upto);

void eventlog_finish(struct eventlog *log);

#endif
