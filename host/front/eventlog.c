#include "front/eventlog.h"

#include "common/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 512

/* An emptied ring that grew beyond this gives its memory back. */
#define CAPACITY_KEEP 16384

static void ring_write(struct eventlog *log, uint64_t at, const void *data, size_t length)
{
    size_t from = (size_t)at & (log->capacity - 1);
    size_t first = log->capacity - from;

    if (first > length)
        first = length;
    memcpy(log->ring + from, data, first);
    memcpy(log->ring, (const char *)data + first, length - first);
}

static void ring_grow(struct eventlog *log, size_t length)
{
    struct eventlog grown = *log;
    struct iovec pieces[2];
    int count = eventlog_view(log, log->start, pieces);
    uint64_t at = log->start;

    if (grown.capacity == 0)
        grown.capacity = CAPACITY_MIN;
    while (grown.capacity < length)
        grown.capacity *= 2;
    grown.ring = mem_realloc(NULL, grown.capacity);
    for (int i = 0; i < count; i++) {
        ring_write(&grown, at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    free(log->ring);
    *log = grown;
}

void eventlog_append(struct eventlog *log, const struct iovec *pieces, int count)
{
    size_t length = (size_t)(log->end - log->start);

    for (int i = 0; i < count; i++)
        length += pieces[i].iov_len;
    if (length > log->capacity)
        ring_grow(log, length);
    for (int i = 0; i < count; i++) {
        ring_write(log, log->end, pieces[i].iov_base, pieces[i].iov_len);
        log->end += pieces[i].iov_len;
    }
}

int eventlog_view(const struct eventlog *log, uint64_t from, struct iovec pieces[2])
{
    size_t length = (size_t)(log->end - from);
    size_t at, first;

    assert(from >= log->start && from <= log->end);
    if (length == 0)
        return 0;
    at = (size_t)from & (log->capacity - 1);
    first = log->capacity - at;
    if (first >= length) {
        pieces[0] = (struct iovec){.iov_base = log->ring + at, .iov_len = length};
        return 1;
    }
    pieces[0] = (struct iovec){.iov_base = log->ring + at, .iov_len = first};
    pieces[1] = (struct iovec){.iov_base = log->ring, .iov_len = length - first};
    return 2;
}

void eventlog_trim(struct eventlog *log, uint64_t upto)
{
    assert(upto >= log->start && upto <= log->end);
    log->start = upto;
    if (log->capacity > CAPACITY_KEEP)
        eventlog_release(log);
}

void eventlog_release(struct eventlog *log)
{
    if (log->start < log->end)
        return;
    free(log->ring);
    log->ring = NULL;
    log->capacity = 0;
}

void eventlog_finish(struct eventlog *log)
{
    free(log->ring);
    *log = (struct eventlog){0};
}
