#include "run/ring.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 512

void ring_put(struct ring *ring, uint64_t at, const void *data, size_t length)
{
    size_t from = (size_t)at & (ring->capacity - 1);
    size_t first = ring->capacity - from;

    if (first > length)
        first = length;
    memcpy(ring->bytes + from, data, first);
    memcpy(ring->bytes, (const char *)data + first, length - first);
}

/* Move the content to a memory of this size; false, and all as it was, if there is none. */
static bool ring_resize(struct ring *ring, size_t capacity)
{
    struct ring resized = {.capacity = capacity, .start = ring->start, .end = ring->end};
    struct iovec pieces[2];
    int count = ring_view(ring, ring->start, ring->end, pieces);
    uint64_t at = ring->start;

    resized.bytes = mem_try_realloc(NULL, capacity);
    if (resized.bytes == NULL)
        return false;
    for (int i = 0; i < count; i++) {
        ring_put(&resized, at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    free(ring->bytes);
    *ring = resized;
    return true;
}

bool ring_reserve(struct ring *ring, size_t length)
{
    size_t capacity = ring->capacity ? ring->capacity : CAPACITY_MIN;

    length += ring_length(ring);
    if (length <= ring->capacity)
        return true;
    while (capacity < length)
        capacity *= 2;
    return ring_resize(ring, capacity);
}

char *ring_claim(struct ring *ring, size_t length)
{
    size_t from;

    if (!ring_reserve(ring, length))
        log_fatal("out of memory");
    from = (size_t)ring->end & (ring->capacity - 1);
    ring->end += length;
    return ring->capacity - from >= length ? ring->bytes + from : NULL;
}

int ring_view(const struct ring *ring, uint64_t from, uint64_t to, struct iovec pieces[2])
{
    size_t length = (size_t)(to - from);
    size_t at, first;

    assert(from >= ring->start && from <= to && to <= ring->end);
    if (length == 0)
        return 0;
    at = (size_t)from & (ring->capacity - 1);
    first = ring->capacity - at;
    if (first >= length) {
        pieces[0] = (struct iovec){.iov_base = ring->bytes + at, .iov_len = length};
        return 1;
    }
    pieces[0] = (struct iovec){.iov_base = ring->bytes + at, .iov_len = first};
    pieces[1] = (struct iovec){.iov_base = ring->bytes, .iov_len = length - first};
    return 2;
}

/* A ring that is at most a quarter full shrinks until it is more, so that it does not grow at once.
 */
void ring_trim(struct ring *ring, uint64_t upto)
{
    size_t capacity = ring->capacity;

    assert(upto >= ring->start && upto <= ring->end);
    ring->start = upto;
    while (capacity > CAPACITY_MIN && ring_length(ring) <= capacity / 4)
        capacity /= 2;
    if (capacity < ring->capacity)
        ring_resize(ring, capacity);
}

void ring_fit(struct ring *ring)
{
    size_t capacity = ring->capacity;

    while (capacity > CAPACITY_MIN && ring_length(ring) <= capacity / 2)
        capacity /= 2;
    if (capacity < ring->capacity)
        ring_resize(ring, capacity);
}

void ring_finish(struct ring *ring)
{
    free(ring->bytes);
    *ring = (struct ring){0};
}
