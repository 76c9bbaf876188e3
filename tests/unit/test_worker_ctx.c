/* Variables of a run. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int agent_uses_ctx(void)
{
    const char *first, *host = ctx_get("input");

    note_text(0, host);
    note_text(1, ctx_get("run.id"));
    note_text(2, ctx_get("a"));
    note_status(ctx_set("a", "1"));
    first = ctx_get("a");
    note_status(ctx_set("a", "2"));
    note_text(3, ctx_get("a"));
    note_status(ctx_set("a", NULL));
    note_text(4, ctx_get("a"));
    note_text(5, first); /* still valid */
    note_text(6, ctx_get(NULL));
    note_text(7, host);
    return 0;
}

CASES("ctx on threads", .setup = setup_threads, .teardown = teardown);
CASES("ctx on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(get_and_set)
{
    run_agent(agent_uses_ctx);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_str_eq(notes.text[0], "{\"a\": 1}");
    ck_assert_str_eq(notes.text[1], "abc");
    ck_assert_str_eq(notes.text[2], "none");
    ck_assert_str_eq(notes.text[3], "2");
    ck_assert_str_eq(notes.text[4], "none");
    ck_assert_str_eq(notes.text[5], "1");
    ck_assert_str_eq(notes.text[6], "none");
    ck_assert_str_eq(notes.text[7], "{\"a\": 1}");
}

static int agent_sets_badly(void)
{
    static const char *const keys[] = {NULL, "", "a b", "input", "run.id", "auth.subject"};
    char key[AGENT_CTX_KEY_MAX + 2];

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        note_status(ctx_set(keys[i], "x"));
    memset(key, 'k', sizeof key);
    key[AGENT_CTX_KEY_MAX + 1] = '\0';
    note_status(ctx_set(key, "x"));
    note_status(ctx_set("run.id", NULL));
    note_text(0, ctx_get("run.id"));
    return 0;
}

CASE(set_errors)
{
    static const int wanted[] = {-EINVAL, -EINVAL, -EINVAL, -EPERM,
                                 -EPERM,  -EPERM,  -EINVAL, -EPERM};

    run_agent(agent_sets_badly);
    ck_assert_uint_eq(notes.count, 8);
    for (int i = 0; i < 8; i++)
        ck_assert_msg(notes.status[i] == wanted[i], "%d: %d", i, notes.status[i]);
    ck_assert_str_eq(notes.text[0], "abc");
}

static int agent_sets_too_much(void)
{
    char *value = long_string(AGENT_CTX_MAX / 2, 0);

    note_status(ctx_set("a", value));
    note_status(ctx_set("b", value));
    note_status(ctx_set("c", "small"));
    note_status(ctx_get("a") && strcmp(ctx_get("a"), value) == 0);
    note_text(0, ctx_get("b"));
    free(value);
    return 0;
}

CASE(set_too_much)
{
    run_agent(agent_sets_too_much);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ENOSPC);
    ck_assert_int_eq(notes.status[2], 0);
    ck_assert_int_eq(notes.status[3], 1);
    ck_assert_str_eq(notes.text[0], "none");
}

static int agent_sets_its_mark(void)
{
    int status = ctx_set("mine", ctx_get(PROBE_MARK));

    return status < 0 || (status = agent_sleep(2)) < 0 ? status
                                                       : emit_event("mine", ctx_get("mine"));
}

CASE(runs_do_not_share_variables)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sets_its_mark);
    for (uint32_t run = 1; run <= 10; run++) {
        char mark[16];
        wait_for_end(run);
        snprintf(mark, sizeof mark, "%u", run);
        expect_event(run, 0, "mine", mark);
    }
}
