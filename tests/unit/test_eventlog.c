/* Most cases fill a log with events whose bytes follow from their numbers, and keep in ends[] where
 * each event must end; expect_log() checks the log against that. */
#include "../case.h"
#include "run/eventlog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN        "7q3vj5k8m2n4p6r9s1t0w2xyzh"
#define EVENTS_MAX 4096

static struct eventlog eventlog;
static struct buf scratch;

/* The end of each event ever appended, by its number; ends[0] is 0. */
static uint64_t ends[EVENTS_MAX];

static void setup(void)
{
    eventlog = (struct eventlog){0};
    memset(ends, 0, sizeof ends);
    scratch = (struct buf){0};
}

static void teardown(void)
{
    eventlog_finish(&eventlog);
    buf_finish(&scratch);
}

/* Append an event whose JSON is a string of this length, of bytes that follow from its number. */
static char *json_of(uint64_t number, size_t length)
{
    char *json = malloc(length + 1);

    memset(json, (int)('a' + number % 26), length);
    json[0] = json[length - 1] = '"';
    json[length] = '\0';
    return json;
}

static const char *type_of(uint64_t number)
{
    static const char *const types[] = {"text", "n", "state", "a.long-type:9"};

    return types[number % 4];
}

static void append(size_t json_length)
{
    char *json = json_of(eventlog.last + 1, json_length);
    const char *type = type_of(eventlog.last + 1);
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = json_length};
    uint64_t number = eventlog.last + 1;

    eventlog_append(&eventlog, RUN, &event);
    ck_assert_uint_eq(event.sequence, number);
    ck_assert_uint_eq(eventlog.last, number);
    ck_assert_uint_lt(number, EVENTS_MAX);
    ends[number] = eventlog.ring.end;
    free(json);
}

static void append_many(unsigned count, size_t json_length)
{
    while (count-- > 0)
        append(json_length);
}

/* Check that the log holds exactly the events from the first kept one to the last. */
static void expect_log(void)
{
    uint64_t at = eventlog.ring.start;

    ck_assert_uint_eq(at, ends[eventlog.dropped]);
    for (uint64_t number = eventlog.dropped + 1; number <= eventlog.last; number++) {
        struct event event;
        char *json;
        at = eventlog_read(&eventlog, at, &scratch, &event);
        ck_assert_uint_eq(at, ends[number]);
        ck_assert_uint_eq(event.sequence, number);
        ck_assert_uint_eq(event.type_length, strlen(type_of(number)));
        ck_assert_mem_eq(event.type, type_of(number), event.type_length);
        json = json_of(number, event.json_length);
        ck_assert_mem_eq(event.json, json, event.json_length);
        free(json);
    }
    ck_assert_uint_eq(at, eventlog.ring.end);
}

static void expect_behind(void)
{
    for (uint64_t number = 0; number <= eventlog.last + 3; number++) {
        uint64_t kept = number < eventlog.dropped ? eventlog.dropped : number;
        ck_assert_uint_eq(eventlog_behind(&eventlog, number),
                          ends[kept > eventlog.last ? eventlog.last : kept]);
    }
}

/* Check eventlog_find() at every byte of the log. */
static void expect_boundaries(void)
{
    uint64_t number = eventlog.dropped; /* the last event that ends at this offset or earlier */

    for (uint64_t at = eventlog.ring.start; at <= eventlog.ring.end; at++) {
        if (number < eventlog.last && at == ends[number + 1])
            number++;
        ck_assert_int_eq(eventlog_is_boundary(&eventlog, at), at == ends[number]);
        ck_assert_uint_eq(eventlog_event_end(&eventlog, at),
                          ends[number == eventlog.last ? number : number + 1]);
    }
}

static void expect_all(void)
{
    expect_log();
    expect_behind();
    expect_boundaries();
}

/* Place the seam of the ring this number of bytes into the next event. */
static void put_seam(uint64_t bytes)
{
    ends[0] = eventlog.ring.start = eventlog.ring.end = 512 - bytes;
}

CASES("eventlog", .setup = setup, .teardown = teardown);

CASE(zeroed_is_empty)
{
    ck_assert(eventlog_is_boundary(&eventlog, 0));
    ck_assert_uint_eq(eventlog_event_end(&eventlog, 0), 0);
    ck_assert_uint_eq(eventlog_behind(&eventlog, 0), 0);
    ck_assert_uint_eq(eventlog_behind(&eventlog, 7), 0);
    eventlog_drop(&eventlog, 0, 0);
    expect_all();
}

CASE(bytes_of_an_event)
{
    static const char wanted[] = "event: text\ndata: {\"delta\":\"a\"}\nid: " RUN ".1\n\n";
    struct event event = {
        .type = "text", .type_length = 4, .json = "{\"delta\":\"a\"}", .json_length = 13};
    struct iovec pieces[2];

    eventlog_append(&eventlog, RUN, &event);
    ck_assert_int_eq(ring_view(&eventlog.ring, 0, eventlog.ring.end, pieces), 1);
    ck_assert_uint_eq(pieces[0].iov_len, strlen(wanted));
    ck_assert_mem_eq(pieces[0].iov_base, wanted, strlen(wanted));
}

CASE(numbers_have_no_gaps)
{
    append_many(1200, 5);
    ck_assert_uint_eq(eventlog.last, 1200);
    ck_assert_uint_eq(eventlog.dropped, 0);
    expect_log();
}

CASE(behind_every_event)
{
    append_many(120, 10);
    expect_behind();
}

CASE(behind_what_was_dropped)
{
    append_many(120, 10);
    eventlog_drop(&eventlog, 1000, eventlog.ring.end);
    ck_assert_uint_gt(eventlog.dropped, 0);
    ck_assert_uint_lt(eventlog.dropped, 120);
    expect_behind();
}

CASE(boundaries)
{
    append(2);
    append(30);
    append(3);
    append(200);
    expect_boundaries();
}

CASE(boundaries_with_a_dropped_front)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, 300, eventlog.ring.end);
    ck_assert_uint_gt(eventlog.ring.start, 0);
    expect_boundaries();
}

/* Each byte of an event lies at the seam once. */
CASE_LOOP(around_the_seam, 0, 250)
{
    put_seam((uint64_t)_i);
    append_many(3, 30);
    ck_assert_uint_eq(eventlog.ring.capacity, 512);
    expect_all();
}

CASE(read_into_scratch_only_across_the_seam)
{
    unsigned copies = 0;
    struct event event;

    put_seam(100);
    append_many(4, 20);
    for (uint64_t at = eventlog.ring.start; at < eventlog.ring.end;) {
        buf_finish(&scratch);
        at = eventlog_read(&eventlog, at, &scratch, &event);
        copies += buf_length(&scratch) > 0;
    }
    ck_assert_uint_eq(copies, 1);
}

/* ---- drop ---- */

CASE(drop_nothing_that_fits)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, ring_length(&eventlog.ring), eventlog.ring.end);
    ck_assert_uint_eq(eventlog.dropped, 0);
    eventlog_drop(&eventlog, SIZE_MAX, eventlog.ring.end);
    ck_assert_uint_eq(eventlog.dropped, 0);
    expect_log();
}

CASE(drop_whole_events)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, ring_length(&eventlog.ring) - 1, eventlog.ring.end);
    ck_assert_uint_eq(eventlog.dropped, 1);
    ck_assert_uint_eq(eventlog.ring.start, ends[1]);
    eventlog_drop(&eventlog, (size_t)(ends[10] - ends[3]) + 1, eventlog.ring.end);
    ck_assert_uint_eq(eventlog.dropped, 3);
    expect_all();
}

CASE(drop_all)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, 0, eventlog.ring.end);
    ck_assert_uint_eq(eventlog.dropped, 10);
    expect_all();
    append(20);
    ck_assert_uint_eq(eventlog.last, 11);
    expect_all();
}

CASE(drop_none_behind_upto)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, 0, ends[4]);
    ck_assert_uint_eq(eventlog.dropped, 4);
    expect_all();
    eventlog_drop(&eventlog, 0, ends[4]);
    ck_assert_uint_eq(eventlog.dropped, 4);
}

/* An event that a reader has read in part is kept whole. */
CASE(drop_up_to_the_middle_of_an_event)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, 0, ends[4] + 1);
    ck_assert_uint_eq(eventlog.dropped, 4);
    eventlog_drop(&eventlog, 0, ends[5] - 1);
    ck_assert_uint_eq(eventlog.dropped, 4);
    expect_all();
}

CASE(finished_is_empty)
{
    append_many(10, 20);
    eventlog_drop(&eventlog, 100, eventlog.ring.end);
    eventlog_finish(&eventlog);
    ck_assert_uint_eq(eventlog.last, 0);
    ck_assert_uint_eq(eventlog.dropped, 0);
    append(3);
    expect_all();
}

/* Return what drop() must keep: before upto, the longest tail of whole events that fits. */
static uint64_t dropped_by_model(size_t keep, uint64_t upto)
{
    uint64_t number = eventlog.dropped;

    while (upto - ends[number] > keep && ends[number + 1] <= upto)
        number++;
    return number;
}

CASE_LOOP(random_use, 0, 4)
{
    srand((unsigned)_i);
    for (int round = 0; round < 1500; round++) {
        size_t most = rand() % 20 ? 100 : 20000;
        size_t keep = (size_t)rand() % 5000;
        uint64_t upto = eventlog.ring.start + (uint64_t)rand() % (ring_length(&eventlog.ring) + 1);
        uint64_t dropped = dropped_by_model(keep, upto);
        eventlog_drop(&eventlog, keep, upto);
        ck_assert_uint_eq(eventlog.dropped, dropped);
        append_many(1 + (unsigned)rand() % 3, 2 + (size_t)rand() % most);
        if (round % 10 == 0)
            expect_log();
        if (round % 500 == 0)
            expect_all();
        if (eventlog.last > EVENTS_MAX - 8)
            break;
    }
}
