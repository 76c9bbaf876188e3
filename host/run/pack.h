/*
 * Packing: for a reader that is behind, consecutive `text` events become one
 * with their deltas joined and the id of the last. It reads the same text, and
 * an id still means "all up to here". Only events that are exactly
 * {"delta":"..."} are packed; all others stay as they are.
 *
 * No I/O.
 */
#ifndef RUN_PACK_H
#define RUN_PACK_H

#include "run/eventlog.h"

/* Most bytes of a packed event's JSON. */
#define PACK_MAX (16u * 1024)

/* Whether the event can be packed; what is between the quotes of its delta, if so. */
bool pack_delta(const struct event *event, const char **inside, size_t *length);

/*
 * Appends one event for those that are packed from the offset on, which is
 * between two events; returns the offset behind them. If there are not at
 * least two: the offset itself, and nothing is appended.
 */
uint64_t pack_text(const struct eventlog *log, const char *run_id, uint64_t from, struct buf *out);

/*
 * The next offset from here on, between two events, at which two could be
 * packed; the log's end, or one that is at least most bytes on, if none is before.
 */
uint64_t pack_find(const struct eventlog *log, uint64_t from, size_t most);

#endif
