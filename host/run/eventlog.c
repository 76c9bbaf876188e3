/*
 * Records (record.h) in a ring of bytes. A cursor carries, besides its offset, the
 * number and the cost of all events before it, so that both are known at each
 * place without an index: whoever walks adds them up, and the log keeps those of
 * its two ends.
 */
#include "run/eventlog.h"

#include "base/mem.h"
#include "run/record.h"
#include "wire/frames.h"

#include <assert.h>
#include <stdlib.h>

struct log {
    struct eventlog ends; /* first; their offsets are those of the ring */
    struct ring ring;
    struct record_types types;
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
    record_types_finish(&log->types);
    free(log);
}

static void cursor_pass(struct log_cursor *cursor, const struct record_head *head)
{
    cursor->at += head->size;
    cursor->sequence++;
    cursor->cost += wire_charge(head->type_length, head->json_length);
}

void eventlog_append(struct eventlog *ends, struct event *event)
{
    struct log *log = (struct log *)ends;
    struct record_head head = record_append(&log->ring, &log->types, event);

    cursor_pass(&ends->end, &head);
    event->sequence = ends->end.sequence;
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
    if (sequence > cursor.sequence)
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

void eventlog_drop(struct eventlog *ends, size_t keep, uint64_t upto)
{
    struct log *log = (struct log *)ends;
    struct log_cursor *start = &ends->start;
    uint64_t from = start->at;

    while (upto - start->at > keep) {
        struct record_head head = record_head(&log->ring, &log->types, start->at);
        if (start->at + head.size > upto)
            break;
        cursor_pass(start, &head);
    }
    if (start->at > from)
        ring_trim(&log->ring, start->at);
}

size_t eventlog_memory(const struct eventlog *ends)
{
    const struct log *log = whole(ends);

    return log->ring.capacity + record_types_memory(&log->types);
}
