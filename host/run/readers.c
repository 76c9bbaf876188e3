/*
 * Credit. Of what the agent spent, what the holder has read is given back:
 *
 *     the log's cost
 *     ├── read by the holder ──┬──────────── unread ──────────────┤
 *     start                  holder                              end
 *                              spent - returned - unread  ► executor, in steps
 *
 * Cursors carry the cost of all events before them, so one subtraction says what is
 * unread. The run's own first event is in that cost but was not charged: while it is
 * unread, its cost too little is given back.
 *
 * The subscribers' places are a binary heap in an array, the least offset first, so
 * that the front finds who has not read an event that is dropped, and need not walk
 * over all when somebody comes, reads or leaves. The array has the offsets too: a step
 * in the heap looks at no subscriber. A subscriber knows its index. A subscriber whose
 * events were dropped has the place LOST, after all others, until it returns.
 */
#include "run/inside.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define LOST UINT64_MAX

/* Credit is given back in pieces of at least this many bytes. */
#define CREDIT_STEP (32u * 1024)

const struct log_cursor *readers_upto(const struct run *run)
{
    return run->holder ? &run->holder->cursor : &run->log->end;
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

void readers_drop(struct run *run)
{
    struct subscriber *subscriber, *next;

    run_ref(run);
    for (subscriber = TAILQ_FIRST(&run->subscribers); subscriber; subscriber = next) {
        next = TAILQ_NEXT(subscriber, in_run);
        if (subscriber->drop)
            subscriber->drop(subscriber);
    }
    run_unref(run);
}

/* ---- places ---- */

static void place_put(struct run *run, unsigned index, struct run_place place)
{
    run->places[index] = place;
    place.subscriber->index = index;
}

/* Put the place at the index, or nearer to the root if it is less than what is there. */
static void place_rise(struct run *run, unsigned index, struct run_place place)
{
    while (index > 0 && place.at < run->places[(index - 1) / 2].at) {
        place_put(run, index, run->places[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    place_put(run, index, place);
}

/* Put the place at the index, or further from the root if what is there is less. */
static void place_sink(struct run *run, unsigned index, struct run_place place)
{
    unsigned child;

    while ((child = 2 * index + 1) < run->readers) {
        if (child + 1 < run->readers && run->places[child + 1].at < run->places[child].at)
            child++;
        if (place.at <= run->places[child].at)
            break;
        place_put(run, index, run->places[child]);
        index = child;
    }
    place_put(run, index, place);
}

static void place_add(struct run *run, struct subscriber *subscriber)
{
    if (run->readers == run->places_capacity) {
        run->places_capacity = run->places_capacity ? 2 * run->places_capacity : 4;
        run->places = mem_realloc(run->places, run->places_capacity * sizeof *run->places);
    }
    place_rise(run, run->readers++, (struct run_place){subscriber->cursor.at, subscriber});
}

static void place_remove(struct run *run, const struct subscriber *subscriber)
{
    struct run_place last = run->places[--run->readers];
    unsigned index = subscriber->index;

    if (run->readers == 0) {
        free(run->places);
        run->places = NULL;
        run->places_capacity = 0;
    } else if (index < run->readers) {
        place_rise(run, index, last);
        place_sink(run, last.subscriber->index, last);
    }
}

static bool is_lost(const struct subscriber *subscriber)
{
    return subscriber->run->places[subscriber->index].at == LOST;
}

bool readers_are_behind(const struct run *run, uint64_t upto)
{
    return run->readers > 0 && run->places[0].at < upto;
}

uint64_t readers_lose(struct run *run, uint64_t start)
{
    while (readers_are_behind(run, start)) {
        struct subscriber *subscriber = run->places[0].subscriber;
        if (subscriber->lost == NULL)
            return run->places[0].at;
        assert(subscriber != run->holder);
        place_sink(run, 0, (struct run_place){LOST, subscriber});
        subscriber->lost(subscriber);
    }
    return start;
}

/* ---- the holder ---- */

static void pass_on(struct run *run, struct subscriber *subscriber)
{
    run->holder = subscriber;
    return_credit(run);
}

/* The holder has left: the subscriber that came next holds the run. */
static void find_holder(struct run *run)
{
    struct subscriber *subscriber = TAILQ_FIRST(&run->subscribers);

    while (subscriber && is_lost(subscriber))
        subscriber = TAILQ_NEXT(subscriber, in_run);
    pass_on(run, subscriber);
}

/* A subscriber has come, or has come back. */
static void offer(struct run *run, struct subscriber *subscriber)
{
    if (run->holder == NULL && !run->has_expelled)
        run->holder = subscriber;
}

void run_yield(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;
    struct subscriber *other;

    if (subscriber != run->holder)
        return;
    TAILQ_FOREACH(other, &run->subscribers, in_run) {
        if (other != subscriber && other->cursor.at == run->log->end.at) {
            pass_on(run, other);
            return;
        }
    }
}

/* ---- subscribers ---- */

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
    place_add(run, subscriber);
    offer(run, subscriber);
    runs_account(run->runs, run);
    run_set_deserted(run, false);
}

void run_unsubscribe(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;

    TAILQ_REMOVE(&run->subscribers, subscriber, in_run);
    subscriber->run = NULL;
    place_remove(run, subscriber);
    if (subscriber == run->holder)
        find_holder(run);
    runs_account(run->runs, run);
    run_unref(run);
}

void run_leave(struct subscriber *subscriber)
{
    struct run *run = run_ref(subscriber->run);

    run_unsubscribe(subscriber);
    if (run->readers == 0)
        run_set_deserted(run, true);
    run_unref(run);
}

void run_expel(struct subscriber *subscriber)
{
    struct run *run = subscriber->run;

    run->has_expelled |= subscriber == run->holder;
    run_leave(subscriber);
}

void run_return(struct subscriber *subscriber, const struct log_cursor *cursor)
{
    struct run *run = subscriber->run;

    subscriber->cursor = *cursor;
    place_rise(run, subscriber->index, (struct run_place){cursor->at, subscriber});
    offer(run, subscriber);
}

void run_consume(struct subscriber *subscriber, const struct log_cursor *upto)
{
    struct run *run = subscriber->run;

    if (upto->at == subscriber->cursor.at)
        return;
    subscriber->cursor = *upto;
    place_sink(run, subscriber->index, (struct run_place){upto->at, subscriber});
    if (subscriber == run->holder)
        return_credit(run);
}
