/*
 * A ring of bytes, addressed by offsets that only grow. Readers keep an offset
 * of their own, so that a slow one costs no copy. It grows and shrinks with
 * what it holds; whoever appends bounds it.
 */
#ifndef RUN_RING_H
#define RUN_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring {
    char *bytes;
    size_t capacity; /* a power of two, or 0 */
    uint64_t start;  /* of what is kept */
    uint64_t end;
};

static inline size_t ring_length(const struct ring *ring)
{
    return (size_t)(ring->end - ring->start);
}

/* The byte at an offset that is kept. */
static inline char ring_byte(const struct ring *ring, uint64_t at)
{
    return ring->bytes[(size_t)at & (ring->capacity - 1)];
}

void ring_append(struct ring *ring, const struct iovec *pieces, int count);

/* What lies between two offsets, in at most two pieces; returns how many. */
int ring_view(const struct ring *ring, uint64_t from, uint64_t to, struct iovec pieces[2]);

/* Forgets what is before the offset. */
void ring_trim(struct ring *ring, uint64_t upto);

void ring_finish(struct ring *ring);

#endif
