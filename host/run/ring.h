/*
 * A ring of bytes, addressed by offsets that only grow. Readers keep an offset
 * of their own, so that a slow reader costs no copy. The ring grows and shrinks with
 * its content; whoever appends bounds it.
 */
#ifndef RUN_RING_H
#define RUN_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct ring {
    char *bytes;
    size_t capacity; /* a power of two, or 0 */
    uint64_t start;  /* offset of the oldest byte */
    uint64_t end;
};

static inline size_t ring_length(const struct ring *ring)
{
    return (size_t)(ring->end - ring->start);
}

/* Copy the bytes from an offset on; they must be kept. */
static inline void ring_copy(const struct ring *ring, uint64_t at, void *to, size_t length)
{
    size_t from = (size_t)at & (ring->capacity - 1);

    if (ring->capacity - from >= length) {
        memcpy(to, ring->bytes + from, length);
        return;
    }
    for (size_t i = 0; i < length; i++)
        ((char *)to)[i] = ring->bytes[(from + i) & (ring->capacity - 1)];
}

/* Make room for this number of bytes at the end; false if there is no memory. */
bool ring_reserve(struct ring *ring, size_t length);

/*
 * Make room for this number of bytes at the end, and count them as content. Return where to
 * write them, or NULL if they lie across the seam: then they are for ring_put().
 */
char *ring_claim(struct ring *ring, size_t length);

/* Write bytes at an offset that is kept. */
void ring_put(struct ring *ring, uint64_t at, const void *data, size_t length);

/* Set the pieces, at most two, that lie between two offsets; return their number. */
int ring_view(const struct ring *ring, uint64_t from, uint64_t to, struct iovec pieces[2]);

/* Forget all bytes before the offset. */
void ring_trim(struct ring *ring, uint64_t upto);

/* Take no more memory than the content needs. */
void ring_fit(struct ring *ring);

void ring_finish(struct ring *ring);

#endif
