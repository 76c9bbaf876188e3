/*
 * The events of one run, numbered from 1 without gaps. They know no protocol: an
 * encoder makes frames of them (protocol/encoder.h).
 *
 * A reader has a cursor, a place between two events, and moves it with the verbs
 * below. A verb must have set the cursor, and the events after it must still be
 * kept: run.h says which are.
 *
 * A log does no I/O and knows no reader.
 */
#ifndef RUN_EVENTLOG_H
#define RUN_EVENTLOG_H

#include "base/buf.h"
#include "run/event.h"

struct log_cursor {
    uint64_t at;       /* offset of the event that comes next, in bytes of the log */
    uint64_t sequence; /* number of the event before, 0 for none */
    uint64_t cost;     /* of all events before, as wire_charge() has it */
};

/* Only the verbs change it; what else a log has is eventlog.c's. */
struct eventlog {
    struct log_cursor start; /* before the oldest event that is kept */
    struct log_cursor end;   /* after the newest event */
    uint32_t closings;       /* questions that were closed */
};

struct eventlog *eventlog_create(void);
void eventlog_destroy(struct eventlog *log);

/* Make room for an event; false if there is no memory. */
bool eventlog_reserve(struct eventlog *log, const struct event *event);

/* Number an event and append it. */
void eventlog_append(struct eventlog *log, struct event *event);

/*
 * Note that the question of the event of this number is closed: answered, or no longer asked. So
 * that a reader can show events again as it did before, it says how many closings it knew of.
 */
void eventlog_close(struct eventlog *log, uint64_t sequence);
bool eventlog_is_closed(const struct eventlog *log, uint64_t sequence, uint32_t closings);

/* Return the place after the event of this number, at least the start and at most the end. */
struct log_cursor eventlog_seek(const struct eventlog *log, uint64_t sequence);

/*
 * Read the event after the cursor and move the cursor past it; the cursor must
 * not be at the end. The event points into the log, or into scratch: it is valid
 * until one of them changes.
 */
void eventlog_read(const struct eventlog *log, struct log_cursor *cursor, struct buf *scratch,
                   struct event *event);

/* Move the cursor past this number of events. */
void eventlog_skip(const struct eventlog *log, struct log_cursor *cursor, uint64_t events);

/* Return the place after the events that eventlog_drop() would forget. */
struct log_cursor eventlog_surplus(const struct eventlog *log, size_t keep, uint64_t upto);

/* Forget the oldest events while there are more than keep bytes of them before the offset upto. */
void eventlog_drop(struct eventlog *log, size_t keep, uint64_t upto);

/* Take no more memory than the events need. */
void eventlog_fit(struct eventlog *log);

/* Bytes that the log has allocated. */
size_t eventlog_memory(const struct eventlog *log);

/* Return the number of the newest event, 0 for none. */
static inline uint64_t eventlog_last(const struct eventlog *log)
{
    return log->end.sequence;
}

#endif
