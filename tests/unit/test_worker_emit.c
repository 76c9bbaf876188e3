/* Emitting events: from any place of a plugin's code, and what is refused. */
#include "../case.h"
#include "agent_http.h"
#include "worker/host_table.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CASES("emit on threads", .setup = setup_threads, .teardown = teardown);
CASES("emit on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(from_a_helper)
{
    start_plugin(7, "\"helper\"");
    wait_for_end(7);
    expect_finished(7);
    ck_assert_uint_eq(record_count, 1);
    expect_event(7, 0, "helper", "7");
}

CASE(from_a_recursion)
{
    start_plugin(7, "\"recursion\"");
    wait_for_end(7);
    expect_finished(7);
    ck_assert_uint_eq(record_count, 5);
    for (int depth = 1; depth <= 5; depth++) {
        char type[24];
        snprintf(type, sizeof type, "depth%d", depth);
        expect_event(7, (size_t)depth - 1, type, "7");
    }
}

CASE(from_a_second_source_file)
{
    start_plugin(7, "\"second\"");
    wait_for_end(7);
    expect_finished(7);
    expect_event(7, 0, "second", "7");
}

CASE(from_a_bound_thread)
{
    start_plugin(7, "\"thread\"");
    wait_for_end(7);
    expect_finished(7);
    expect_event(7, 0, "thread", "7");
}

CASE(from_a_thread_that_is_not_bound)
{
    uint64_t before = host_table_stray_emits();
    char wanted[16];

    start_plugin(7, "\"stray\"");
    wait_for_end(7);
    expect_finished(7);
    snprintf(wanted, sizeof wanted, "%d", -ENXIO);
    ck_assert_uint_eq(record_count, 1);
    expect_event(7, 0, "returned", wanted);
    ck_assert_uint_eq(host_table_stray_emits(), before + 1);
}

CASE(many_runs_at_once)
{
    static const char *const types[] = {"helper", "depth1", "depth2", "depth3",
                                        "depth4", "depth5", "second", "thread"};
    enum { COUNT = 30 };

    for (uint32_t run = 1; run <= COUNT; run++)
        start_plugin(run, "\"all\"");
    for (uint32_t run = 1; run <= COUNT; run++) {
        char mark[16];
        wait_for_end(run);
        expect_finished(run);
        snprintf(mark, sizeof mark, "%u", run);
        ck_assert_uint_eq(accounts[run].events, 8);
        for (size_t i = 0; i < 8; i++)
            expect_event(run, i, types[i], mark);
    }
}

CASE(events_as_they_leave)
{
    run_agent(agent_emits);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_uint_eq(record_count, 4);
    expect_event(1, 0, "step", "{\"name\":[1,\" a \\\" b \"]}");
    expect_event(1, 1, "text", "{\"delta\":\"say \\\"hi\\\"\\n\xc3\xa4\"}");
    expect_event(1, 2, "text", "{\"delta\":\"\"}");
    expect_event(1, 3, "A.b-c_d:9", "null");
}

static int agent_emits_bad_types(void)
{
    static const char *const types[] = {"run", "gap", "done", "error",    "open", "",
                                        "a b", "a\n", "a/b",  "\xc3\xa4", NULL};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        note_status(emit_event(types[i], "{}"));
    return 0;
}

CASE(reserved_and_bad_types)
{
    run_agent(agent_emits_bad_types);
    ck_assert_uint_eq(notes.count, 11);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_msg(notes.status[i] == -EINVAL, "%u: %d", i, notes.status[i]);
    ck_assert_uint_eq(record_count, 0);
    expect_finished(1);
}

static int agent_emits_long_types(void)
{
    char type[AGENT_TYPE_MAX + 2];

    memset(type, 't', sizeof type);
    type[AGENT_TYPE_MAX + 1] = '\0';
    note_status(emit_event(type, "{}"));
    type[AGENT_TYPE_MAX] = '\0';
    note_status(emit_event(type, "{}"));
    return 0;
}

CASE(longest_type)
{
    run_agent(agent_emits_long_types);
    ck_assert_int_eq(notes.status[0], -EINVAL);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_uint_eq(record_count, 1);
    ck_assert_uint_eq(strlen(records[0].type), AGENT_TYPE_MAX);
}

static int agent_emits_bad_json(void)
{
    static const char *const bad[] = {"", "{", "{a:1}", "[1,]", "\"\xff\"", "1 2", NULL};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        note_status(emit_event("x", bad[i]));
    note_status(emit_text("\xff"));
    note_status(emit_text("\xed\xa0\x80"));
    note_status(emit_text(NULL));
    return 0;
}

CASE(invalid_json_and_utf8)
{
    run_agent(agent_emits_bad_json);
    ck_assert_uint_eq(notes.count, 10);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_msg(notes.status[i] == -EINVAL, "%u: %d", i, notes.status[i]);
    ck_assert_uint_eq(record_count, 0);
}

CASE(oversize)
{
    start(1, agent_emits_too_much);
    give_credit(1, 2 * WIRE_WINDOW);
    wait_for_end(1);
    ck_assert_int_eq(notes.status[0], -EMSGSIZE);
    ck_assert_int_eq(notes.status[1], -EMSGSIZE);
    ck_assert_int_eq(notes.status[2], 0); /* in two pieces */
    ck_assert_int_eq(notes.status[3], 0);
    ck_assert_uint_eq(record_count, 3);
    ck_assert_uint_eq(records[0].length, AGENT_EVENT_MAX);
    ck_assert_uint_eq(records[2].length, AGENT_EVENT_MAX);
}

/* What {"delta":""} has around a text. */
#define AROUND strlen("{\"delta\":\"\"}")

/* Emit a text: fill, then the same characters over and over. */
static int emit_repeated(size_t fill, const char *characters, size_t times)
{
    size_t length = strlen(characters);
    char *text = malloc(fill + times * length + 1);
    int status;

    memset(text, 'f', fill);
    for (size_t i = 0; i < times; i++)
        memcpy(text + fill + i * length, characters, length);
    text[fill + times * length] = '\0';
    status = emit_text(text);
    free(text);
    return status;
}

static int agent_emits_many_characters(void)
{
    note_status(emit_repeated(1, "\xe2\x98\x83", 700000));
    return 0;
}

/* The fixture checks that each piece is UTF-8. */
CASE(long_text_leaves_in_pieces)
{
    start(1, agent_emits_many_characters);
    give_credit(1, 2 * WIRE_WINDOW);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_uint_eq(record_count, 3);
    ck_assert_uint_eq(records[0].length + records[1].length + records[2].length,
                      3 * AROUND + 1 + 3 * 700000);
    ck_assert_uint_gt(records[0].length, AGENT_EVENT_MAX - 3);
}

static int agent_emits_marks(void)
{
    size_t room = AGENT_EVENT_MAX - AROUND;

    note_status(emit_repeated(room - 1, "e\xcc\x81", 1));      /* e and an acute accent */
    note_status(emit_repeated(room, "\xf0\x9f\x8f\xbd", 1));   /* f and a skin tone */
    note_status(emit_repeated(room - 4, "x\xe2\x80\x8dy", 1)); /* x, joined with y */
    note_status(emit_repeated(room - 99, "\xcc\x81", 60));     /* too many to look for a base */
    return 0;
}

CASE(marks_stay_at_their_base)
{
    static const size_t cut[] = {1, 1, 4, 1};

    start(1, agent_emits_marks);
    give_credit(1, 4 * WIRE_WINDOW);
    wait_for_end(1);
    ck_assert_uint_eq(record_count, 8);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(notes.status[i], 0);
        ck_assert_uint_eq(records[2 * i].length, AGENT_EVENT_MAX - cut[i]);
    }
}

static int agent_emits_beside_a_task(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_echoes, &tasked[0], &task));
    agent_emits_many_characters();
    return task_join(task);
}

CASE(no_event_comes_between_the_pieces)
{
    start(1, agent_emits_beside_a_task);
    wait_for_events(1, 1);
    wait_for_awaited(1, 1);
    give_input(1, "1");
    while (accounts[1].held != 2)
        uv_run(&loop, UV_RUN_ONCE);
    give_credit(1, 4 * WIRE_WINDOW);
    wait_for_end(1);
    ck_assert_uint_eq(record_count, 4);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(records[i].type, "text");
    expect_event(1, 3, "echo", "1");
}

CASE(cancelled_between_the_pieces)
{
    start(1, agent_emits_beside_a_task);
    wait_for_events(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
}

CASE(from_nowhere)
{
    uint64_t before = host_table_stray_emits();
    const char *json;

    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_int_eq(emit_event(NULL, NULL), -ENXIO);
    ck_assert_int_eq(emit_text("x"), -ENXIO);
    ck_assert_uint_eq(host_table_stray_emits(), before + 3);
    ck_assert_ptr_null(ctx_get("input"));
    ck_assert_int_eq(ctx_set("a", "1"), -ENXIO);
    ck_assert_ptr_null(ctx_capture());
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ctx_release(NULL);
    ck_assert_int_eq(run_cancelled(), 0);
    ck_assert_int_eq(run_fail("x", "y"), -ENXIO);
    ck_assert_int_eq(run_result("1"), -ENXIO);
    ck_assert_int_eq(agent_sleep(0), -ENXIO);
    ck_assert_int_eq(run_input(0, &json), -ENXIO);
    ck_assert_int_eq(run_input(AGENT_FOREVER, NULL), -ENXIO);
    ck_assert_int_eq(task_spawn(NULL, NULL, NULL), -ENXIO);
    ck_assert_int_eq(task_join(NULL), -ENXIO);
    ck_assert_int_eq(task_scope("x"), -ENXIO);
    ck_assert_int_eq(agent_http_open(NULL, NULL), -ENXIO);
    ck_assert_int_eq(agent_http_status(NULL), -ENXIO);
    ck_assert_int_eq(agent_http_read(NULL, NULL), -ENXIO);
    ck_assert_ptr_null(agent_http_header(NULL, "x"));
    ck_assert_str_eq(agent_http_error(NULL), "");
    agent_http_close(NULL);
}

CASE(from_the_loop_while_a_run_waits)
{
    start(1, agent_nothing);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    wait_for_end(1);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_uint_eq(record_count, 0);
}

static int agent_emits_nothing_but_sleeps(void)
{
    return agent_sleep(HOUR_MS);
}

CASE(from_the_loop_while_a_run_sleeps)
{
    start(1, agent_emits_nothing_but_sleeps);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_ptr_null(ctx_get("input"));
    worker_cancel(worker, 1);
    wait_for_end(1);
}
