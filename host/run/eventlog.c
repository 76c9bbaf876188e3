/*
 * Records (record.h) in a ring of bytes. A cursor carries, besides its offset, the
 * number and the cost of all events before it: whoever walks adds them up, and the
 * log keeps those of its two ends.
 *
 * An event is found by its number through marks: the cursor after each event whose
 * number is a multiple of MARK_EVERY. Marks are in a ring too, the first mark ever at
 * its offset 0; a mark is dropped when the event after it is. So a search walks over
 * less than MARK_EVERY events, however long the log is.
 */
#include "run/eventlog.h"

#include "base/mem.h"
#include "run/record.h"
#include "wire/frames.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MARK_EVERY 64
#define MARK_SIZE  sizeof(struct log_cursor)

struct log {
    struct eventlog ends; /* first; their offsets are those of the ring */
    struct ring ring;
    struct ring marks;
    struct record_types types;
    struct closing *closed; /* by their numbers; of events before the start some may be left */
    unsigned closed_count, closed_room;
};

/* A question that is closed. */
struct closing {
    uint64_t sequence; /* of its event */
    uint32_t order;    /* of closings, from 0 */
};

struct eventlog *eventlog_create(void)
{
    struct log *log = mem_alloc(sizeof *log);

    return &log->ends;
}

static const struct log *whole(const struct eventlog *ends)
{
    return (const struct log *)ends;
}

void eventlog_destroy(struct eventlog *ends)
{
    struct log *log = (struct log *)ends;

    if (log == NULL)
        return;
    ring_finish(&log->ring);
    ring_finish(&log->marks);
    record_types_finish(&log->types);
    free(log->closed);
    free(log);
}

static void cursor_pass(struct log_cursor *cursor, const struct record_head *head)
{
    cursor->at += head->size;
    cursor->sequence++;
    cursor->cost += wire_charge(head->type_length, head->json_length);
}

/* ---- marks ---- */

/* Return the offset of the mark after the event of this number, a multiple of MARK_EVERY. */
static uint64_t mark_at(uint64_t sequence)
{
    return (sequence / MARK_EVERY - 1) * MARK_SIZE;
}

static void marks_add(struct ring *marks, const struct log_cursor *cursor)
{
    uint64_t at = marks->end;

    ring_claim(marks, MARK_SIZE);
    ring_put(marks, at, cursor, MARK_SIZE);
}

/* Drop the marks before the log's start; the mark at the start itself may go, too. */
static void marks_drop(struct ring *marks, const struct log_cursor *start)
{
    uint64_t upto = start->sequence / MARK_EVERY * MARK_SIZE;

    if (upto <= marks->start)
        return;
    ring_trim(marks, upto);
    if (upto == marks->end) { /* a short log needs no memory for marks */
        ring_finish(marks);
        marks->start = marks->end = upto;
    }
}

/* Move the cursor to the last mark after it and not after the event of this number, if any. */
static void marks_find(const struct ring *marks, uint64_t sequence, struct log_cursor *cursor)
{
    if (sequence / MARK_EVERY > cursor->sequence / MARK_EVERY)
        ring_copy(marks, mark_at(sequence), cursor, MARK_SIZE);
}

/* ---- events ---- */

bool eventlog_reserve(struct eventlog *ends, const struct event *event)
{
    struct log *log = (struct log *)ends;

    return ring_reserve(&log->ring, RECORD_EXCESS + event->type_length + event->json_length);
}

void eventlog_append(struct eventlog *ends, struct event *event)
{
    struct log *log = (struct log *)ends;
    struct record_head head = record_append(&log->ring, &log->types, event);

    cursor_pass(&ends->end, &head);
    event->sequence = ends->end.sequence;
    if (event->sequence % MARK_EVERY == 0)
        marks_add(&log->marks, &ends->end);
}

void eventlog_skip(const struct eventlog *ends, struct log_cursor *cursor, uint64_t events)
{
    const struct log *log = whole(ends);

    for (; events > 0; events--) {
        struct record_head head = record_head(&log->ring, &log->types, cursor->at);
        cursor_pass(cursor, &head);
    }
}

struct log_cursor eventlog_seek(const struct eventlog *ends, uint64_t sequence)
{
    struct log_cursor cursor = ends->start;

    if (sequence >= ends->end.sequence)
        return ends->end;
    if (sequence <= cursor.sequence)
        return cursor;
    marks_find(&whole(ends)->marks, sequence, &cursor);
    eventlog_skip(ends, &cursor, sequence - cursor.sequence);
    return cursor;
}

void eventlog_read(const struct eventlog *ends, struct log_cursor *cursor, struct buf *scratch,
                   struct event *event)
{
    const struct log *log = whole(ends);
    struct record_head head;

    assert(cursor->at < ends->end.at);
    head = record_read(&log->ring, &log->types, cursor->at, scratch, event);
    cursor_pass(cursor, &head);
    event->sequence = cursor->sequence;
}

/* ---- closed questions ---- */

/* Return how many of them are before the event of this number. */
static unsigned closed_before(const struct log *log, uint64_t sequence)
{
    unsigned low = 0, high = log->closed_count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (log->closed[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Forget those of events that are dropped. */
static void closed_drop(struct log *log)
{
    unsigned dropped = closed_before(log, log->ends.start.sequence + 1);

    if (dropped == 0)
        return;
    log->closed_count -= dropped;
    memmove(log->closed, log->closed + dropped, log->closed_count * sizeof *log->closed);
}

void eventlog_close(struct eventlog *ends, uint64_t sequence)
{
    struct log *log = (struct log *)ends;
    unsigned at;

    closed_drop(log);
    at = closed_before(log, sequence);
    if (log->closed_count == log->closed_room) {
        log->closed_room = log->closed_room ? 2 * log->closed_room : 4;
        log->closed = mem_realloc(log->closed, log->closed_room * sizeof *log->closed);
    }
    memmove(log->closed + at + 1, log->closed + at, (log->closed_count - at) * sizeof *log->closed);
    log->closed[at] = (struct closing){.sequence = sequence, .order = ends->closings++};
    log->closed_count++;
}

bool eventlog_is_closed(const struct eventlog *ends, uint64_t sequence, uint32_t closings)
{
    const struct log *log = whole(ends);
    unsigned at = closed_before(log, sequence);

    return at < log->closed_count && log->closed[at].sequence == sequence &&
           log->closed[at].order < closings;
}

/* ---- what is kept ---- */

struct log_cursor eventlog_surplus(const struct eventlog *ends, size_t keep, uint64_t upto)
{
    const struct log *log = whole(ends);
    struct log_cursor cursor = ends->start;

    while (upto > cursor.at && upto - cursor.at > keep) {
        struct record_head head = record_head(&log->ring, &log->types, cursor.at);
        if (cursor.at + head.size > upto)
            break;
        cursor_pass(&cursor, &head);
    }
    return cursor;
}

void eventlog_drop(struct eventlog *ends, size_t keep, uint64_t upto)
{
    struct log *log = (struct log *)ends;
    struct log_cursor start = eventlog_surplus(ends, keep, upto);

    if (start.at == ends->start.at)
        return;
    ends->start = start;
    ring_trim(&log->ring, start.at);
    marks_drop(&log->marks, &ends->start);
}

void eventlog_fit(struct eventlog *ends)
{
    struct log *log = (struct log *)ends;

    ring_fit(&log->ring);
}

size_t eventlog_memory(const struct eventlog *ends)
{
    const struct log *log = whole(ends);

    return log->ring.capacity + log->marks.capacity + record_types_memory(&log->types) +
           log->closed_room * sizeof *log->closed;
}
