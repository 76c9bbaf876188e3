/*
 * Readers: who reads a run's events, each at its own cursor.
 *
 *   - What a subscriber has not read is never dropped. Unread events cost the run's
 *     credit (wire_charge()), of which there is WIRE_WINDOW: an agent whose slowest
 *     reader is that far behind waits, and goes on when that reader has read events.
 *   - An event that was read in part counts as unread.
 *   - When the last subscriber leaves, the run's time to linger begins.
 */
#ifndef RUN_READERS_H
#define RUN_READERS_H

#include "run/eventlog.h"

#include <stdbool.h>
#include <sys/queue.h>

struct run;

/* A reader, embedded in what it is part of. */
struct subscriber {
    /* There is more to read. It may read, and unsubscribe itself. */
    void (*appended)(struct subscriber *self);
    /* NULL for a reader that is never behind: its client takes nothing now, so it may be dropped.
     */
    bool (*is_blocked)(const struct subscriber *self);
    /* Leave the run at once: its client holds too much. */
    void (*drop)(struct subscriber *self);
    struct run *run;                /* a reference; NULL: not subscribed */
    struct log_cursor cursor;       /* before the first event that it has not read */
    unsigned index;                 /* readers.c */
    TAILQ_ENTRY(subscriber) in_run; /* in run->subscribers */
};

/* Read from after the event of this number, or from the oldest that is kept: then gap says what is
 * missing. */
void run_subscribe(struct run *run, struct subscriber *subscriber, uint64_t after,
                   struct run_gap *gap);
void run_unsubscribe(struct subscriber *subscriber);

/* Unsubscribe because the client left: if it was the last, the run's time to linger begins. */
void run_leave(struct subscriber *subscriber);

/* The subscriber has read all events before the cursor. */
void run_consume(struct subscriber *subscriber, const struct log_cursor *upto);

#endif
