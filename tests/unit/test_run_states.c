/* The states of a run: its identity, its ends and its description. Each end gives exactly one
 * `done`. */
#include "../case.h"
#include "base/json.h"
#include "run_fixture.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

CASES("queued", .setup = setup, .teardown = teardown);

CASE(new_run_is_queued)
{
    ck_assert_int_eq(run_get_state(run), RUN_queued);
    ck_assert(!run_has_ended(run));
    ck_assert_str_eq(run_agent_name(run), "echo");
    ck_assert_str_eq(run_subject(run), "");
    ck_assert_uint_eq(eventlog_last(run_log(run)), 0);
    ck_assert_uint_eq(runs_live(runs), 1);
}

CASE(subject_is_copied)
{
    char subject[] = "alice";
    struct run *hers;

    request.subject = subject;
    hers = create_run();
    subject[0] = 'A';
    ck_assert_str_eq(run_subject(hers), "alice");
    run_cancel(hers);
    ck_assert_str_eq(run_subject(hers), "alice");
    run_unref(hers);
}

CASE(found_by_id)
{
    char other[RUN_ID_LENGTH + 1];

    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    strcpy(other, run_id(run));
    other[RUN_ID_LENGTH - 1] ^= 1;
    ck_assert_ptr_null(runs_find(runs, other));
    ck_assert_ptr_null(runs_find(runs, ""));
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

CASE(ids_are_unique_and_well_formed)
{
    enum { COUNT = 2000 };
    static struct run *made[COUNT];
    static const char *ids[COUNT];
    char all[COUNT + 1] = {0};

    for (int i = 0; i < COUNT; i++) {
        made[i] = create_run();
        ids[i] = run_id(made[i]);
        all[i] = ids[i][RUN_ID_LENGTH - 1];
        ck_assert_uint_eq(strlen(ids[i]), RUN_ID_LENGTH);
        ck_assert_uint_eq(strspn(ids[i], "0123456789abcdefghjkmnpqrstvwxyz"), RUN_ID_LENGTH);
        ck_assert_int_le(ids[i][0], '7'); /* 128 bits in 26 letters of five bits */
    }
    for (const char *letter = "0123456789abcdefghjkmnpqrstvwxyz"; *letter; letter++)
        ck_assert_msg(strchr(all, *letter) != NULL, "no id ends in %c", *letter);
    qsort(ids, COUNT, sizeof *ids, compare_strings);
    for (int i = 1; i < COUNT; i++)
        ck_assert_str_ne(ids[i - 1], ids[i]);
    runs_fail_all(runs, RUN_ERROR_shutdown);
    for (int i = 0; i < COUNT; i++)
        run_unref(made[i]);
}

CASE(pairs_of_start)
{
    const struct buf *pairs = run_pairs(run, &agent);
    struct buf wanted = {0};

    wire_append_pair(&wanted, "input", "{\"q\":1}");
    wire_append_pair(&wanted, "auth.subject", "alice");
    wire_append_pair(&wanted, "run.id", run_id(run));
    wire_append_pair(&wanted, "run.agent", "echo");
    wire_append_pair(&wanted, "plugin.version", "1.2");
    wire_append_pair(&wanted, "plugin.generation", "3");
    ck_assert_uint_eq(buf_length(pairs), buf_length(&wanted));
    ck_assert_mem_eq(buf_data(pairs), buf_data(&wanted), buf_length(&wanted));
    buf_finish(&wanted);
}

CASE(aborted_while_queued)
{
    subscribe(&reader);
    run_abort(run, RUN_ERROR_unavailable, "it was refused");
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("done ", "{\"status\":\"failed\",\"error\":{\"code\":\"unavailable\","
                           "\"message\":\"the agent cannot be started: it was refused\"}}");
}

CASE(cancelled_while_queued)
{
    subscribe(&reader);
    run_cancel(run);
    run_cancel(run);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_uint_eq(runs_live(runs), 0);
    expect_stream("done ", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
}

static cJSON *describe(void)
{
    struct buf json = {0};
    cJSON *tree;

    run_describe(run, &json);
    tree = cJSON_ParseWithLength(buf_data(&json), buf_length(&json));
    ck_assert_ptr_nonnull(tree);
    ck_assert_int_eq(json_check(buf_data(&json), buf_length(&json)), (ssize_t)buf_length(&json));
    buf_finish(&json);
    return tree;
}

static void expect_string(const cJSON *tree, const char *name, const char *wanted)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    ck_assert_msg(cJSON_IsString(item), "no %s", name);
    ck_assert_str_eq(item->valuestring, wanted);
}

static void expect_number(const cJSON *tree, const char *name, int wanted)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    ck_assert_msg(cJSON_IsNumber(item), "no %s", name);
    ck_assert_int_eq(item->valueint, wanted);
}

CASE(describe_queued)
{
    cJSON *tree = describe();

    expect_string(tree, "run", run_id(run));
    expect_string(tree, "agent", "echo");
    expect_string(tree, "status", "queued");
    expect_number(tree, "events", 0);
    ck_assert_int_eq(cJSON_GetArraySize(tree), 4);
    cJSON_Delete(tree);
}

CASES("ends", .setup = setup_running, .teardown = teardown);

CASE(finished)
{
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    ck_assert(run_has_ended(run));
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASE(finished_with_result)
{
    ck_assert_int_eq(end_run(WIRE_FINISHED, "", "", "{\"answer\":[42]}"), 0);
    expect_stream("run done ", "{\"status\":\"finished\",\"result\":{\"answer\":[42]}}");
}

CASE(failed)
{
    ck_assert_int_eq(end_run(WIRE_FAILED, "no_model", "it said: \"no\"\n\xff", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"no_model\","
                               "\"message\":\"it said: \\\"no\\\"\\n?\"}}");
}

CASE(cancelled_by_its_worker)
{
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\",\"reason\":\"operator\"}");
}

CASE(result_with_line_break_is_refused)
{
    ck_assert_int_eq(end_run(WIRE_FINISHED, "", "", "{\n}"), -EPROTO);
    ck_assert_int_eq(end_run(WIRE_FINISHED, "", "", "\r"), -EPROTO);
    ck_assert(!run_has_ended(run));
    ck_assert_int_eq(end_run(WIRE_FAILED, "worker_crashed", "x", ""), 0);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"worker_crashed\","
                               "\"message\":\"x\"}}");
}

CASE(aborted_while_running)
{
    run_abort(run, RUN_ERROR_shutdown, NULL);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_int_eq(append("late", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"shutdown\","
                               "\"message\":\"the server is stopping\"}}");
}

CASE(aborted_twice)
{
    run_abort(run, RUN_ERROR_shutdown, NULL);
    run_abort(run, RUN_ERROR_worker_crashed, "x");
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

CASE(aborted_after_its_end)
{
    ck_assert_int_eq(finish(), 0);
    run_abort(run, RUN_ERROR_worker_crashed, NULL);
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASE(cancelled_while_running)
{
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert(!run_has_ended(run));
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(append("last", "1"), 0);
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    expect_stream("run last done ", "{\"status\":\"cancelled\",\"reason\":\"client\"}");
}

CASE(aborted_while_it_is_being_cancelled)
{
    run_cancel(run);
    run_abort(run, RUN_ERROR_worker_crashed, "killed by signal 9");
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
}

CASE(all_are_failed)
{
    struct run *other = create_run();

    runs_fail_all(runs, RUN_ERROR_shutdown);
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_int_eq(run_get_state(other), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    runs_fail_all(runs, RUN_ERROR_shutdown);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    run_unref(other);
}

/* The references of the executor and of the table keep the run, which sanitizers see. */
CASE(caller_may_let_go_at_once)
{
    struct run *kept = run;

    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    ck_assert_ptr_eq(runs_find(runs, run_id(kept)), kept);
    ck_assert_int_eq(finish(), 0);
    ck_assert_ptr_eq(runs_find(runs, run_id(kept)), kept);
    run = NULL;
}

CASES("described", .setup = setup_running, .teardown = teardown);

CASE(describe_running)
{
    cJSON *tree;

    ck_assert_int_eq(append("text", "1"), 0);
    tree = describe();
    expect_string(tree, "run", run_id(run));
    expect_string(tree, "agent", "echo");
    expect_string(tree, "version", "1.2");
    expect_number(tree, "generation", 3);
    expect_string(tree, "status", "running");
    expect_number(tree, "events", 2);
    ck_assert_int_eq(cJSON_GetArraySize(tree), 6);
    cJSON_Delete(tree);
}

CASE_LOOP(describe_ends, 0, 3)
{
    static const char *const states[] = {"finished", "failed", "cancelled"};
    cJSON *tree, *error;

    ck_assert_int_eq(end_run((enum wire_status)_i, _i == WIRE_FAILED ? "c\"d" : "",
                             _i == WIRE_FAILED ? "a\nb\xff" : "", ""),
                     0);
    tree = describe();
    expect_string(tree, "status", states[_i]);
    expect_number(tree, "events", 2);
    error = cJSON_GetObjectItemCaseSensitive(tree, "error");
    ck_assert_int_eq(error != NULL, _i == WIRE_FAILED);
    if (error) {
        expect_string(error, "code", "c\"d");
        expect_string(error, "message", "a\nb?");
    }
    cJSON_Delete(tree);
}

CASE(describe_waiting)
{
    cJSON *tree;

    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    tree = describe();
    expect_string(tree, "status", "waiting");
    expect_number(tree, "events", 1);
    cJSON_Delete(tree);
}

CASE(describe_held)
{
    cJSON *tree;

    run_set_held(run, true);
    tree = describe();
    expect_string(tree, "status", "running");
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(tree, "held")));
    cJSON_Delete(tree);
    run_set_held(run, false);
    tree = describe();
    ck_assert_ptr_null(cJSON_GetObjectItemCaseSensitive(tree, "held"));
    cJSON_Delete(tree);
    run_set_held(run, true);
    ck_assert_int_eq(end_run(WIRE_FINISHED, "", "", ""), 0);
    tree = describe();
    ck_assert_ptr_null(cJSON_GetObjectItemCaseSensitive(tree, "held"));
    cJSON_Delete(tree);
}

CASE(describe_cancelling)
{
    cJSON *tree;

    run_cancel(run);
    tree = describe();
    expect_string(tree, "status", "running");
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(tree, "cancelling")));
    cJSON_Delete(tree);
    ck_assert_int_eq(end_run(WIRE_CANCELLED, "", "", ""), 0);
    tree = describe();
    expect_string(tree, "status", "cancelled");
    ck_assert_ptr_null(cJSON_GetObjectItemCaseSensitive(tree, "cancelling"));
    cJSON_Delete(tree);
}
