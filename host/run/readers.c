/*
 * Credit. Of what the agent spent, what all subscribers have read is given back:
 *
 *     the log's cost
 *     ├──── read by all ────┬───────────── unread ─────────────┤
 *     start              slowest                              end
 *                           spent - returned - unread  ► executor, in steps
 *
 * Cursors carry the cost of all events before them, so one subtraction says what is
 * unread. The run's own first event is in that cost but was not charged: while it is
 * unread, its cost too little is given back.
 *
 * The slowest place is kept with the number of subscribers there. Only when the
 * last of them moves on are all subscribers looked at: an event to a hundred
 * readers costs one such walk.
 */
#include "run/inside.h"

/* Credit is given back in pieces of at least this many bytes. */
#define CREDIT_STEP (32u * 1024)

const struct log_cursor *readers_upto(const struct run *run)
{
    return run->slowest_count > 0 ? &run->slowest : &run->log->end;
}

bool readers_charge(struct run *run, const struct event *event)
{
    run->spent += wire_charge(event->type_length, event->json_length);
    return run->spent - run->returned <= WIRE_WINDOW;
}

static void return_credit(struct run *run)
{
    uint64_t credit = run->spent - run->returned;
    uint64_t unread = run->log->end.cost - readers_upto(run)->cost;

    if (run->executor == NULL || credit < unread + CREDIT_STEP)
        return;
    credit -= unread;
    run->returned += credit;
    run->executor->credit(run->executor_data, run->number, (uint32_t)credit);
}

void readers_tell(struct run *run)
{
    struct subscriber *subscriber, *next;

    for (subscriber = TAILQ_FIRST(&run->subscribers); subscriber; subscriber = next) {
        next = TAILQ_NEXT(subscriber, in_run);
        subscriber->appended(subscriber);
    }
    return_credit(run);
}

static void find_slowest(struct run *run)
{
    const struct subscriber *subscriber;

    run->slowest_count = 0;
    TAILQ_FOREACH(subscriber, &run->subscribers, in_run) {
        if (run->slowest_count == 0 || subscriber->cursor.at < run->slowest.at) {
            run->slowest = subscriber->cursor;
            run->slowest_count = 0;
        }
        run->slowest_count += subscriber->cursor.at == run->slowest.at;
    }
}

/* A subscriber is no longer at this offset. */
static void left_offset(struct run *run, uint64_t offset)
{
    if (offset != run->slowest.at || --run->slowest_count > 0)
        return;
    find_slowest(run);
    return_credit(run);
}

void run_subscribe(struct run *run, struct subscriber *subscriber, uint64_t after,
                   struct run_gap *gap)
{
    uint64_t dropped;

    if (!run_has_ended(run)) /* otherwise each new reader could pin more unread events */
        runs_drop(run->runs, run, run->log->end.at);
    dropped = run->log->start.sequence;
    *gap = (struct run_gap){0};
    if (after < dropped)
        *gap = (struct run_gap){.from = after + 1, .to = dropped};
    subscriber->run = run_ref(run);
    subscriber->cursor = eventlog_seek(run->log, after);
    TAILQ_INSERT_TAIL(&run->subscribers, subscriber, in_run);
    find_slowest(run);
    run_set_deserted(run, false);
}

void run_unsubscribe(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;

    TAILQ_REMOVE(&run->subscribers, subscriber, in_run);
    subscriber->run = NULL;
    left_offset(run, subscriber->cursor.at);
    run_unref(run);
}

void run_leave(struct subscriber *subscriber)
{
    struct run *run = run_ref(subscriber->run);

    run_unsubscribe(subscriber);
    if (run->slowest_count == 0)
        run_set_deserted(run, true);
    run_unref(run);
}

void run_consume(struct subscriber *subscriber, const struct log_cursor *upto)
{
    uint64_t from = subscriber->cursor.at;

    if (upto->at == from)
        return;
    subscriber->cursor = *upto;
    left_offset(subscriber->run, from);
}
