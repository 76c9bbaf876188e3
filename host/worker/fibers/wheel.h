/*
 * A timing wheel: alarms at whole milliseconds. Setting, clearing and ringing an
 * alarm cost the same however many are set, and touch only its neighbours. With
 * thousands of fibers that sleep, a heap's comparisons (libuv's timers) take a
 * third of a worker's time.
 *
 * Level 0 has a slot for each of the next milliseconds up to the end of the
 * current 256; level 1 one for each of the next 256s, and so on. An alarm is in
 * the level of the highest byte in which its time differs from now, and moves
 * down as that byte comes up: at most once a level.
 *
 * No I/O, no clock: the caller says what time it is.
 */
#ifndef WORKER_FIBERS_WHEEL_H
#define WORKER_FIBERS_WHEEL_H

#include "base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define WHEEL_BITS   8
#define WHEEL_SLOTS  (1u << WHEEL_BITS) /* of a level */
#define WHEEL_LEVELS (64 / WHEEL_BITS)

/* Part of what is to be woken. Zeroed is an alarm that is not set. */
struct alarm {
    uint64_t at; /* ms */
    bool set;
    TAILQ_ENTRY(alarm) in_list;
};

TAILQ_HEAD(alarm_list, alarm);

struct wheel {
    uint64_t now;
    struct alarm_list due; /* first come, first served */
    struct alarm_list slots[WHEEL_LEVELS * WHEEL_SLOTS];
    uint64_t taken[WHEEL_LEVELS * WHEEL_SLOTS / 64]; /* a bit for each slot that is not empty */
};

void wheel_init(struct wheel *wheel, uint64_t now);

/* Set an alarm, which must not be set. One in the past is due at once. */
void wheel_set(struct wheel *wheel, struct alarm *alarm, uint64_t at);

/* Clear an alarm, set or not. */
void wheel_clear(struct wheel *wheel, struct alarm *alarm);

/* Return when to call wheel_advance() next: not after the first alarm; NEVER if none is set. */
uint64_t wheel_next(const struct wheel *wheel);

/* Advance to `now`. Return the last alarm that is due then; NULL if none is. */
struct alarm *wheel_advance(struct wheel *wheel, uint64_t now);

/* Clear and return the first alarm that is due; NULL if none is. */
struct alarm *wheel_pop(struct wheel *wheel);

#endif
