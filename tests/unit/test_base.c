/* The small things of base/ that have no file of cases of their own. */
#include "../case.h"
#include "base/handles.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/time.h"
#include "base/why.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

CASES("why");

CASE(what_is_cut_is_utf8)
{
    struct why why = {0};

    why_set(&why, 0, "'%.2s' and '%s'", "a\xc3\xa9", "\xff\xc3\xa9");
    ck_assert_str_eq(why_text(&why), "'a?' and '?\xc3\xa9'");
    why_finish(&why);
}

CASE(zeroed_is_no_reason)
{
    struct why why = {0};

    ck_assert_str_eq(why_text(&why), "");
    why_finish(&why);
}

CASE(set_returns_the_status_and_replaces_the_text)
{
    struct why why = {0};

    ck_assert_int_eq(why_set(&why, -EINVAL, "wanted %d, found %s", 1, "two"), -EINVAL);
    ck_assert_str_eq(why_text(&why), "wanted 1, found two");
    ck_assert_int_eq(why_set(&why, 0, "another"), 0);
    ck_assert_str_eq(why_text(&why), "another");
    why_finish(&why);
    ck_assert_str_eq(why_text(&why), "");
}

CASE(a_reason_may_be_wrapped_in_another)
{
    struct why why = {0};

    why_set(&why, 0, "no such file");
    why_set(&why, 0, "%s: %s", "echo.so", why_text(&why));
    ck_assert_str_eq(why_text(&why), "echo.so: no such file");
    why_finish(&why);
}

CASE(a_reason_is_never_cut)
{
    char word[5001] = "";
    struct why why = {0};

    memset(word, 'x', sizeof word - 1);
    why_set(&why, 0, "%s and %s", word, word);
    ck_assert_uint_eq(strlen(why_text(&why)), 2 * (sizeof word - 1) + strlen(" and "));
    why_finish(&why);
}

CASES("time");

CASE(time_after_saturates)
{
    ck_assert_uint_eq(time_after(5, 10), 15);
    ck_assert_uint_eq(time_after(5, NEVER), NEVER);
    ck_assert_uint_eq(time_after(5, NEVER - 4), NEVER);
    ck_assert_uint_eq(time_after(NEVER, 1), NEVER);
    ck_assert_uint_eq(time_after(NEVER, 0), NEVER);
}

CASES("handles");

struct owner {
    uv_timer_t timer;
    uv_idle_t idle;
    struct handles handles;
    unsigned closed;
};

static void on_closed(void *data)
{
    struct owner *owner = data;

    owner->closed++;
    ck_assert(!uv_has_ref((uv_handle_t *)&owner->timer) ||
              uv_is_closing((uv_handle_t *)&owner->timer));
}

CASE(the_owner_is_called_once_when_all_are_closed)
{
    struct owner owner = {0};
    uv_loop_t loop;

    uv_loop_init(&loop);
    uv_timer_init(&loop, &owner.timer);
    uv_idle_init(&loop, &owner.idle);
    handles_close(&owner.handles, on_closed, &owner, &owner.timer, NULL);
    handles_close(&owner.handles, on_closed, &owner, &owner.idle, NULL);
    ck_assert_uint_eq(owner.closed, 0);
    ck_assert_uint_eq(owner.handles.closing, 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(owner.closed, 1);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static struct buf buf;
static struct json_writer json;

static void setup_writer(void)
{
    buf = (struct buf){0};
    json = (struct json_writer){.out = &buf};
}

static void teardown_writer(void)
{
    buf_finish(&buf);
}

static void expect(const char *text)
{
    ck_assert_uint_eq(buf_length(&buf), strlen(text));
    ck_assert_mem_eq(buf_data(&buf), text, strlen(text));
    ck_assert_int_eq(json_check(buf_data(&buf), buf_length(&buf)), (ssize_t)strlen(text));
}

CASES("json_writer", .setup = setup_writer, .teardown = teardown_writer);

CASE(an_empty_object)
{
    json_open(&json, NULL, '{');
    json_close(&json, '}');
    expect("{}");
}

CASE(commas_stand_between_values)
{
    json_open(&json, NULL, '{');
    json_text(&json, "name", "echo");
    json_open(&json, "pids", '[');
    json_number(&json, NULL, 1);
    json_number(&json, NULL, UINT64_MAX);
    json_close(&json, ']');
    json_open(&json, "none", '[');
    json_close(&json, ']');
    json_open(&json, "inner", '{');
    json_flag(&json, "yes", true);
    json_flag(&json, "no", false);
    json_close(&json, '}');
    json_raw(&json, "raw", "[1,2]", 5);
    json_close(&json, '}');
    expect("{\"name\":\"echo\",\"pids\":[1,18446744073709551615],\"none\":[],"
           "\"inner\":{\"yes\":true,\"no\":false},\"raw\":[1,2]}");
}

CASE(a_text_that_is_not_there_is_left_out)
{
    json_open(&json, NULL, '{');
    json_text(&json, "a", NULL);
    json_text(&json, "b", "");
    json_text(&json, "c", NULL);
    json_close(&json, '}');
    expect("{\"b\":\"\"}");
}

CASE(text_is_escaped)
{
    json_open(&json, NULL, '[');
    json_text(&json, NULL, "a\"b\\c\n\x01");
    json_text(&json, NULL, "bad \xff byte");
    json_close(&json, ']');
    expect("[\"a\\\"b\\\\c\\n\\u0001\",\"bad ? byte\"]");
}
