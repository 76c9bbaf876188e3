/*
 * The encoded events of one run: a ring of bytes, addressed by offsets that
 * only grow. Readers keep an offset of their own, so that a slow one costs no
 * copy. It grows as it must; whoever appends bounds it.
 */
#ifndef FRONT_EVENTLOG_H
#define FRONT_EVENTLOG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct eventlog {
    char *ring;
    size_t capacity; /* a power of two, or 0 */
    uint64_t start;  /* of what is kept */
    uint64_t end;
};

void eventlog_append(struct eventlog *log, const struct iovec *pieces, int count);

/* What follows the offset, in at most two pieces; returns how many. */
int eventlog_view(const struct eventlog *log, uint64_t from, struct iovec pieces[2]);

/* Forgets what is before the offset. */
void eventlog_trim(struct eventlog *log, uint64_t upto);

/* Gives the memory of an empty log back; it may be appended to again. */
void eventlog_release(struct eventlog *log);

void eventlog_finish(struct eventlog *log);

#endif
