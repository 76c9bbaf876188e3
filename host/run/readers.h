/*
 * Readers: who reads a run's events, each at its own cursor.
 *
 *   - One subscriber holds the run: the first, and when it leaves, the next. Events that
 *     the holder has not read are never dropped. They cost the run's credit
 *     (wire_charge()), of which there is WIRE_WINDOW: an agent without credit waits, and
 *     goes on when the holder has read events.
 *   - The others never make the agent wait. Events that they have not read are
 *     kept like history; when such events are dropped, these subscribers are
 *     told, and go on at the log's start.
 *   - A holder that takes nothing for a while passes the run on to a subscriber that has
 *     read everything (run_yield()). After a holder was thrown out (run_expel()), nobody who
 *     comes later holds the run: a client that does not read makes it wait once.
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
    /*
     * Unread events are about to be dropped: look at those that were read in part for the
     * last time, and call run_return() before the next read. It must not unsubscribe
     * anybody. NULL for a subscriber that reads all events in
     * appended(): what it has not read is kept.
     */
    void (*lost)(struct subscriber *self);
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

/* Unsubscribe because the client does not read, as run_leave() does. */
void run_expel(struct subscriber *subscriber);

/* The subscriber takes nothing now: let a subscriber that has read everything hold the run. */
void run_yield(struct subscriber *subscriber);

/* After lost(): go on at the cursor, which is not before the log's start. */
void run_return(struct subscriber *subscriber, const struct log_cursor *cursor);

/* The subscriber has read all events before the cursor. */
void run_consume(struct subscriber *subscriber, const struct log_cursor *upto);

#endif
