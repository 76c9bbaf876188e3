/*
 * How a send is resumed. A reader's place is the cursor of an event and the bytes
 * of that event's frames that are sent. Encoders are pure, so the frames need not
 * be kept: they are encoded again from the cursor. The second time, the events
 * must be cut into frames at the same places. That depends on two choices:
 * whether text is packed, and up to which offset (limit), since a packed event
 * grows with the log. Both are made when nothing is begun, and stay until the
 * reader is between two frames again:
 *
 *     begun == 0 and sent == 0     choose: limit is the log's end
 *     else                         the limit and packing of before
 *
 * Blocks. A block is the frames of the events from a cursor on, about as much as one send
 * takes. It is made when a feed needs it and stays until its place is needed. Readers that
 * are up to date ask for the same bytes one after the other: 100 readers of a run cost one
 * encoding of its events. A block is found by the run's id, the encoder, its terms, its state
 * before the first event and the two choices; what a log has at an offset never changes, so a
 * block is never stale. Two readers at one place may have different states, for example if
 * one of them came after the oldest events were dropped: they share no block. The callers
 * should ask for one block after the other for all readers, not for all blocks for each
 * reader.
 *
 * A block has an index, the end of each frame and the state after it, so that a short send
 * moves the cursor without encoding. Most events do not change the state: a state is kept
 * once for all frames that leave it as it is.
 */
#include "protocol/feed.h"

#include "base/mem.h"
#include "run/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS     4
#define FRAMES_MAX 1024

/* Frames of an event take about this more than its JSON. */
#define FRAME_SIZE 128

struct frame {
    uint32_t end;    /* offset in the block's bytes */
    uint32_t events; /* that it stands for */
    uint32_t state;  /* after it: offset in the block's states */
};

struct block {
    const struct encoder *encoder; /* NULL: the block is empty */
    char run[RUN_ID_LENGTH];
    bool packing;
    bool over; /* its last event is a question that ends the stream */
    bool cancels;
    uint64_t limit;
    struct log_cursor to;
    size_t terms_size;
    struct buf keys;   /* the state before the first event, the terms */
    struct buf states; /* of the encoder, in the order of the frames */
    struct buf bytes;
    unsigned count;
    struct frame frames[FRAMES_MAX];
};

struct feed_blocks {
    uint64_t from[BLOCKS]; /* offset of each block's first event */
    unsigned next;         /* the block to be made next */
    unsigned last;         /* the block that was found last: most feeds ask for it again */
    struct block *current; /* of the last view; NULL: it had only the feed's own bytes */
    size_t viewed;         /* bytes of the last view */
    struct pack pack;
    struct buf state; /* of the encoder whose block is made */
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
        buf_finish(&blocks->blocks[i].keys);
        buf_finish(&blocks->blocks[i].states);
    }
    pack_finish(&blocks->pack);
    buf_finish(&blocks->state);
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

static bool block_is(const struct block *block, const struct feed *feed)
{
    size_t size = feed->encoder->state_size + feed->encoding.terms_size;

    return block->limit == feed->limit && block->packing == feed->packing &&
           block->encoder == feed->encoder &&
           memcmp(block->run, feed->encoding.run->id, RUN_ID_LENGTH) == 0 &&
           block->terms_size == feed->encoding.terms_size &&
           (size == 0 || memcmp(buf_data(&block->keys), feed->state, size) == 0);
}

/* Take over what the block is found by, and the state. */
static void block_begin(struct block *block, const struct feed *feed)
{
    size_t size = feed->encoder->state_size + feed->encoding.terms_size;

    memcpy(block->run, feed->encoding.run->id, RUN_ID_LENGTH);
    block->encoder = feed->encoder;
    block->packing = feed->packing;
    block->limit = feed->limit;
    block->over = false;
    block->count = 0;
    block->terms_size = feed->encoding.terms_size;
    buf_consume(&block->bytes, buf_length(&block->bytes));
    buf_consume(&block->keys, buf_length(&block->keys));
    buf_consume(&block->states, buf_length(&block->states));
    if (size > 0)
        buf_append(&block->keys, feed->state, size);
}

/* Return where the block has this state, which is that after its newest frame. */
static uint32_t block_keep(struct block *block, const void *state, size_t size)
{
    size_t kept = buf_length(&block->states);

    if (kept == 0 || memcmp(buf_data(&block->states) + kept - size, state, size) != 0) {
        buf_append(&block->states, state, size);
        kept += size;
    }
    return (uint32_t)(kept - size);
}

/* Encode events from the feed's cursor on, about `most` bytes and at least one event. */
static void block_fill(struct block *block, const struct feed *feed, struct feed_blocks *blocks,
                       size_t most)
{
    const struct encoder *encoder = feed->encoder;
    size_t size = encoder->state_size;
    struct log_cursor cursor = feed->cursor;
    struct event event;
    void *state;

    block_begin(block, feed);
    buf_consume(&blocks->state, buf_length(&blocks->state));
    if (size > 0)
        buf_append(&blocks->state, feed->state, size);
    state = (char *)buf_data(&blocks->state);
    while (cursor.at < feed->limit && block->count < FRAMES_MAX && !block->over) {
        struct log_cursor next = cursor;
        if (feed->packing)
            pack_read(feed->encoding.log, &next, feed->limit, &blocks->pack, &event);
        else
            eventlog_read(feed->encoding.log, &next, &blocks->pack.scratch, &event);
        if (block->count > 0 && buf_length(&block->bytes) + event.json_length + FRAME_SIZE > most)
            break;
        encoder->event(state, &feed->encoding, &event, &block->bytes);
        if (event.kind == EVENT_done && encoder->end)
            encoder->end(state, &feed->encoding, &block->bytes);
        if (event.kind == EVENT_input_request && encoder->question) {
            enum encoder_question what = encoder->question(state, &feed->encoding);
            block->over = what != QUESTION_GOES_ON;
            block->cancels = what == QUESTION_CANCELS;
        }
        block->frames[block->count++] =
            (struct frame){.end = (uint32_t)buf_length(&block->bytes),
                           .events = (uint32_t)(next.sequence - cursor.sequence),
                           .state = size > 0 ? block_keep(block, state, size) : 0};
        cursor = next;
    }
    block->to = cursor;
}

/* Return the block with the frames from the feed's cursor on, which are not none. */
static struct block *find_block(const struct feed *feed, struct feed_blocks *blocks, size_t most)
{
    unsigned i = blocks->last;

    if (blocks->from[i] == feed->cursor.at && block_is(&blocks->blocks[i], feed))
        return &blocks->blocks[i];
    for (i = 0; i < BLOCKS; i++) {
        if (blocks->from[i] == feed->cursor.at && block_is(&blocks->blocks[i], feed))
            break;
    }
    if (i == BLOCKS) {
        i = blocks->next;
        blocks->next = (i + 1) % BLOCKS;
        blocks->from[i] = feed->cursor.at;
        block_fill(&blocks->blocks[i], feed, blocks, most);
    }
    blocks->last = i;
    return &blocks->blocks[i];
}

int feed_view(struct feed *feed, struct feed_blocks *blocks, size_t most, bool ended,
              struct iovec pieces[2], bool *last)
{
    uint64_t end = feed->encoding.log->end.at;
    size_t own = buf_length(&feed->own), left = 0, length;
    struct block *block = NULL;
    int count = 0;

    if (feed->begun == 0 && feed->sent == 0)
        feed->limit = feed->over ? feed->cursor.at : end;
    if (feed->cursor.at < feed->limit && (feed->begun == 0 || feed->begun > own)) {
        block = find_block(feed, blocks, most);
        left = buf_length(&block->bytes) - feed->sent;
    }
    if (feed->begun > 0)
        length = feed->begun > own ? feed->begun - own : 0;
    else
        length = left < most ? left : most;
    *last = length == left && ((block ? block->over : feed->over) ||
                               (ended && (block ? block->to.at : feed->cursor.at) == end));
    if (own > 0)
        pieces[count++] = (struct iovec){(void *)buf_data(&feed->own), own};
    if (length > 0)
        pieces[count++] = (struct iovec){(char *)buf_data(&block->bytes) + feed->sent, length};
    blocks->current = block;
    blocks->viewed = own + length;
    return count;
}

/* Move the feed past the frames of the block that are sent. */
static void feed_advance(struct feed *feed, const struct block *block)
{
    struct log_cursor cursor = feed->cursor;
    uint64_t events = 0;
    unsigned passed = 0;

    if (feed->sent == buf_length(&block->bytes)) {
        passed = block->count;
        feed->cursor = block->to;
        feed->sent = 0;
        feed->over = block->over;
        feed->cancels = block->over && block->cancels;
    } else {
        while (passed < block->count && block->frames[passed].end <= feed->sent)
            events += block->frames[passed++].events;
        eventlog_skip(feed->encoding.log, &cursor, events);
        feed->cursor = cursor;
        feed->sent -= passed > 0 ? block->frames[passed - 1].end : 0;
    }
    if (passed > 0 && feed->encoder->state_size > 0)
        memcpy(feed->state, buf_data(&block->states) + block->frames[passed - 1].state,
               feed->encoder->state_size);
}

size_t feed_lose(struct feed *feed, struct feed_blocks *blocks, size_t most)
{
    size_t own = buf_length(&feed->own), kept;
    size_t begun = feed->begun > own ? feed->begun - own : 0; /* of events' frames */
    struct block *block;
    unsigned i = 0;

    if (begun == 0 && feed->sent == 0)
        return 0;
    block = find_block(feed, blocks, most);
    while (block->frames[i].end < feed->sent + begun || block->frames[i].end <= feed->sent)
        i++;
    assert(i < block->count);
    kept = block->frames[i].end - feed->sent;
    buf_append(&feed->own, (char *)buf_data(&block->bytes) + feed->sent, kept);
    feed->sent += kept;
    feed_advance(feed, block);
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
        feed_advance(feed, blocks->current);
    }
}
