#include "worker/fibers/wheel.h"

#include <assert.h>

#define WORDS (WHEEL_SLOTS / 64) /* of a level in taken */

static unsigned level_of(const struct wheel *wheel, uint64_t at)
{
    uint64_t differing = at ^ wheel->now;

    return differing ? (unsigned)(63 - __builtin_clzll(differing)) / WHEEL_BITS : 0;
}

static unsigned slot_of(uint64_t at, unsigned level)
{
    return at >> level * WHEEL_BITS & (WHEEL_SLOTS - 1);
}

void wheel_init(struct wheel *wheel, uint64_t now)
{
    *wheel = (struct wheel){.now = now};
    TAILQ_INIT(&wheel->due);
    for (unsigned slot = 0; slot < WHEEL_LEVELS * WHEEL_SLOTS; slot++)
        TAILQ_INIT(&wheel->slots[slot]);
}

/*
 * Return the list in which an alarm of this time is, if it is set. The highest
 * byte in which the time differs from now stays the same from when the alarm is
 * set until that byte comes up.
 */
static struct alarm_list *wheel_list(struct wheel *wheel, uint64_t at)
{
    unsigned level = level_of(wheel, at);

    return at > wheel->now ? &wheel->slots[level * WHEEL_SLOTS + slot_of(at, level)] : &wheel->due;
}

static void wheel_mark(struct wheel *wheel, const struct alarm_list *list)
{
    size_t slot = (size_t)(list - wheel->slots);

    if (list == &wheel->due)
        return;
    if (TAILQ_EMPTY(list))
        wheel->taken[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    else
        wheel->taken[slot / 64] |= UINT64_C(1) << slot % 64;
}

void wheel_set(struct wheel *wheel, struct alarm *alarm, uint64_t at)
{
    struct alarm_list *list = wheel_list(wheel, at);

    assert(!alarm->set);
    alarm->set = true;
    alarm->at = at;
    TAILQ_INSERT_TAIL(list, alarm, in_list);
    wheel_mark(wheel, list);
}

void wheel_clear(struct wheel *wheel, struct alarm *alarm)
{
    struct alarm_list *list = wheel_list(wheel, alarm->at);

    if (!alarm->set)
        return;
    alarm->set = false;
    TAILQ_REMOVE(list, alarm, in_list);
    wheel_mark(wheel, list);
}

/* Return the first taken slot of the level after this one; WHEEL_SLOTS if there is none. */
static unsigned next_taken(const struct wheel *wheel, unsigned level, unsigned slot)
{
    const uint64_t *taken = wheel->taken + level * WORDS;
    unsigned word = ++slot / 64;
    uint64_t bits = slot < WHEEL_SLOTS ? taken[word] >> slot % 64 << slot % 64 : 0;

    while (bits == 0 && ++word < WORDS)
        bits = taken[word];
    return bits ? word * 64 + (unsigned)__builtin_ctzll(bits) : WHEEL_SLOTS;
}

/* Return when the next slot's time comes. */
static uint64_t next_slot(const struct wheel *wheel)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned shift = level * WHEEL_BITS, slot = slot_of(wheel->now, level);
        unsigned next = next_taken(wheel, level, slot);
        if (next < WHEEL_SLOTS)
            return ((wheel->now >> shift) - slot + next) << shift;
    }
    return NEVER;
}

uint64_t wheel_next(const struct wheel *wheel)
{
    return TAILQ_EMPTY(&wheel->due) ? next_slot(wheel) : wheel->now;
}

/* Sort the slot's alarms anew, now that their byte of this level has come. */
static void wheel_open(struct wheel *wheel, unsigned level)
{
    struct alarm_list *list = &wheel->slots[level * WHEEL_SLOTS + slot_of(wheel->now, level)];
    struct alarm *alarm;

    while ((alarm = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, alarm, in_list);
        alarm->set = false;
        wheel_set(wheel, alarm, alarm->at);
    }
    wheel_mark(wheel, list);
}

/* Advance to `now`. The slot of level 0 is spliced onto `due` in O(1). */
static void wheel_step(struct wheel *wheel, uint64_t now)
{
    struct alarm_list *list = &wheel->slots[slot_of(now, 0)];

    wheel->now = now;
    for (int level = __builtin_ctzll(now) / WHEEL_BITS; level > 0; level--)
        wheel_open(wheel, (unsigned)level);
    TAILQ_CONCAT(&wheel->due, list, in_list);
    wheel_mark(wheel, list);
}

struct alarm *wheel_advance(struct wheel *wheel, uint64_t now)
{
    uint64_t next;

    while ((next = next_slot(wheel)) <= now)
        wheel_step(wheel, next);
    if (wheel->now < now)
        wheel->now = now;
    return TAILQ_LAST(&wheel->due, alarm_list);
}

struct alarm *wheel_pop(struct wheel *wheel)
{
    struct alarm *alarm = TAILQ_FIRST(&wheel->due);

    if (alarm)
        wheel_clear(wheel, alarm);
    return alarm;
}
