/*
 * Packing: for a reader that is behind, consecutive `text` events become one
 * with their deltas joined and the number of the last. The reader gets the same
 * text, and a number still means "all up to here". Only events that are exactly
 * {"delta":"..."} are packed; all others stay as they are.
 *
 * Packing works on events, before any encoder. No I/O.
 */
#ifndef RUN_PACK_H
#define RUN_PACK_H

#include "run/eventlog.h"

/* Maximum bytes of a packed event's JSON. */
#define PACK_MAX (16u * 1024)

/* What pack_read() needs besides the log: a plain struct, zeroed is empty. */
struct pack {
    struct buf scratch;
    struct buf joined;
};

/* Return true if the event can be packed; set what is between the quotes of its delta. */
bool pack_delta(const struct event *event, const char **inside, size_t *length);

/*
 * As eventlog_read(), but reads as many events as one can stand for, none of them
 * at or after the offset limit, which is between two events. The same start and
 * limit always give the same event. It points into the log or into pack.
 */
void pack_read(const struct eventlog *log, struct log_cursor *cursor, uint64_t limit,
               struct pack *pack, struct event *event);

void pack_finish(struct pack *pack);

#endif
