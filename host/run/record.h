/*
 * Records: how an event lies in the ring of its log. A record is
 *
 *     u32: number of the type in the low byte, length of the rest above | JSON
 *
 * The rest of a record with the number RECORD_NAMED is u8 length of the type |
 * type | JSON. So a 64-byte event takes 68 bytes, and its end is found without
 * a look at its text. Only eventlog.c includes this file.
 */
#ifndef RUN_RECORD_H
#define RUN_RECORD_H

#include "base/buf.h"
#include "run/event.h"
#include "run/ring.h"

/* Maximum bytes of a record besides its type and JSON. */
#define RECORD_EXCESS 5

/* The names that a run gave to its own types of events: a plain struct, zeroed is empty. */
struct record_types {
    struct record_type *own;
    unsigned count;
    unsigned last; /* number of the last event's type */
};

/* A record's parts, by their lengths. */
struct record_head {
    unsigned type;
    size_t type_length;
    size_t json_length;
    size_t size; /* of the whole record */
};

/* Append an event; its length must be below 16 MiB. Return what it took. */
struct record_head record_append(struct ring *ring, struct record_types *types,
                                 const struct event *event);

/* Return the lengths of the record at the offset. */
struct record_head record_head(const struct ring *ring, const struct record_types *types,
                               uint64_t at);

/*
 * Set the type and the JSON of the event at the offset, and return its lengths. The
 * texts point into the ring and the table, or into scratch if the record lies
 * across the ring's seam: they are valid until one of them changes.
 */
struct record_head record_read(const struct ring *ring, const struct record_types *types,
                               uint64_t at, struct buf *scratch, struct event *event);

/* Bytes that the table takes. */
size_t record_types_memory(const struct record_types *types);

void record_types_finish(struct record_types *types);

#endif
