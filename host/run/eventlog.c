#include "run/eventlog.h"

#include <assert.h>
#include <string.h>

/* An event's JSON has no line breaks, so two of them in a row are an event's end. */
static uint64_t find_end(const struct ring *ring, uint64_t at)
{
    while (at < ring->end) {
        struct iovec pieces[2];
        const char *found;

        ring_view(ring, at, ring->end, pieces);
        found = memchr(pieces[0].iov_base, '\n', pieces[0].iov_len);
        at += found ? (size_t)(found - (char *)pieces[0].iov_base) + 1 : pieces[0].iov_len;
        if (found && at < ring->end && ring_byte(ring, at) == '\n')
            return at + 1;
    }
    return at;
}

void eventlog_append(struct eventlog *log, const char *run_id, struct event *event)
{
    char head[ENCODE_SSE_HEAD_MAX], tail[ENCODE_SSE_TAIL_MAX];
    struct iovec pieces[3] = {{.iov_base = head},
                              {.iov_base = (void *)event->json, .iov_len = event->json_length},
                              {.iov_base = tail}};

    event->sequence = ++log->last;
    pieces[0].iov_len = encode_sse_head(head, event);
    pieces[2].iov_len = encode_sse_tail(tail, run_id, event);
    ring_append(&log->ring, pieces, 3);
}

uint64_t eventlog_behind(const struct eventlog *log, uint64_t sequence)
{
    uint64_t at = log->ring.start;

    for (uint64_t number = log->dropped; number < sequence && at < log->ring.end; number++)
        at = find_end(&log->ring, at);
    return at;
}

bool eventlog_is_boundary(const struct eventlog *log, uint64_t at)
{
    const struct ring *ring = &log->ring;

    return at == ring->start || at == ring->end ||
           (at >= ring->start + 2 && ring_byte(ring, at - 1) == '\n' &&
            ring_byte(ring, at - 2) == '\n');
}

uint64_t eventlog_event_end(const struct eventlog *log, uint64_t at)
{
    const struct ring *ring = &log->ring;

    if (at > ring->start && at < ring->end && ring_byte(ring, at - 1) == '\n' &&
        ring_byte(ring, at) == '\n') /* between the last two bytes of an event */
        return at + 1;
    return find_end(ring, at);
}

uint64_t eventlog_read(const struct eventlog *log, uint64_t at, struct buf *scratch,
                       struct event *event)
{
    uint64_t end = find_end(&log->ring, at);
    struct iovec pieces[2];
    int status;

    if (ring_view(&log->ring, at, end, pieces) == 2) {
        buf_consume(scratch, buf_length(scratch));
        for (int i = 0; i < 2; i++)
            buf_append(scratch, pieces[i].iov_base, pieces[i].iov_len);
        pieces[0] = (struct iovec){(void *)buf_data(scratch), buf_length(scratch)};
    }
    status = encode_sse_read(pieces[0].iov_base, pieces[0].iov_len, event);
    assert(status == 0);
    (void)status;
    return end;
}

void eventlog_drop(struct eventlog *log, size_t keep, uint64_t upto)
{
    uint64_t at = log->ring.start;

    while (upto - at > keep) {
        uint64_t end = find_end(&log->ring, at);
        if (end > upto)
            break;
        at = end;
        log->dropped++;
    }
    if (at > log->ring.start)
        ring_trim(&log->ring, at);
}

void eventlog_finish(struct eventlog *log)
{
    ring_finish(&log->ring);
    *log = (struct eventlog){0};
}
