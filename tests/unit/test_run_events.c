/* The events of a run, and the readers that subscribe to them. */
#include "../case.h"
#include "run_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

CASES("events", .setup = setup_running, .teardown = teardown);

CASE(first_event_is_run)
{
    char wanted[256];

    ck_assert_int_eq(run_get_state(run), RUN_running);
    snprintf(wanted, sizeof wanted,
             "{\"run\":\"%s\",\"agent\":\"echo\",\"version\":\"1.2\",\"generation\":3}",
             run_id(run));
    expect_stream("run ", wanted);
}

CASE(bytes_of_an_event)
{
    char wanted[256];

    buf_consume(&reader.text, buf_length(&reader.text));
    ck_assert_int_eq(append("text", "{\"delta\":\"Hello\"}"), 0);
    snprintf(wanted, sizeof wanted, "event: text\ndata: {\"delta\":\"Hello\"}\nid: %s.2\n\n",
             run_id(run));
    ck_assert_uint_eq(buf_length(&reader.text), strlen(wanted));
    ck_assert_mem_eq(buf_data(&reader.text), wanted, strlen(wanted));
}

CASE(numbers_have_no_gaps)
{
    struct stream stream;

    for (int i = 0; i < 1200; i++)
        ck_assert_int_eq(append("n", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    stream = stream_of(&reader);
    ck_assert_uint_eq(stream.events, 1202);
    ck_assert_uint_eq(stream.dones, 1);
    ck_assert_uint_eq(reader.told, 1202);
}

CASE(line_breaks_are_refused)
{
    ck_assert_int_eq(append("text", "{\"a\":\n1}"), -EPROTO);
    ck_assert_int_eq(append("text", "1\r"), -EPROTO);
    ck_assert_int_eq(append("text", "\n"), -EPROTO);
    ck_assert_int_eq(append("te\nxt", "1"), -EPROTO);
    ck_assert_int_eq(append("text\r", "1"), -EPROTO);
    ck_assert_int_eq(append("te xt", "1"), -EPROTO);
    ck_assert_int_eq(append("t\xc3\xa4", "1"), -EPROTO);
    ck_assert_int_eq(append("t\x7f", "1"), -EPROTO);
    ck_assert_int_eq(append("t\x01", "1"), -EPROTO);
    ck_assert_uint_eq(stream_of(&reader).events, 1);
}

/* Only a forged frame can have such a type: a worker refuses it. */
CASE_LOOP(event_types_of_the_host_are_refused, 0, 5)
{
    static const char *const types[] = {"run", "gap", "done", "error", "open"};

    ck_assert_int_eq(append(types[_i], "{\"status\":\"finished\"}"), -EPROTO);
    ck_assert_uint_eq(stream_of(&reader).events, 1);
}

CASE(late_subscriber_reads_from_the_start)
{
    struct reader late = {.lazy = false};

    ck_assert_int_eq(append("a", "1"), 0);
    subscribe(&late);
    ck_assert_uint_eq(late.told, 0); /* it may read the history at once */
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert_uint_eq(late.told, 1);
    run_unsubscribe(&late.subscriber);
    ck_assert_str_eq(stream_of(&late).types, "run a b ");
    ck_assert_str_eq(stream_of(&reader).types, "run a b ");
}

CASE(late_subscriber_reads_after_any_event)
{
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(append("n", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    for (unsigned after = 0; after <= 22; after++) {
        struct stream stream = replay(after);
        ck_assert_uint_eq(stream.events, 22);
        ck_assert_uint_eq(stream.dones, after < 22);
    }
}

/* The new reader has nothing to read yet. */
CASE(subscribes_after_the_last_event)
{
    struct reader late = {.lazy = false};
    struct run_gap gap = subscribe_after(&late, 1);

    ck_assert_uint_eq(gap.to, 0);
    ck_assert_uint_eq(unread(&late), 0);
    ck_assert_int_eq(append("a", "1"), 0);
    run_unsubscribe(&late.subscriber);
    ck_assert_str_eq(stream_after(&late, 1).types, "a ");
}

CASE(subscribes_before_it_runs)
{
    struct run *running = run;

    run = create_run();
    run_unsubscribe(&reader.subscriber);
    buf_finish(&reader.text);
    subscribe(&reader);
    ck_assert_uint_eq(unread(&reader), 0);
    run_abort(run, RUN_ERROR_unavailable, NULL);
    ck_assert_str_eq(stream_of(&reader).types, "done ");
    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    run = running;
}

CASE(each_subscriber_reads_at_its_own_pace)
{
    struct reader slow = {.lazy = true};
    struct stream stream;

    subscribe(&slow);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(append("x", "12345"), 0);
        reader_read(&slow, 17);
    }
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_lt(slow.subscriber.cursor.at, reader.subscriber.cursor.at);
    reader_read(&slow, SIZE_MAX);
    run_unsubscribe(&slow.subscriber);
    stream = stream_of(&reader);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
    stream = stream_of(&slow);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
}

CASE(kept_while_nobody_reads)
{
    run_unsubscribe(&reader.subscriber);
    ck_assert_int_eq(append("x", "1"), 0);
    ck_assert_int_eq(append("y", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_str_eq(replay(0).types, "run x y done ");
}

CASE(unsubscribes_while_told)
{
    reader.leave_at = 3;
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_ptr_eq(reader.subscriber.run, run);
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert_ptr_null(reader.subscriber.run);
    ck_assert_int_eq(append("c", "3"), 0);
    ck_assert_uint_eq(reader.told, 3);
}

/* The reader that leaves is the first, the second, or the last of three. */
CASE_LOOP(others_are_told_when_one_leaves, 0, 3)
{
    struct reader others[3] = {{.lazy = true}, {.lazy = true}, {.lazy = true}};

    for (int i = 0; i < 3; i++) {
        others[i].leave_at = i == _i ? 1 : 0;
        subscribe(&others[i]);
    }
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_int_eq(append("b", "2"), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(others[i].told, i == _i ? 1 : 2);
        if (others[i].subscriber.run)
            run_unsubscribe(&others[i].subscriber);
    }
    ck_assert_uint_eq(reader.told, 3);
}

CASE(all_leave_at_done)
{
    struct reader other = {.leave_at = 1};

    subscribe(&other);
    reader.leave_at = 2;
    ck_assert_int_eq(finish(), 0);
    ck_assert_ptr_null(reader.subscriber.run);
    ck_assert_ptr_null(other.subscriber.run);
    ck_assert_uint_eq(stream_of(&other).dones, 1);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}
