/* Loading a plugin into the worker: open, create, self-test. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <string.h>

CASES("load", .setup = setup, .teardown = teardown);

CASE(without_a_plugin)
{
    ck_assert_ptr_null(worker_plugin(worker));
    worker_send(worker, WIRE_READY, NULL, 0);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(other_frames, 1);
}

CASE(no_worker)
{
    worker_destroy(NULL);
}

CASE(missing_file)
{
    struct refusal refusal = {0};
    const char *path = plugin_path("unit_no_such_file");

    ck_assert_int_eq(worker_open(worker, path, path, &refusal), -EINVAL);
    ck_assert_str_eq(refusal.step, "open");
    ck_assert_ptr_nonnull(strstr(why_text(&refusal.why), path));
    ck_assert_ptr_null(worker_plugin(worker));
    refusal_finish(&refusal);
}

CASE(created_and_tested)
{
    struct refusal refusal = {0};

    open_plugin("unit_probe");
    ck_assert_int_eq(worker_plugin(worker)->mode, AGENT_THREAD);
    ck_assert_int_eq(life.created, 0);
    ck_assert_int_eq(create_plugin(1, "{\"kept\":1}", &refusal), 0);
    ck_assert_int_eq(life.created, 1);
    ck_assert_int_eq(life.tested, 1);
    ck_assert_int_eq(life.destroyed, 0);
    ck_assert_str_eq(life.state, "{\"kept\":1}");
    ck_assert_ptr_eq(strstr(life.config, "{\"life\":"), life.config);
    refusal_finish(&refusal);
}

CASE(create_without_state)
{
    struct refusal refusal = {0};

    open_plugin("unit_probe_fiber");
    ck_assert_int_eq(worker_plugin(worker)->mode, AGENT_FIBER);
    ck_assert_int_eq(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(life.state, "none");
    refusal_finish(&refusal);
}

CASE(create_fails)
{
    struct refusal refusal = {0};

    life.create_status = -ENOENT;
    open_plugin("unit_probe");
    ck_assert_int_lt(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(refusal.step, "create");
    ck_assert_ptr_nonnull(strstr(why_text(&refusal.why), "create() returned -2"));
    ck_assert_ptr_nonnull(strstr(why_text(&refusal.why), "the probe was told to fail in create"));
    ck_assert_int_eq(life.tested, 0);
    refusal_finish(&refusal);
}

CASE(selftest_fails)
{
    struct refusal refusal = {0};

    life.selftest_status = -EIO;
    open_plugin("unit_probe");
    ck_assert_int_lt(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(refusal.step, "selftest");
    ck_assert_ptr_nonnull(strstr(why_text(&refusal.why), "selftest() returned -5"));
    ck_assert_ptr_nonnull(strstr(why_text(&refusal.why), "the probe was told to fail in selftest"));
    refusal_finish(&refusal);
}
