#include "../case.h"
#include "worker/fibers/wheel.h"

#include <stdlib.h>
#include <string.h>

#define DAY UINT64_C(86400000)

static struct wheel wheel;
static struct alarm alarms[512];

static void setup(void)
{
    memset(alarms, 0, sizeof alarms);
}

static size_t count_due(void)
{
    struct alarm *alarm;
    size_t count = 0;

    TAILQ_FOREACH(alarm, &wheel.due, in_list)
        count++;
    return count;
}

/* Return the number of alarms that are due after a jump to this moment. */
static size_t jump_to(uint64_t now)
{
    struct alarm *last = wheel_advance(&wheel, now);

    ck_assert_ptr_eq(last, TAILQ_LAST(&wheel.due, alarm_list));
    return count_due();
}

/* The same in the steps of a loop, from each moment that wheel_next() returns to the next. */
static size_t go_on_to(uint64_t now)
{
    while (TAILQ_EMPTY(&wheel.due) && wheel_next(&wheel) <= now)
        wheel_advance(&wheel, wheel_next(&wheel));
    return TAILQ_EMPTY(&wheel.due) ? jump_to(now) : count_due();
}

CASES("wheel", .setup = setup);

CASE(nothing_is_never_due)
{
    wheel_init(&wheel, 12345);
    ck_assert(wheel_next(&wheel) == NEVER);
    ck_assert_uint_eq(jump_to(UINT64_C(1) << 60), 0);
    ck_assert(wheel_next(&wheel) == NEVER);
}

static const uint64_t distances[] = {1,     2,     99,    255, 256,       257,
                                     65535, 65536, 65537, DAY, 400 * DAY, UINT64_C(1) << 50};

/* An alarm is due at its time and not a millisecond earlier, at any distance from any start. */
CASE_LOOP(an_alarm_is_due_at_its_time, 0, (int)(sizeof distances / sizeof *distances))
{
    static const uint64_t starts[] = {0, 1, 255, 256, 65530, 16777215, 1234567890123};

    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        uint64_t at = starts[i] + distances[_i];
        wheel_init(&wheel, starts[i]);
        wheel_set(&wheel, &alarms[0], at);
        ck_assert(wheel_next(&wheel) <= at);
        ck_assert_uint_eq(go_on_to(at - 1), 0);
        ck_assert_uint_eq(go_on_to(at), 1);
        ck_assert_ptr_eq(wheel_pop(&wheel), &alarms[0]);
        ck_assert(wheel_next(&wheel) == NEVER);
    }
}

CASE(one_jump_over_everything_makes_all_due)
{
    size_t count = sizeof distances / sizeof *distances;

    wheel_init(&wheel, 777);
    for (size_t i = 0; i < count; i++)
        wheel_set(&wheel, &alarms[i], 777 + distances[i]);
    ck_assert_uint_eq(jump_to(UINT64_C(1) << 55), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_ptr_eq(wheel_pop(&wheel), &alarms[i]);
}

CASE(the_past_is_due_at_once)
{
    wheel_init(&wheel, 1000);
    wheel_set(&wheel, &alarms[0], 1000);
    wheel_set(&wheel, &alarms[1], 3);
    ck_assert_uint_eq(wheel_next(&wheel), 1000);
    ck_assert_uint_eq(jump_to(1000), 2);
    ck_assert_ptr_eq(wheel_pop(&wheel), &alarms[0]);
    ck_assert_ptr_eq(wheel_pop(&wheel), &alarms[1]);
}

CASE(those_of_one_moment_come_in_their_order)
{
    wheel_init(&wheel, 0);
    for (size_t i = 0; i < 10; i++)
        wheel_set(&wheel, &alarms[i], 300);
    ck_assert_uint_eq(go_on_to(300), 10);
    for (size_t i = 0; i < 10; i++)
        ck_assert_ptr_eq(wheel_pop(&wheel), &alarms[i]);
}

CASE(a_cleared_alarm_leaves_nothing)
{
    wheel_init(&wheel, 0);
    wheel_set(&wheel, &alarms[0], 5);
    wheel_set(&wheel, &alarms[1], 70000);
    wheel_set(&wheel, &alarms[2], 0);
    for (size_t i = 0; i < 4; i++) /* the last alarm was never set */
        wheel_clear(&wheel, &alarms[i]);
    ck_assert(wheel_next(&wheel) == NEVER);
    ck_assert_uint_eq(jump_to(100000), 0);
}

/* Compare with a plain array: no alarm is early or late. */
CASE_LOOP(it_agrees_with_a_plain_list, 0, 5)
{
    uint64_t now = 1000003;
    size_t set = 0, rung = 0, faults = 0;

    srand((unsigned)_i + 1);
    wheel_init(&wheel, now);
    for (int step = 0; step < 20000; step++) {
        struct alarm *alarm = &alarms[rand() % 512];
        uint64_t reach = UINT64_C(1) << rand() % 24;
        bool was_set = alarm->set;
        if (was_set && rand() % 2)
            wheel_clear(&wheel, alarm);
        else if (!was_set)
            wheel_set(&wheel, alarm, now + 1 + (uint64_t)rand() % reach);
        set += (size_t)alarm->set - was_set;
        now += (uint64_t)rand() % (reach / 16 + 2);
        wheel_advance(&wheel, now);
        for (; (alarm = wheel_pop(&wheel)); set--, rung++)
            faults += alarm->at > now;
        for (size_t i = 0; i < 512; i++)
            faults += alarms[i].set && alarms[i].at <= now;
        faults += (wheel_next(&wheel) == NEVER) != (set == 0);
    }
    ck_assert_uint_eq(faults, 0);
    ck_assert_uint_gt(rung, 1000);
}
