/*
 * How a send is resumed. A reader's place is the cursor of an event and the bytes
 * of that event's frames that are sent. Encoders are pure, so the frames need not
 * be kept: they are encoded again from the cursor. The second time, the events
 * must be cut into frames at the same places, and say the same. That depends on choices:
 * whether text is packed, up to which offset (limit), since a packed event grows with
 * the log, and which questions are closed (closings), since only open ones end a
 * stream. They are made when nothing is begun, and stay until the reader is between two
 * frames again:
 *
 *     begun == 0 and sent == 0     choose: limit is the log's end
 *     else                         the limit, closings and packing of before
 *
 * To fold in silence, all questions are open: an answer ended with each.
 *
 * Blocks. A block is the frames of the events from a cursor on, about as much as one send
 * takes. It is made when a feed needs it and stays until its place is needed. Readers that
 * are up to date ask for the same bytes one after the other: 100 readers of a run cost one
 * encoding of its events. A reader whose send was short finds the rest of its block. A block is
 * found by the run's id, the encoder, its terms, its state before the first event and the
 * choices; what a log has at an offset never changes, so a block is never stale. Two readers at one
 * place may have different states, for example if one of them came after the oldest events were
 * dropped: they share no block. The callers should ask for one block after the other for all
 * readers, not for all blocks for each reader.
 *
 * A block has an index, the end of each frame and the state before it, so that a short send
 * moves the cursor without encoding.
 */
#include "protocol/feed.h"

#include "base/mem.h"
#include "run/pack.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS     4
#define FRAMES_MAX 1024
#define BLOCK_NONE UINT_MAX /* no frame of the block */

/* Memory for a block's bytes that is kept for the next; larger is freed. */
#define BYTES_KEPT (1024 * 1024)

/* Frames of an event take about this more than its JSON. */
#define FRAME_SIZE 128

struct frame {
    uint32_t end;    /* offset in the block's bytes */
    uint32_t events; /* that it stands for */
    uint64_t at;     /* offset in the log of the event that follows */
};

struct block {
    const struct encoder *encoder; /* NULL: the block is empty */
    char run[RUN_ID_LENGTH];
    bool packing;
    bool over; /* its last event is a question that ends the stream */
    bool cancels;
    uint64_t limit;
    uint32_t closings;
    struct log_cursor to;
    size_t terms_size;
    struct buf terms;
    struct buf states; /* of the encoder: before each frame, and after the last */
    struct buf bytes;
    unsigned count;
    struct frame frames[FRAMES_MAX];
};

struct feed_blocks {
    uint64_t from[BLOCKS]; /* offset of each block's first event */
    unsigned next;         /* the block to be made next */
    unsigned last;         /* the block that was found last: most feeds ask for it again */
    struct block *current; /* of the last view; NULL: it had only the feed's own bytes */
    unsigned first;        /* the feed's first frame in the block that was found last */
    size_t viewed;         /* bytes of the last view */
    struct pack pack;
    struct buf memo; /* of the encoder whose block is made */
    struct block blocks[BLOCKS];
};

struct feed_blocks *feed_blocks_create(void)
{
    return mem_alloc(sizeof(struct feed_blocks));
}

void feed_blocks_destroy(struct feed_blocks *blocks)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        buf_finish(&blocks->blocks[i].bytes);
        buf_finish(&blocks->blocks[i].terms);
        buf_finish(&blocks->blocks[i].states);
    }
    pack_finish(&blocks->pack);
    buf_finish(&blocks->memo);
    free(blocks);
}

/* Fold the events from the log's start to the feed's cursor into its state. */
static void fold(struct feed *feed)
{
    struct log_cursor cursor = feed->encoding.log->start;
    struct buf scratch = {0}, nothing = {0};
    struct event event;

    while (feed->encoder->state_size > 0 && cursor.at < feed->cursor.at) {
        eventlog_read(feed->encoding.log, &cursor, &scratch, &event);
        feed->encoder->event(feed->state, &feed->encoding, &event, &nothing);
        buf_consume(&nothing, buf_length(&nothing));
    }
    buf_finish(&scratch);
    buf_finish(&nothing);
}

void feed_open(struct feed *feed, const struct encoder *encoder, const struct encoding *encoding,
               const struct eventlog *log, const struct log_cursor *cursor, uint64_t after,
               const struct run_gap *gap)
{
    size_t terms_size = encoding->terms ? encoding->terms_size : 0;

    *feed = (struct feed){
        .encoder = encoder, .encoding.run = encoding->run, .encoding.log = log, .cursor = *cursor};
    if (encoder->state_size + terms_size > 0)
        feed->state = mem_alloc(encoder->state_size + terms_size);
    if (terms_size > 0) {
        feed->encoding.terms = (char *)feed->state + encoder->state_size;
        feed->encoding.terms_size = terms_size;
        memcpy((char *)feed->state + encoder->state_size, encoding->terms, terms_size);
    }
    encoder->begin(feed->state, &feed->encoding, after, &feed->own);
    fold(feed);
    if (gap->to > 0)
        encoder->gap(feed->state, &feed->encoding, gap, &feed->own);
}

void feed_close(struct feed *feed)
{
    buf_finish(&feed->own);
    free(feed->state);
}

void feed_pack(struct feed *feed, bool packing)
{
    if (feed->begun == 0 && feed->sent == 0)
        feed->packing = packing;
}

void feed_beat(struct feed *feed)
{
    assert(feed->begun == 0 && feed->sent == 0);
    buf_puts(&feed->own, ENCODER_HEARTBEAT);
}

/* Return the bytes of events' frames with which the next view must begin. */
static size_t feed_begun(const struct feed *feed)
{
    size_t own = buf_length(&feed->own);

    return feed->begun > own ? feed->begun - own : 0;
}

/* Where the block has the bytes of this frame. */
static size_t frame_begin(const struct block *block, unsigned frame)
{
    return frame > 0 ? block->frames[frame - 1].end : 0;
}

/* Return the encoder's state before this frame, or after the last. */
static void *state_before(const struct block *block, unsigned frame)
{
    return (char *)buf_data(&block->states) + frame * block->encoder->state_size;
}

static bool is_same(const void *one, const void *other, size_t size)
{
    return size == 0 || memcmp(one, other, size) == 0;
}

/* Return the frame of the event at this offset of the log, or BLOCK_NONE. */
static unsigned frame_at(const struct block *block, uint64_t from, uint64_t at)
{
    unsigned low = 0, high = block->count;

    if (at == from)
        return 0;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (block->frames[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low + 1 < block->count && block->frames[low].at == at ? low + 1 : BLOCK_NONE;
}

/*
 * Return the frame from which on the block, whose first event is at from, is the feed's; or
 * BLOCK_NONE. Blocks that other feeds had made may end before what is begun.
 */
static unsigned block_find(const struct block *block, uint64_t from, const struct feed *feed)
{
    size_t terms_size = feed->encoding.terms_size;
    unsigned frame;

    if (feed->cursor.at < from || feed->cursor.at >= block->to.at || block->limit != feed->limit ||
        block->closings != feed->closings || block->packing != feed->packing ||
        block->encoder != feed->encoder || block->terms_size != terms_size ||
        memcmp(block->run, feed->encoding.run->id, RUN_ID_LENGTH) != 0 ||
        !is_same(buf_data(&block->terms), feed->encoding.terms, terms_size))
        return BLOCK_NONE;
    frame = frame_at(block, from, feed->cursor.at);
    return frame != BLOCK_NONE &&
                   is_same(state_before(block, frame), feed->state, feed->encoder->state_size) &&
                   buf_length(&block->bytes) - frame_begin(block, frame) >=
                       feed->sent + feed_begun(feed)
               ? frame
               : BLOCK_NONE;
}

/* Take over what the block is found by, and the state. */
static void block_begin(struct block *block, const struct feed *feed)
{
    size_t state_size = feed->encoder->state_size;

    memcpy(block->run, feed->encoding.run->id, RUN_ID_LENGTH);
    block->encoder = feed->encoder;
    block->packing = feed->packing;
    block->limit = feed->limit;
    block->closings = feed->closings;
    block->over = false;
    block->count = 0;
    block->terms_size = feed->encoding.terms_size;
    if (block->bytes.capacity > BYTES_KEPT) /* what is said again at an end may be very long */
        buf_finish(&block->bytes);
    buf_consume(&block->bytes, buf_length(&block->bytes));
    buf_consume(&block->terms, buf_length(&block->terms));
    if (block->terms_size > 0)
        buf_append(&block->terms, feed->encoding.terms, block->terms_size);
    if (buf_length(&block->states) < (FRAMES_MAX + 1) * state_size) {
        buf_reserve(&block->states, (FRAMES_MAX + 1) * state_size);
        buf_commit(&block->states, (FRAMES_MAX + 1) * state_size);
    }
    if (state_size > 0)
        memcpy(state_before(block, 0), feed->state, state_size);
}

/* Encode events from the feed's cursor on, about `most` bytes and at least one event. */
static void block_fill(struct block *block, const struct feed *feed, struct feed_blocks *blocks,
                       size_t most)
{
    const struct encoder *encoder = feed->encoder;
    struct encoding encoding = feed->encoding;
    struct log_cursor cursor = feed->cursor;
    struct event event;
    void *state;

    block_begin(block, feed);
    buf_consume(&blocks->memo, buf_length(&blocks->memo));
    encoding.memo = &blocks->memo;
    while (cursor.at < feed->limit && block->count < FRAMES_MAX && !block->over) {
        struct log_cursor next = cursor;
        if (feed->packing)
            pack_read(feed->encoding.log, &next, feed->limit, &blocks->pack, &event);
        else
            eventlog_read(feed->encoding.log, &next, &blocks->pack.scratch, &event);
        if (block->count > 0 && buf_length(&block->bytes) + event.json_length + FRAME_SIZE > most)
            break;
        state = state_before(block, block->count + 1);
        if (encoder->state_size > 0)
            memcpy(state, state_before(block, block->count), encoder->state_size);
        event.closed = event.kind == EVENT_input_request &&
                       eventlog_is_closed(encoding.log, event.sequence, feed->closings);
        encoder->event(state, &encoding, &event, &block->bytes);
        if (event.kind == EVENT_done && encoder->end)
            encoder->end(state, &encoding, &block->bytes);
        if (event.kind == EVENT_input_request && !event.closed && encoder->question) {
            enum encoder_question what = encoder->question(state, &encoding);
            block->over = what != QUESTION_GOES_ON;
            block->cancels = what == QUESTION_CANCELS;
        }
        block->frames[block->count++] =
            (struct frame){.end = (uint32_t)buf_length(&block->bytes),
                           .events = (uint32_t)(next.sequence - cursor.sequence),
                           .at = next.at};
        cursor = next;
    }
    block->to = cursor;
}

/* Return the block with the frames from the feed's cursor on, which are not none, and set first. */
static struct block *find_block(const struct feed *feed, struct feed_blocks *blocks, size_t most)
{
    unsigned i = blocks->last;

    blocks->first = block_find(&blocks->blocks[i], blocks->from[i], feed);
    for (unsigned n = 0; n < BLOCKS && blocks->first == BLOCK_NONE; n++) {
        i = n;
        blocks->first = block_find(&blocks->blocks[i], blocks->from[i], feed);
    }
    if (blocks->first == BLOCK_NONE) {
        i = blocks->next;
        blocks->next = (i + 1) % BLOCKS;
        blocks->from[i] = feed->cursor.at;
        blocks->first = 0;
        block_fill(&blocks->blocks[i], feed, blocks, most);
    }
    blocks->last = i;
    return &blocks->blocks[i];
}

int feed_view(struct feed *feed, struct feed_blocks *blocks, size_t most, bool ended,
              struct iovec pieces[2], bool *last)
{
    uint64_t end = feed->encoding.log->end.at;
    size_t own = buf_length(&feed->own), from = 0, left = 0, length;
    struct block *block = NULL;
    int count = 0;

    if (feed->begun == 0 && feed->sent == 0) {
        feed->limit = feed->over ? feed->cursor.at : end;
        feed->closings = feed->encoding.log->closings;
    }
    if (feed->cursor.at < feed->limit && (feed->begun == 0 || feed->begun > own)) {
        block = find_block(feed, blocks, most);
        from = frame_begin(block, blocks->first) + feed->sent;
        left = buf_length(&block->bytes) - from;
    }
    if (feed->begun > 0)
        length = feed_begun(feed);
    else
        length = left < most ? left : most;
    *last = length == left && ((block ? block->over : feed->over) ||
                               (ended && (block ? block->to.at : feed->cursor.at) == end));
    if (own > 0)
        pieces[count++] = (struct iovec){(void *)buf_data(&feed->own), own};
    if (length > 0)
        pieces[count++] = (struct iovec){(char *)buf_data(&block->bytes) + from, length};
    blocks->current = block;
    blocks->viewed = own + length;
    return count;
}

/* Move the feed, whose frames in the block begin with this one, past those that are sent. */
static void feed_advance(struct feed *feed, const struct block *block, unsigned first)
{
    size_t upto = frame_begin(block, first) + feed->sent; /* in the block's bytes */
    unsigned frame = first;

    if (upto == buf_length(&block->bytes)) {
        frame = block->count;
        feed->cursor = block->to;
        feed->over = block->over;
        feed->cancels = block->over && block->cancels;
    } else {
        uint64_t events = 0;
        while (frame < block->count && block->frames[frame].end <= upto)
            events += block->frames[frame++].events;
        eventlog_skip(feed->encoding.log, &feed->cursor, events);
    }
    feed->sent = upto - frame_begin(block, frame);
    if (feed->encoder->state_size > 0)
        memcpy(feed->state, state_before(block, frame), feed->encoder->state_size);
}

size_t feed_lose(struct feed *feed, struct feed_blocks *blocks, size_t most)
{
    size_t begun = feed_begun(feed), from, upto, kept;
    struct block *block;
    unsigned i;

    if (begun == 0 && feed->sent == 0)
        return 0;
    block = find_block(feed, blocks, most);
    from = frame_begin(block, blocks->first) + feed->sent;
    upto = from + begun;
    for (i = blocks->first; block->frames[i].end < upto || block->frames[i].end <= from; i++)
        assert(i + 1 < block->count);
    kept = block->frames[i].end - from;
    buf_append(&feed->own, (char *)buf_data(&block->bytes) + from, kept);
    feed->sent += kept;
    feed_advance(feed, block, blocks->first);
    return kept;
}

void feed_gap(struct feed *feed, const struct log_cursor *cursor)
{
    struct run_gap gap = {.from = feed->cursor.sequence + 1, .to = cursor->sequence};

    feed->encoder->gap(feed->state, &feed->encoding, &gap, &feed->own);
    feed->cursor = *cursor;
}

void feed_sent(struct feed *feed, struct feed_blocks *blocks, size_t sent)
{
    size_t own = buf_length(&feed->own) < sent ? buf_length(&feed->own) : sent;

    feed->begun = blocks->viewed - sent;
    buf_consume(&feed->own, own);
    if (own > 0 && buf_length(&feed->own) == 0) /* it is seldom needed again */
        buf_finish(&feed->own);
    if (blocks->current) {
        feed->sent += sent - own;
        feed_advance(feed, blocks->current, blocks->first);
    }
}
