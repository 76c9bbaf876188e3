/* The history that a log keeps for later readers, and the gap that it reports. */
#include "../case.h"
#include "run_fixture.h"

#include <stdlib.h>
#include <string.h>

CASES("kept events", .setup = setup_running, .teardown = teardown);

/* The log drops history when an event comes, before that event is read: it holds one event more. */
CASE(history_is_bounded_by_log_size)
{
    set_log_size(100000);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), 100000 + 1024);
    ck_assert_uint_gt(log_length(), 100000);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW - 300 * 1024 % CREDIT_STEP);
}

CASE(hardly_any_history)
{
    set_log_size(1024);
    append_kilobytes(300);
    ck_assert_uint_eq(stream_of(&reader).events, 301);
    ck_assert_uint_le(log_length(), 2 * 1024);
    ck_assert_uint_le(eventlog_memory(run_log(run)), 4 * 1024 + 1 + WIRE_TYPE_MAX); /* one type */
}

CASE(unread_takes_nothing_from_history)
{
    set_log_size(100000);
    append_kilobytes(90);
    reader.lazy = true;
    append_kilobytes(300);
    ck_assert_uint_eq(replay(0).events, 391);
}

CASE(history_without_readers_is_bounded)
{
    run_unsubscribe(&reader.subscriber);
    set_log_size(100000);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), 100000);
    ck_assert_uint_gt(log_length(), 100000 - 1024);
}

/* More live runs leave a smaller share for each. */
CASE(history_is_bounded_by_the_fair_share)
{
    struct runs_limits limits = plenty;
    struct run *others[9];

    limits.log_budget = 4 * 1100 * 1024;
    runs_set_limits(runs, &limits);
    append_kilobytes(700);
    ck_assert_uint_le(log_length(), 551 * 1024);
    ck_assert_uint_gt(log_length(), 550 * 1024);
    for (int i = 0; i < 9; i++)
        others[i] = create_run();
    append_kilobytes(1);
    ck_assert_uint_le(log_length(), 101 * 1024);
    ck_assert_uint_gt(log_length(), 100 * 1024);
    for (int i = 0; i < 9; i++) {
        run_cancel(others[i]);
        run_unref(others[i]);
    }
}

CASE(history_has_the_least_share)
{
    struct runs_limits limits = plenty;

    limits.log_budget = 1024;
    runs_set_limits(runs, &limits);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), RUN_SHARE_LEAST + 1024);
    ck_assert_uint_gt(log_length(), RUN_SHARE_LEAST);
}

CASE(gap)
{
    struct reader late = {.lazy = true};
    struct run_gap told_gap;
    uint64_t dropped;

    set_log_size(10000);
    append_kilobytes(100);
    subscribe_after(&late, 0); /* drops what has been read */
    run_unsubscribe(&late.subscriber);
    dropped = run_log(run)->start.sequence;
    ck_assert_uint_gt(dropped, 80);
    for (uint64_t after = 0; after <= 101; after++) {
        told_gap = subscribe_after(&late, after);
        ck_assert_uint_eq(told_gap.from, after < dropped ? after + 1 : 0);
        ck_assert_uint_eq(told_gap.to, after < dropped ? dropped : 0);
        run_unsubscribe(&late.subscriber);
        ck_assert_uint_eq(replay(after).events, 101);
    }
}

CASE(unread_events_are_not_dropped)
{
    set_log_size(10000);
    reader.lazy = true;
    append_kilobytes(1024);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, 1025);
}

/* The log drops neither what the reader that came first has not read, nor the event that it has
 * read in part. */
CASE(event_that_is_read_in_part_is_kept)
{
    set_log_size(1000);
    reader.lazy = true;
    append_kilobytes(10);
    reader_read(&reader, 1900);
    append_kilobytes(10);
    ck_assert_uint_gt(log_length(), 17 * 1024);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, 21);
}

/* A reader that came later sees the event that it has read in part to its end, then a gap. */
CASE(event_that_a_late_reader_has_read_in_part)
{
    struct reader slow = {.lazy = true};
    struct stream stream;

    subscribe(&slow);
    append_kilobytes(3);
    reader_read(&slow, 1500);
    set_log_size(1000);
    append_kilobytes(10);
    ck_assert_uint_le(log_length(), 2 * 1024);
    reader_read(&slow, 300);
    append_kilobytes(10);
    reader_read(&slow, SIZE_MAX);
    stream = stream_of(&slow);
    ck_assert_uint_eq(stream.events, 24);
    ck_assert_uint_eq(stream.gaps, 2);
    run_unsubscribe(&slow.subscriber);
}

CASE(large_event_that_is_read_in_part)
{
    set_log_size(1000);
    reader.lazy = true;
    ck_assert_int_eq(append_cost(900000), 0);
    reader_read(&reader, 899900);
    while (told.credit >= 1024)
        append_kilobytes(1);
    ck_assert_uint_gt(log_length(), WIRE_WINDOW - 20 * 1024);
    ck_assert_uint_le(log_length(), WIRE_WINDOW + OWN_EVENTS);
    reader_read(&reader, 100);
    ck_assert_uint_gt(told.credit, 900000 - CREDIT_STEP);
}

/* Each reader comes before the agent has used the credit that the previous reader gave back. */
CASE(readers_one_after_another)
{
    struct reader late = {.lazy = true};

    set_log_size(100000);
    reader.lazy = true;
    for (int i = 0; i < 5; i++) {
        while (told.credit >= 1024)
            append_kilobytes(1);
        ck_assert_uint_le(log_length(), 100000 + WIRE_WINDOW + OWN_EVENTS);
        reader_read(&reader, SIZE_MAX);
        ck_assert_uint_eq(told.credit, WIRE_WINDOW);
        subscribe_after(&late, 0);
        ck_assert_uint_le(unread(&late), 100000);
        run_unsubscribe(&reader.subscriber);
        subscribe_after(&reader, 0);
        run_unsubscribe(&late.subscriber);
    }
}

/* Without the done, a late reader would wait for ever. */
CASE_LOOP(done_is_kept_however_large, 0, 2)
{
    char *result = malloc(200001);
    struct stream stream;

    memset(result, '1', 200000);
    result[200000] = '\0';
    set_log_size(100000);
    if (_i)
        run_unsubscribe(&reader.subscriber);
    append_kilobytes(50);
    ck_assert_int_eq(end_run(WIRE_FINISHED, "", "", result), 0);
    stream = replay(0);
    ck_assert_uint_eq(stream.dones, 1);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_lt(log_length(), 200000 + 60 * 1024);
    free(result);
}

/* One reader reads at random; others subscribe at any event and leave. */
CASE_LOOP(random_readers, 0, 6)
{
    static const size_t log_sizes[] = {65536, 200000, 1024 * 1024};
    static const size_t most[] = {200, 3000, 60000};
    size_t log_size = log_sizes[_i % 3];
    struct reader others[4] = {{.told = 0}};
    unsigned missed[4], sent = 1;

    set_log_size(log_size);
    reader.lazy = true;
    srand((unsigned)_i);
    for (int round = 0; round < 500; round++) {
        int which = rand() % 4;
        struct reader *other = &others[which];
        size_t cost = WIRE_CHARGE + 2 + (size_t)rand() % most[rand() % 3];
        while (rand() % 4 && cost <= told.credit) {
            ck_assert_int_eq(append_cost(cost), 0);
            sent++;
        }
        ck_assert_uint_le(log_length(), log_size + WIRE_WINDOW + OWN_EVENTS);
        if (rand() % 8)
            reader_read(&reader, rand() % 4 ? (size_t)rand() % 100000 : SIZE_MAX);
        if (other->subscriber.run == NULL) {
            struct run_gap behind;
            other->lazy = rand() % 4 > 0;
            missed[which] = (unsigned)rand() % (sent + 1);
            behind = subscribe_after(other, missed[which]);
            missed[which] = behind.to > 0 ? (unsigned)behind.to : missed[which];
        } else if (rand() % 4) {
            reader_read(other, rand() % 4 ? (size_t)rand() % 200000 : SIZE_MAX);
        } else {
            reader_read(other, SIZE_MAX);
            run_unsubscribe(&other->subscriber);
            ck_assert_uint_eq(stream_after(other, missed[which]).events, sent);
        }
    }
    for (int i = 0; i < 4; i++) {
        if (others[i].subscriber.run)
            run_unsubscribe(&others[i].subscriber);
        buf_finish(&others[i].text);
    }
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_le(log_length(), log_size + WIRE_WINDOW + OWN_EVENTS);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, sent + 1);
}
