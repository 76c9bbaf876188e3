/*
 * Frames are in one of two buffers: `frames`, which tasks append to, and
 * `leaving`, which is the loop's: what the sink has not taken yet. They change
 * places at the end of a turn, if `leaving` is empty, and if
 *
 *     urgent    anything but an event was appended, or
 *               nothing was handed over in this millisecond, or
 *               HELD_MAX bytes are there;
 *     else      they are held: the next millisecond ends a turn of its own.
 *
 * While they are held, further events need no poke; whatever is urgent pokes.
 */
#include "worker/outbox.h"

#include "base/mem.h"
#include "wire/frames.h"

#include <stdlib.h>

/* This many bytes of events are not held back. */
#define HELD_MAX (4u * 1024)

struct outbox {
    struct sched *sched;
    unsigned refs;
    struct buf frames;
    struct buf leaving;
    TAILQ_HEAD(, outbox_place) crowd;
    bool urgent;
    bool held;
    volatile bool is_handing_over; /* a crash must leave the buffers alone */
    uint64_t handed_over_at;       /* sched_turn_ms() */
    outbox_take_fn *take;
    void *data;
};

struct outbox *outbox_create(struct sched *sched, outbox_take_fn *take, void *data)
{
    struct outbox *outbox = mem_alloc(sizeof *outbox);

    outbox->sched = sched;
    outbox->refs = 1;
    TAILQ_INIT(&outbox->crowd);
    outbox->take = take;
    outbox->data = data;
    return outbox;
}

void outbox_ref(struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    outbox->refs++;
}

void outbox_unref(struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    if (--outbox->refs > 0)
        return;
    buf_finish(&outbox->frames);
    buf_finish(&outbox->leaving);
    free(outbox);
}

struct buf *outbox_frames(struct outbox *outbox)
{
    outbox->urgent = true;
    sched_poke(outbox->sched);
    return &outbox->frames;
}

struct buf *outbox_event_frames(struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    if (!outbox->held || buf_length(&outbox->frames) >= HELD_MAX)
        sched_poke(outbox->sched);
    return &outbox->frames;
}

bool outbox_is_full(const struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    return buf_length(&outbox->frames) >= OUTBOX_MAX;
}

bool outbox_is_empty(const struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    return buf_length(&outbox->frames) == 0 && buf_length(&outbox->leaving) == 0;
}

void outbox_join_crowd(struct outbox *outbox, struct outbox_place *place, struct waiter *waiter)
{
    sched_assert_locked(outbox->sched);
    place->waiter = waiter;
    TAILQ_INSERT_TAIL(&outbox->crowd, place, in_crowd);
}

void outbox_leave_crowd(struct outbox *outbox, struct outbox_place *place)
{
    sched_assert_locked(outbox->sched);
    TAILQ_REMOVE(&outbox->crowd, place, in_crowd);
}

/* Return whether the frames may leave in this turn; if not, a turn will end for them. */
static bool outbox_may_leave(struct outbox *outbox)
{
    uint64_t now = sched_turn_ms(outbox->sched);
    size_t length = buf_length(&outbox->frames);

    sched_assert_locked(outbox->sched);
    if (length == 0)
        return false;
    if (outbox->urgent || now > outbox->handed_over_at || length >= HELD_MAX) {
        outbox->urgent = outbox->held = false;
        outbox->handed_over_at = now;
        return true;
    }
    if (!outbox->held) {
        outbox->held = true;
        sched_poke_later(outbox->sched);
    }
    return false;
}

void outbox_close_turn(struct outbox *outbox)
{
    struct outbox_place *place;

    sched_assert_locked(outbox->sched);
    if (buf_length(&outbox->leaving) == 0 && outbox_may_leave(outbox))
        buf_swap(&outbox->leaving, &outbox->frames);
    if (!outbox_is_full(outbox)) {
        TAILQ_FOREACH(place, &outbox->crowd, in_crowd)
            sched_wake(outbox->sched, place->waiter);
    }
}

bool outbox_hand_over(struct outbox *outbox)
{
    if (buf_length(&outbox->leaving) == 0)
        return false;
    outbox->is_handing_over = true;
    outbox->take(outbox->data, &outbox->leaving);
    outbox->is_handing_over = false;
    return true;
}

static void buf_rescue(struct buf *frames, void (*write)(void *, const char *, size_t), void *data)
{
    size_t length = wire_whole(frames, WIRE_WORKER);

    write(data, buf_data(frames), length);
    frames->start += length;
}

void outbox_rescue(struct outbox *outbox,
                   void (*write)(void *data, const char *frames, size_t length))
{
    if (outbox->is_handing_over)
        return;
    buf_rescue(&outbox->leaving, write, outbox->data);
    buf_rescue(&outbox->frames, write, outbox->data);
}

void outbox_follow_up(struct outbox *outbox)
{
    sched_assert_locked(outbox->sched);
    if (buf_length(&outbox->leaving) == 0 && buf_length(&outbox->frames) > 0)
        sched_poke(outbox->sched);
}
