/* Most cases fill a log with events of known numbers and lengths, and note in places[] the place
 * after each; expect_log() compares. */
#include "../case.h"
#include "run/eventlog.h"
#include "wire/frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 4096

/* The smallest ring of a log. */
#define RING_MIN 512

/* What a record takes besides its JSON. */
#define HEAD 4

static struct eventlog *eventlog;
static struct buf scratch;

/* The place after each event ever appended, by its number; places[0] is the log's first. */
static struct log_cursor places[EVENTS_MAX];

static void setup(void)
{
    eventlog = eventlog_create();
    memset(places, 0, sizeof places);
    scratch = (struct buf){0};
}

static void teardown(void)
{
    eventlog_destroy(eventlog);
    buf_finish(&scratch);
}

/* The JSON of an event is a string of this length whose bytes depend on the event's number. */
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
    uint64_t number = eventlog_last(eventlog) + 1;
    char *json = json_of(number, json_length);
    const char *type = type_of(number);
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = json_length};
    struct log_cursor before = eventlog->end;

    eventlog_append(eventlog, &event);
    ck_assert_uint_eq(event.sequence, number);
    ck_assert_uint_lt(number, EVENTS_MAX);
    places[number] = eventlog->end;
    ck_assert_uint_eq(places[number].sequence, number);
    ck_assert_uint_eq(places[number].at, before.at + HEAD + json_length);
    ck_assert_uint_eq(places[number].cost, before.cost + wire_charge(strlen(type), json_length));
    free(json);
}

static void append_many(unsigned count, size_t json_length)
{
    while (count-- > 0)
        append(json_length);
}

static uint64_t start(void)
{
    return eventlog->start.at;
}

static uint64_t end(void)
{
    return eventlog->end.at;
}

static uint64_t dropped(void)
{
    return eventlog->start.sequence;
}

static void expect_place(struct log_cursor cursor, uint64_t number)
{
    ck_assert_uint_eq(cursor.at, places[number].at);
    ck_assert_uint_eq(cursor.sequence, number);
    ck_assert_uint_eq(cursor.cost, places[number].cost);
}

/* Check that the log holds the events from the first that is kept to the last. */
static void expect_log(void)
{
    struct log_cursor cursor = eventlog->start;

    expect_place(cursor, dropped());
    for (uint64_t number = dropped() + 1; number <= eventlog_last(eventlog); number++) {
        struct event event;
        char *json;
        eventlog_read(eventlog, &cursor, &scratch, &event);
        expect_place(cursor, number);
        ck_assert_uint_eq(event.sequence, number);
        ck_assert_uint_eq(event.type_length, strlen(type_of(number)));
        ck_assert_mem_eq(event.type, type_of(number), event.type_length);
        json = json_of(number, event.json_length);
        ck_assert_mem_eq(event.json, json, event.json_length);
        free(json);
    }
    ck_assert_uint_eq(cursor.at, end());
}

static void expect_seek(void)
{
    for (uint64_t number = 0; number <= eventlog_last(eventlog) + 3; number++) {
        uint64_t kept = number < dropped() ? dropped() : number;
        uint64_t last = eventlog_last(eventlog);
        expect_place(eventlog_seek(eventlog, number), kept > last ? last : kept);
    }
}

/* From each place to each later one. */
static void expect_skip(void)
{
    for (uint64_t from = dropped(); from <= eventlog_last(eventlog); from++) {
        for (uint64_t to = from; to <= eventlog_last(eventlog); to++) {
            struct log_cursor cursor = places[from];
            eventlog_skip(eventlog, &cursor, to - from);
            expect_place(cursor, to);
        }
    }
}

static void expect_all(void)
{
    expect_log();
    expect_seek();
}

/* Put the ring's seam this number of bytes into the next event. */
static void put_seam(uint64_t bytes)
{
    uint64_t filler = RING_MIN - bytes;

    if (filler < HEAD + 2) { /* once more round */
        append(100);
        filler += RING_MIN - HEAD - 100;
    }
    append(filler - HEAD);
    eventlog_drop(eventlog, 0, end());
}

CASES("eventlog", .setup = setup, .teardown = teardown);

CASE(new_is_empty)
{
    expect_place(eventlog->start, 0);
    expect_place(eventlog->end, 0);
    expect_place(eventlog_seek(eventlog, 7), 0);
    eventlog_drop(eventlog, 0, 0);
    expect_all();
    ck_assert_uint_eq(eventlog_memory(eventlog), 0);
}

CASE(a_64_byte_event_takes_at_most_70_bytes)
{
    append(64);
    ck_assert_uint_le(end(), 70);
}

CASE(numbers_have_no_gaps)
{
    append_many(1200, 5);
    ck_assert_uint_eq(eventlog_last(eventlog), 1200);
    ck_assert_uint_eq(dropped(), 0);
    expect_log();
}

CASE(seek_every_event)
{
    append_many(120, 10);
    expect_seek();
}

/* Time to find events near the end of a log of this number of events, many times. */
static clock_t time_seek(unsigned events)
{
    struct event event = {.type = "text", .type_length = 4, .json = "12", .json_length = 2};
    struct eventlog *log = eventlog_create();
    clock_t start;

    for (unsigned i = 0; i < events; i++)
        eventlog_append(log, &event);
    start = clock();
    for (unsigned i = 0; i < 50000; i++)
        ck_assert_uint_eq(eventlog_seek(log, events - 1 - i % 64).sequence, events - 1 - i % 64);
    start = clock() - start;
    eventlog_destroy(log);
    return start;
}

CASE(seek_walks_over_no_log)
{
    expect_no_walk(time_seek, 200);
}

CASE(seek_what_was_dropped)
{
    append_many(120, 10);
    eventlog_drop(eventlog, 1000, end());
    ck_assert_uint_gt(dropped(), 0);
    ck_assert_uint_lt(dropped(), 120);
    expect_seek();
}

CASE(skip)
{
    append_many(30, 20);
    eventlog_drop(eventlog, 400, end());
    ck_assert_uint_gt(start(), 0);
    expect_skip();
}

/* By turns, every byte of an event lies at the seam. */
CASE_LOOP(around_the_seam, 0, 110)
{
    put_seam((uint64_t)_i);
    append_many(3, 30);
    expect_all();
    expect_skip();
}

CASE(read_into_scratch_only_across_the_seam)
{
    struct log_cursor cursor;
    unsigned copies = 0;
    struct event event;

    put_seam(40);
    append_many(4, 20);
    cursor = eventlog->start;
    while (cursor.at < end()) {
        buf_finish(&scratch);
        eventlog_read(eventlog, &cursor, &scratch, &event);
        copies += buf_length(&scratch) > 0;
    }
    ck_assert_uint_eq(copies, 1);
}

/* ---- types ---- */

/* Name number n of many: all are different, and their lengths are 1 to 64. */
static const char *name_of(unsigned n)
{
    static char name[WIRE_TYPE_MAX + 1];

    memset(name, 'x', sizeof name - 1);
    snprintf(name, sizeof name, "%u", n);
    name[strlen(name)] = 'x';
    name[strlen(name) < n % 65 ? n % 65 : strcspn(name, "x")] = '\0';
    return name;
}

/* More names than a log has a table for; each event is read by its own. */
CASE(many_types)
{
    struct log_cursor cursor;
    struct event event;

    for (unsigned n = 0; n < 900; n++) {
        const char *name = name_of(n % 300);
        event = (struct event){
            .type = name, .type_length = strlen(name), .json = "[1]", .json_length = 3};
        eventlog_append(eventlog, &event);
    }
    cursor = eventlog->start;
    for (unsigned n = 0; n < 900; n++) {
        struct log_cursor skipped = cursor;
        const char *name = name_of(n % 300);
        eventlog_skip(eventlog, &skipped, 1);
        eventlog_read(eventlog, &cursor, &scratch, &event);
        ck_assert_uint_eq(event.type_length, strlen(name));
        ck_assert_mem_eq(event.type, name, event.type_length);
        ck_assert_uint_eq(event.json_length, 3);
        ck_assert_mem_eq(event.json, "[1]", 3);
        ck_assert_mem_eq(&skipped, &cursor, sizeof cursor);
    }
    ck_assert_uint_eq(cursor.at, end());
    ck_assert_uint_eq(cursor.cost, eventlog->end.cost);
}

CASE(the_table_of_types_is_bounded)
{
    for (unsigned n = 0; n < 10000; n++) {
        char name[16];
        struct event event = {.type = name, .json = "1", .json_length = 1};
        event.type_length = (size_t)snprintf(name, sizeof name, "n%u", n);
        eventlog_append(eventlog, &event);
        eventlog_drop(eventlog, 0, end());
    }
    ck_assert_uint_le(eventlog_memory(eventlog), 8 * 1024);
}

/* ---- drop ---- */

CASE(drop_nothing_that_fits)
{
    append_many(10, 20);
    eventlog_drop(eventlog, (size_t)(end() - start()), end());
    ck_assert_uint_eq(dropped(), 0);
    eventlog_drop(eventlog, SIZE_MAX, end());
    ck_assert_uint_eq(dropped(), 0);
    expect_log();
}

CASE(drop_whole_events)
{
    append_many(10, 20);
    eventlog_drop(eventlog, (size_t)(end() - start()) - 1, end());
    ck_assert_uint_eq(dropped(), 1);
    ck_assert_uint_eq(start(), places[1].at);
    eventlog_drop(eventlog, (size_t)(places[10].at - places[3].at) + 1, end());
    ck_assert_uint_eq(dropped(), 3);
    expect_all();
}

CASE(drop_all)
{
    append_many(10, 20);
    eventlog_drop(eventlog, 0, end());
    ck_assert_uint_eq(dropped(), 10);
    expect_all();
    append(20);
    ck_assert_uint_eq(eventlog_last(eventlog), 11);
    expect_all();
}

CASE(drop_none_behind_upto)
{
    append_many(10, 20);
    eventlog_drop(eventlog, 0, places[4].at);
    ck_assert_uint_eq(dropped(), 4);
    expect_all();
    eventlog_drop(eventlog, 0, places[4].at);
    ck_assert_uint_eq(dropped(), 4);
}

/* An event that a reader has read in part is kept whole. */
CASE(drop_up_to_the_middle_of_an_event)
{
    append_many(10, 20);
    eventlog_drop(eventlog, 0, places[4].at + 1);
    ck_assert_uint_eq(dropped(), 4);
    eventlog_drop(eventlog, 0, places[5].at - 1);
    ck_assert_uint_eq(dropped(), 4);
    expect_all();
}

/* Return what drop() must keep: before upto, the longest tail of whole events that fits. */
static uint64_t dropped_by_model(size_t keep, uint64_t upto)
{
    uint64_t number = dropped();

    while (upto - places[number].at > keep && places[number + 1].at <= upto)
        number++;
    return number;
}

CASE_LOOP(random_use, 0, 4)
{
    srand((unsigned)_i);
    for (int round = 0; round < 1500; round++) {
        size_t most = rand() % 20 ? 100 : 20000;
        size_t keep = (size_t)rand() % 5000;
        uint64_t upto = start() + (uint64_t)rand() % ((size_t)(end() - start()) + 1);
        uint64_t wanted = dropped_by_model(keep, upto);
        eventlog_drop(eventlog, keep, upto);
        ck_assert_uint_eq(dropped(), wanted);
        append_many(1 + (unsigned)rand() % 3, 2 + (size_t)rand() % most);
        if (round % 10 == 0)
            expect_log();
        if (round % 500 == 0)
            expect_all();
        if (eventlog_last(eventlog) > EVENTS_MAX - 8)
            break;
    }
}

/* ---- closed questions ---- */

CASES("closed questions", .setup = setup, .teardown = teardown);

/* Who knew of fewer closings sees the others as open, in whatever order they were closed. */
CASE(closings_are_known_one_by_one)
{
    static const uint64_t closed[] = {5, 2, 9, 7};

    for (unsigned i = 0; i < 10; i++)
        append(10);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(eventlog->closings, i);
        eventlog_close(eventlog, closed[i]);
    }
    for (uint32_t known = 0; known <= 4; known++) {
        for (uint64_t number = 1; number <= 10; number++) {
            bool is_closed = false;
            for (uint32_t i = 0; i < known; i++)
                is_closed |= closed[i] == number;
            ck_assert(eventlog_is_closed(eventlog, number, known) == is_closed);
        }
    }
}

/* They take no memory for events that are dropped. */
CASE(closings_go_with_their_events)
{
    size_t memory = 0;

    for (unsigned i = 0; i < 1000; i++) {
        append(10);
        eventlog_close(eventlog, eventlog_last(eventlog));
        eventlog_drop(eventlog, 100, eventlog->end.at);
        if (i == 100)
            memory = eventlog_memory(eventlog);
    }
    ck_assert_uint_le(eventlog_memory(eventlog), memory);
    ck_assert_uint_eq(eventlog->closings, 1000);
    ck_assert(eventlog_is_closed(eventlog, 1000, 1000));
    ck_assert(!eventlog_is_closed(eventlog, 1000, 999));
}
