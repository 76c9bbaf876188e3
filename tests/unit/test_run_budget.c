/* The budget of memory, and the time after which an ended run is forgotten. */
#include "../case.h"
#include "run_fixture.h"

#include <string.h>

static void set_budget(size_t log_budget)
{
    struct runs_limits limits = plenty;

    limits.log_budget = log_budget;
    runs_set_limits(runs, &limits);
}

CASES("budget", .setup = setup_runs, .teardown = teardown);

CASE(memory_of_no_runs)
{
    ck_assert_uint_eq(runs_memory(runs), 0);
    ck_assert(runs_make_room(runs, "", 0));
}

CASE(memory_grows_and_shrinks)
{
    size_t empty, small, large;

    run = create_run();
    empty = runs_memory(runs);
    ck_assert_uint_gt(empty, 0);
    start(run);
    small = runs_memory(runs);
    ck_assert_uint_gt(small, empty);
    append_kilobytes(500);
    large = runs_memory(runs);
    ck_assert_uint_ge(large, empty + log_length());
    ck_assert_uint_le(large, empty + 2 * log_length());
    set_log_size(1000);
    append_kilobytes(1);
    ck_assert_uint_lt(runs_memory(runs), large / 100);
}

/* A run that is forgotten but still read counts. */
CASE(memory_of_a_forgotten_run)
{
    size_t before;

    start_run();
    append_kilobytes(100);
    reader.lazy = true;
    ck_assert_int_eq(finish(), 0);
    before = runs_memory(runs);
    run_unsubscribe(&reader.subscriber);
    forget_all();
    ck_assert_ptr_null(runs_find(runs, run_id(run)));
    ck_assert_uint_eq(runs_memory(runs), before);
    run_unref(run);
    run = NULL;
    ck_assert_uint_eq(runs_memory(runs), 0);
}

CASE(oldest_are_forgotten_beyond_the_budget)
{
    enum { COUNT = 100 };
    char ids[COUNT][RUN_ID_LENGTH + 1];
    int found = 0;

    set_budget(20 * 1024);
    for (int i = 0; i < COUNT; i++) {
        struct run *one = create_ended();
        strcpy(ids[i], run_id(one));
        run_unref(one);
        ck_assert_uint_le(runs_memory(runs), 20 * 1024);
        ck_assert_ptr_nonnull(runs_find(runs, ids[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        found += runs_find(runs, ids[i]) != NULL;
        ck_assert_msg(found == 0 || runs_find(runs, ids[i]), "run %d is gone before its turn", i);
    }
    ck_assert_int_ge(found, 10);
    ck_assert_int_le(found, 20);
}

CASE(ended_make_room_for_events_of_live_ones)
{
    struct run *old[5];

    for (int i = 0; i < 5; i++)
        old[i] = create_ended();
    start_run();
    set_budget(runs_memory(runs) + 3000);
    append_kilobytes(3);
    ck_assert_ptr_null(runs_find(runs, run_id(old[0])));
    append_kilobytes(100);
    for (int i = 0; i < 5; i++) {
        ck_assert_ptr_null(runs_find(runs, run_id(old[i])));
        run_unref(old[i]);
    }
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
}

CASE(live_ones_are_never_forgotten)
{
    struct run *others[20];

    set_budget(1);
    run = create_run();
    start(run);
    for (int i = 0; i < 20; i++)
        others[i] = create_run();
    append_kilobytes(10);
    for (int i = 0; i < 20; i++)
        ck_assert_ptr_eq(runs_find(runs, run_id(others[i])), others[i]);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    for (int i = 0; i < 20; i++) {
        run_cancel(others[i]);
        ck_assert_ptr_null(runs_find(runs, run_id(others[i])));
        run_unref(others[i]);
    }
}

CASE(ended_one_that_is_read_stays)
{
    start_run();
    ck_assert_int_eq(finish(), 0);
    forget_all();
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    run_unsubscribe(&reader.subscriber);
    forget_all();
    ck_assert_ptr_null(runs_find(runs, run_id(run)));
}

CASE(younger_ones_go_when_the_oldest_is_read)
{
    struct run *younger;

    start_run();
    ck_assert_int_eq(finish(), 0);
    younger = create_ended();
    forget_all();
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    ck_assert_ptr_null(runs_find(runs, run_id(younger)));
    run_unref(younger);
}

CASE(no_room_while_live_ones_fill_the_budget)
{
    set_budget(50 * 1024);
    start_run();
    ck_assert(runs_make_room(runs, "", 0));
    reader.lazy = true;
    append_kilobytes(50);
    ck_assert(!runs_make_room(runs, "", 0));
    reader_read(&reader, SIZE_MAX);
    ck_assert(runs_make_room(runs, "", 0));
}

/* A live run gives back what exceeds its share when more runs come. */
CASE(room_for_many_live_ones)
{
    struct run *others[25];

    set_budget(1024 * 1024);
    for (int i = 0; i < 25; i++) {
        ck_assert_msg(runs_make_room(runs, "", 0), "no room for run %d", i);
        run = others[i] = create_run();
        start(run);
        append_kilobytes(200);
    }
    for (int i = 0; i < 25; i++) {
        run = others[i];
        ck_assert_int_eq(finish(), 0);
        run_unref(run);
    }
    run = NULL;
}

CASE(inputs_of_queued_runs_count)
{
    static char input[60000];

    memset(input, '1', sizeof input);
    request.input = input;
    request.input_length = sizeof input;
    request.grace_ms = 1000;
    run = create_run();
    ck_assert_uint_gt(runs_memory(runs), 60000);
    run_cancel(run);
    ck_assert_uint_lt(runs_memory(runs), 60000);
}

/* An ended run makes room, unless it has a reader. */
CASE(room_of_ended_ones)
{
    start_run();
    append_kilobytes(50);
    ck_assert_int_eq(finish(), 0);
    set_budget(50 * 1024);
    ck_assert_uint_gt(runs_memory(runs), 50 * 1024);
    ck_assert(!runs_make_room(runs, "", 0));
    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    run = NULL;
    ck_assert(runs_make_room(runs, "", 0));
}

CASES("retention", .setup = setup_runs, .teardown = teardown);

CASE(forgotten_after_its_time)
{
    struct runs_limits limits = plenty;
    struct run *ended;
    char id[RUN_ID_LENGTH + 1];
    uint64_t ended_at;

    limits.retention_ms = 100;
    runs_set_limits(runs, &limits);
    run = create_run();
    ended = create_ended();
    strcpy(id, run_id(ended));
    ended_at = uv_now(&loop);
    run_unref(ended);
    ck_assert_ptr_eq(runs_find(runs, id), ended);
    while (runs_find(runs, id))
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_uint_ge(uv_now(&loop) - ended_at, 100);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
}

CASES("retention of a read run", .setup = setup_running, .teardown = teardown);

CASE(forgotten_run_can_still_be_read)
{
    struct runs_limits limits = plenty;

    reader.lazy = true;
    ck_assert_int_eq(append("text", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    limits.retention_ms = 0;
    runs_set_limits(runs, &limits);
    while (runs_find(runs, run_id(run)))
        uv_run(&loop, UV_RUN_ONCE);
    reader_read(&reader, SIZE_MAX);
    expect_stream("run text done ", "{\"status\":\"finished\"}");
}
