/*
 * Feeds: where a reader is in a run's log, in bytes of its protocol. A feed says
 * which bytes come next and takes note of what was sent of them; it does no I/O.
 *
 *     feed_view()    bytes to send now
 *     feed_sent()    this many of them are sent
 *
 * A sender may have to finish as it began (a chunk whose length is announced, a TLS
 * record). So after a short send the next view begins with exactly the bytes that
 * were left.
 *
 * A feed keeps no encoded events. Blocks of them belong to all feeds together, so
 * that readers at the same place share one.
 */
#ifndef PROTOCOL_FEED_H
#define PROTOCOL_FEED_H

#include "protocol/encoder.h"
#include "run/eventlog.h"

#include <sys/uio.h>

struct feed_blocks;

struct feed_blocks *feed_blocks_create(void);
void feed_blocks_destroy(struct feed_blocks *blocks);

/* A plain struct; see feed_open(). */
struct feed {
    const struct encoder *encoder;
    struct encoding encoding; /* with the run's log */
    struct log_cursor cursor; /* before the event whose frames are not all sent */
    size_t sent;              /* bytes of those frames that are sent */
    uint64_t limit;           /* the frames to be sent are of events before this offset */
    uint32_t closings;        /* those of the log that the frames know of */
    bool packing;             /* they are of packed events */
    bool over;                /* a question ends the stream: nothing follows what is sent */
    bool cancels;             /* and the run */
    size_t begun;             /* bytes with which the next view must begin */
    void *state;              /* of the encoder, at the cursor, then the terms; NULL: neither */
    struct buf own;           /* goes before the events' frames */
};

/*
 * Begin after the event of this number, which the client has, or after the gap. The
 * run must outlive the feed, which copies the terms; cursor is the place of the next event.
 */
void feed_open(struct feed *feed, const struct encoder *encoder, const struct encoding *encoding,
               const struct eventlog *log, const struct log_cursor *cursor, uint64_t after,
               const struct run_gap *gap);
void feed_close(struct feed *feed);

/* Pack text from the next event on that is not begun, or no longer. */
void feed_pack(struct feed *feed, bool packing);

/* Append a heartbeat; only if all is sent. */
void feed_beat(struct feed *feed);

/* Return the cost of the events that are not all sent. */
static inline uint64_t feed_backlog(const struct feed *feed)
{
    return feed->encoding.log->end.cost - feed->cursor.cost;
}

/*
 * Set the pieces, at most two, of what comes next, about most bytes at the most, and
 * return their number. ended: the run has ended. last: the stream ends with the pieces.
 */
int feed_view(struct feed *feed, struct feed_blocks *blocks, size_t most, bool ended,
              struct iovec pieces[2], bool *last);

/*
 * The events after the cursor are about to be dropped: take over the frames that are sent in
 * part, and move the cursor past them. most is that of the views. Return the bytes taken.
 */
size_t feed_lose(struct feed *feed, struct feed_blocks *blocks, size_t most);

/* After feed_lose(): the events from the feed's cursor to this one are dropped. */
void feed_gap(struct feed *feed, const struct log_cursor *cursor);

/* This many bytes of the last view are sent; no other feed's view came between. Sets over. */
void feed_sent(struct feed *feed, struct feed_blocks *blocks, size_t sent);

#endif
