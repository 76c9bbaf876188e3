/* Credit: reading gives it back to the agent. */
#include "../case.h"
#include "run_fixture.h"

#include <errno.h>
#include <stdlib.h>

CASES("credit", .setup = setup_running, .teardown = teardown);

CASE(unread_events_cost_credit)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
}

CASE(overdraw_is_refused)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_int_eq(append_cost(WIRE_CHARGE + 2), -EPROTO);
    ck_assert_uint_eq(told.gifts, 0);
}

CASE(overdraw_by_one_byte_is_refused)
{
    reader.lazy = true;
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2), 0);
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2 + 1), -EPROTO);
}

CASE(all_credit_comes_back_when_all_is_read)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.credit, 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

CASE(credit_comes_back_in_steps)
{
    for (int i = 0; i < 31; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 1);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

CASE(nobody_reads_credit_comes_back)
{
    run_unsubscribe(&reader.subscriber);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
}

/* Whoever came first makes the agent wait, however fast the others are. */
CASE(first_reader_rules)
{
    struct reader quick = {.lazy = false};

    reader.lazy = true;
    subscribe(&quick);
    reader_read(&quick, SIZE_MAX);
    append_kilobytes(512);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&quick.subscriber);
    buf_finish(&quick.text);
}

CASE(first_reader_that_leaves_frees_the_agent)
{
    struct reader quick = {.lazy = false};

    reader.lazy = true;
    subscribe(&quick);
    reader_read(&quick, SIZE_MAX);
    append_kilobytes(1024);
    ck_assert_uint_eq(told.credit, 0);
    run_unsubscribe(&reader.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&quick.subscriber);
    ck_assert_uint_eq(stream_of(&quick).events, 1 + 1024);
}

/* It gets what is kept, and one gap. */
CASE(late_reader_never_holds_the_agent)
{
    struct reader late = {.lazy = true};
    struct stream stream;

    append_kilobytes(512);
    subscribe(&late);
    append_kilobytes(3000);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
    ck_assert_uint_le(log_length(), plenty.log_size + 1024);
    reader_read(&late, SIZE_MAX);
    run_unsubscribe(&late.subscriber);
    stream = stream_of(&late);
    ck_assert_uint_eq(stream.events, 1 + 512 + 3000);
    ck_assert_uint_eq(stream.gaps, 1);
    ck_assert_uint_eq(stream_of(&reader).gaps, 0);
}

/* The next one that came holds the agent when the first one has left. */
CASE(the_next_reader_rules)
{
    struct reader second = {.lazy = true}, third = {.lazy = true};

    subscribe(&second);
    subscribe(&third);
    append_kilobytes(300);
    run_unsubscribe(&reader.subscriber);
    append_kilobytes(300);
    told.gifts = 0;
    reader_read(&third, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&second, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&second.subscriber);
    run_unsubscribe(&third.subscriber);
    ck_assert_uint_eq(stream_of(&second).gaps, 0);
    buf_finish(&third.text);
}

/* A reader that takes nothing passes the agent on, if somebody has read all. */
CASE(reader_that_yields)
{
    struct reader quick = {.lazy = true};

    reader.lazy = true;
    run_yield(&reader.subscriber);
    subscribe(&quick);
    append_kilobytes(600);
    run_yield(&reader.subscriber);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&quick, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
    run_yield(&quick.subscriber);
    ck_assert_uint_eq(told.gifts, 0);
    run_yield(&reader.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    append_kilobytes(600);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_lt(told.credit, WIRE_WINDOW);
    reader_read(&quick, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&quick.subscriber);
    ck_assert_uint_eq(stream_of(&quick).gaps, 0);
}

/* After a reader was thrown out, a client that does not read costs the agent no time. */
CASE(nobody_holds_the_agent_twice)
{
    struct reader again = {.lazy = true};
    struct stream stream;

    reader.lazy = true;
    append_kilobytes(1024);
    ck_assert_uint_eq(told.credit, 0);
    run_expel(&reader.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    subscribe_after(&again, 1);
    append_kilobytes(3000);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
    reader_read(&again, SIZE_MAX);
    run_unsubscribe(&again.subscriber);
    stream = stream_after(&again, 1);
    ck_assert_uint_eq(stream.events, 1 + 1024 + 3000);
    ck_assert_uint_eq(stream.gaps, 1);
}

/* Whoever is thrown out without holding the agent takes nothing from the others. */
CASE(late_reader_is_thrown_out)
{
    struct reader late = {.lazy = true};

    subscribe(&late);
    run_expel(&late.subscriber);
    run_unsubscribe(&reader.subscriber);
    subscribe_after(&late, 1);
    append_kilobytes(512);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&late.subscriber);
}

CASE(no_credit_after_the_end)
{
    reader.lazy = true;
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
}

/* The agent emits while it has credit, and the reader reads at random. Unread events never take
 * more than the window and the first event of the run, and the agent never stalls after all is
 * read. */
CASE_LOOP(random_pace, 0, 4)
{
    static const size_t most[] = {200, 3000, 60000, WIRE_EVENT_MAX};
    unsigned sent = 1;

    reader.lazy = true;
    srand((unsigned)_i);
    for (int round = 0; round < 1000; round++) {
        size_t cost = WIRE_CHARGE + 2 + (size_t)rand() % most[rand() % 4];
        while (rand() % 4 && cost <= told.credit) {
            ck_assert_int_eq(append_cost(cost), 0);
            sent++;
        }
        ck_assert_uint_le(log_length(), plenty.log_size + WIRE_WINDOW + OWN_EVENTS);
        ck_assert_uint_le(unread(&reader), WIRE_WINDOW + OWN_EVENTS);
        ck_assert_uint_le(run_log(run)->end.cost - reader.subscriber.cursor.cost,
                          WIRE_WINDOW + OWN_EVENTS);
        reader_read(&reader, rand() % 4 ? (size_t)rand() % 100000 : SIZE_MAX);
        if (unread(&reader) == 0)
            ck_assert_uint_ge(told.credit, wire_charge(WIRE_TYPE_MAX, WIRE_EVENT_MAX));
    }
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, sent + 1);
}

/* Many readers read and leave in any order: what is not given back is what none of those that came
 * first had read. */
CASE_LOOP(any_order, 0, 8)
{
    static struct reader readers[40];
    unsigned left = 40, seed = (unsigned)_i, came[40], last = 40;
    uint64_t least = UINT64_MAX;

    run_unsubscribe(&reader.subscriber);
    for (unsigned i = 0; i < left; i++) {
        readers[i] = (struct reader){.lazy = true};
        came[i] = i;
        subscribe(&readers[i]);
    }
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    while (left > 0) {
        unsigned which = (unsigned)rand_r(&seed) % left;
        unsigned first = 0;
        uint64_t unread_cost;

        if (rand_r(&seed) % 8 > 0 && unread(&readers[which]) > 0) {
            reader_read(&readers[which], (size_t)rand_r(&seed) % 40000);
            buf_finish(&readers[which].text);
        } else {
            /* In its place comes the last one, which is subscribed anew where it was. */
            struct log_cursor cursor = readers[which].subscriber.cursor;
            if (cursor.at == run_log(run)->end.at || rand_r(&seed) % 4 == 0) {
                run_unsubscribe(&readers[which].subscriber);
                if (which != --left) {
                    cursor = readers[left].subscriber.cursor;
                    subscribe_after(&readers[which], cursor.sequence);
                    readers[which].begun = readers[left].begun;
                    came[which] = last++;
                    run_unsubscribe(&readers[left].subscriber);
                }
            }
        }
        for (unsigned i = 1; i < left; i++)
            first = came[i] < came[first] ? i : first;
        unread_cost = 0;
        if (left > 0)
            unread_cost = run_log(run)->end.cost - readers[first].subscriber.cursor.cost;
        least = unread_cost < least ? unread_cost : least;
        ck_assert_uint_ge(WIRE_WINDOW - told.credit + WIRE_CHARGE * 2 + 100, least);
        ck_assert_uint_lt(WIRE_WINDOW - told.credit, unread_cost + CREDIT_STEP);
    }
}

/* Time of clients that come, read all and leave, beside this number of others, each elsewhere. */
static clock_t time_visits(unsigned others)
{
    struct reader *readers = calloc(others, sizeof *readers), visitor = {.lazy = true};
    const struct log_cursor end = run_log(run)->end;
    clock_t start;

    for (unsigned i = 0; i < others; i++) {
        readers[i].lazy = true;
        subscribe_after(&readers[i], i * 300 / others);
    }
    start = clock();
    for (unsigned i = 0; i < 20000; i++) {
        subscribe(&visitor);
        run_consume(&visitor.subscriber, &end);
        run_unsubscribe(&visitor.subscriber);
    }
    start = clock() - start;
    for (unsigned i = 0; i < others; i++)
        run_unsubscribe(&readers[i].subscriber);
    free(readers);
    return start;
}

CASE(nobody_walks_over_the_other_readers)
{
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(append_cost(200), 0);
    expect_no_walk(time_visits, 250);
}
