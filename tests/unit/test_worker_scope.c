/* What a task inherits from its parent: variables and scope. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int task_looks_and_sets(void *arg)
{
    struct task_note *note = arg;

    snprintf(note->text[0], sizeof note->text[0], "%s", ctx_get("a"));
    note->status = ctx_set("a", "2") || ctx_set("b", "3");
    snprintf(note->text[1], sizeof note->text[1], "%s%s", ctx_get("a"), ctx_get("b"));
    snprintf(note->text[2], sizeof note->text[2], "%s", ctx_get("run.id"));
    return 0;
}

static int agent_hands_variables_down(void)
{
    struct agent_task *tasks[2];

    ctx_set("a", "1");
    note_status(task_spawn(task_looks_and_sets, &tasked[0], &tasks[0]));
    ctx_set("a", "9");
    note_status(task_spawn(task_looks_and_sets, &tasked[1], &tasks[1]));
    note_status(task_join(tasks[0]));
    note_status(task_join(tasks[1]));
    note_text(0, ctx_get("a"));
    note_text(1, ctx_get("b"));
    return 0;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(tasks_inherit_variables_and_keep_theirs)
{
    run_agent(agent_hands_variables_down);
    ck_assert_str_eq(tasked[0].text[0], "1");
    ck_assert_str_eq(tasked[1].text[0], "9");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(tasked[i].status, 0);
        ck_assert_str_eq(tasked[i].text[1], "23");
        ck_assert_str_eq(tasked[i].text[2], "abc");
    }
    ck_assert_str_eq(notes.text[0], "9");
    ck_assert_str_eq(notes.text[1], "none");
}

static int agent_scopes_its_events(void)
{
    static const char *const jsons[] = {"{}",  " { } ", "{\"x\":1}", "\n{ \"x\" : {} }",
                                        "[1]", "\"s\"", "1",         "null"};

    note_status(task_scope("a \"b\"\n"));
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++)
        emit_event("x", jsons[i]);
    emit_text("t");
    note_status(task_scope("\xff"));
    emit_event("x", "{}");
    note_status(task_scope(""));
    emit_event("x", "{}");
    note_status(task_scope(NULL));
    emit_event("x", "{}");
    return 0;
}

CASE(scope)
{
    static const char *const wanted[] = {"{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"x\":1}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"x\":{}}",
                                         "[1]",
                                         "\"s\"",
                                         "1",
                                         "null",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"delta\":\"t\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"\"}",
                                         "{}"};

    run_agent(agent_scopes_its_events);
    ck_assert_uint_eq(accounts[1].events, 12);
    for (size_t i = 0; i < 12; i++)
        ck_assert_str_eq(nth_event(1, i)->json, wanted[i]);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    ck_assert_int_eq(notes.status[2], 0);
    ck_assert_int_eq(notes.status[3], 0);
}

static int task_emits_and_scopes(void *arg)
{
    struct task_note *note = arg;

    emit_event(note->name, "{}");
    task_scope(note->name);
    emit_event(note->name, "{}");
    return 0;
}

static int agent_hands_its_scope_down(void)
{
    struct agent_task *tasks[2];

    tasked[0].name = "one";
    tasked[1].name = "two";
    task_spawn(task_emits_and_scopes, &tasked[0], &tasks[0]);
    task_join(tasks[0]);
    task_scope("mine");
    task_spawn(task_emits_and_scopes, &tasked[1], &tasks[1]);
    task_join(tasks[1]);
    emit_event("last", "{}");
    return 0;
}

CASE(scope_is_inherited)
{
    run_agent(agent_hands_its_scope_down);
    expect_event(1, 0, "one", "{}");
    expect_event(1, 1, "one", "{\"scope\":\"one\"}");
    expect_event(1, 2, "two", "{\"scope\":\"mine\"}");
    expect_event(1, 3, "two", "{\"scope\":\"two\"}");
    expect_event(1, 4, "last", "{\"scope\":\"mine\"}");
}

/* Emit an object of this number of bytes. */
static int emit_object(size_t length)
{
    char *json = malloc(length + 1);
    int status;

    snprintf(json, length + 1, "{\"x\":\"%*s\"}", (int)(length - strlen("{\"x\":\"\"}")), "");
    status = emit_event("x", json);
    free(json);
    return status;
}

static int agent_scopes_long_events(void)
{
    size_t more = strlen("\"scope\":\"s\",");

    task_scope("s");
    note_status(emit_object(AGENT_EVENT_MAX - more + 1));
    note_status(emit_object(AGENT_EVENT_MAX - more));
    return 0;
}

CASE(scope_counts)
{
    run_agent(agent_scopes_long_events);
    ck_assert_int_eq(notes.status[0], -EMSGSIZE);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_uint_eq(nth_event(1, 0)->length, AGENT_EVENT_MAX);
}
