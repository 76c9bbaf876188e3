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

CASE(slowest_reader_rules)
{
    struct reader slow = {.lazy = true};

    subscribe(&slow);
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&slow.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

/* Of three readers at the same place, the last that moves on gives the credit back. */
CASE(several_equal_readers_rule)
{
    struct reader others[2] = {{.lazy = true}, {.lazy = true}};

    reader.lazy = true;
    subscribe(&others[0]);
    subscribe(&others[1]);
    reader_read(&reader, 0);
    run_consume(&reader.subscriber, &others[0].subscriber.cursor); /* to the place of the others */
    append_kilobytes(512);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&others[0].subscriber);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&others[1], 1);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&others[1], SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&others[1].subscriber);
    buf_finish(&others[1].text);
}

/* The reader that was overtaken is then the slowest. */
CASE(slowest_reader_overtakes)
{
    struct reader other = {.lazy = true};

    reader.lazy = true;
    append_kilobytes(480);
    subscribe_after(&other, 481);
    append_kilobytes(32);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - 64 * 1024);
    ck_assert_uint_lt(told.credit, WIRE_WINDOW);
    reader_read(&other, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&other.subscriber);
    buf_finish(&other.text);
}

/* The credit for the history was given back long ago; the late reader holds the agent all the same.
 */
CASE(late_reader_holds_the_agent)
{
    struct reader late = {.lazy = true};

    append_kilobytes(512);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    told.gifts = 0;
    subscribe(&late);
    append_kilobytes(1024);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&late, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&late.subscriber);
    ck_assert_uint_eq(stream_of(&late).events, 1 + 512 + 1024);
}

CASE(late_reader_that_leaves_frees_the_agent)
{
    struct reader late = {.lazy = true};

    append_kilobytes(512);
    subscribe(&late);
    append_kilobytes(1024);
    ck_assert_uint_eq(told.credit, 0);
    run_unsubscribe(&late.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
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

/* Many readers read and leave in any order: what is not given back is what the slowest has not
 * read.
 */
CASE_LOOP(any_order, 0, 8)
{
    static struct reader readers[40];
    unsigned left = 40, seed = (unsigned)_i;

    run_unsubscribe(&reader.subscriber);
    for (unsigned i = 0; i < left; i++) {
        readers[i] = (struct reader){.lazy = true};
        subscribe(&readers[i]);
    }
    for (unsigned i = 0; i < 300; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    while (left > 0) {
        unsigned which = (unsigned)rand_r(&seed) % left;
        uint64_t slowest = run_log(run)->end.cost, unread_cost;

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
                    run_unsubscribe(&readers[left].subscriber);
                }
            }
        }
        for (unsigned i = 0; i < left; i++) {
            if (readers[i].subscriber.cursor.cost < slowest)
                slowest = readers[i].subscriber.cursor.cost;
        }
        unread_cost = run_log(run)->end.cost - slowest;
        ck_assert_uint_ge(WIRE_WINDOW - told.credit + WIRE_CHARGE * 2 + 100, unread_cost);
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
