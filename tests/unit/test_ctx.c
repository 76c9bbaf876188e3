#include "../case.h"
#include "worker/vars.h"

#include "agent.h"

#include <stdlib.h>
#include <string.h>

/* ---- the chain ---- */

CASES("chain");

CASE(empty_chain)
{
    ck_assert_ptr_null(ctx_find(NULL, "a"));
}

CASE(find)
{
    struct ctx_var *a = ctx_push(NULL, "a", "1");
    struct ctx_var *b = ctx_push(a, "b", "2");

    ck_assert_str_eq(ctx_find(b, "a"), "1");
    ck_assert_str_eq(ctx_find(b, "b"), "2");
    ck_assert_ptr_null(ctx_find(b, "ab"));
    ck_assert_ptr_null(ctx_find(b, ""));
    free(b);
    free(a);
}

CASE(newest_counts)
{
    struct ctx_var *old = ctx_push(NULL, "a", "old");
    struct ctx_var *new = ctx_push(old, "a", "new");

    ck_assert_str_eq(ctx_find(new, "a"), "new");
    ck_assert_str_eq(ctx_find(old, "a"), "old");
    free(new);
    free(old);
}

CASE(no_value_takes_away)
{
    struct ctx_var *set = ctx_push(NULL, "a", "1");
    struct ctx_var *gone = ctx_push(set, "a", NULL);
    struct ctx_var *back = ctx_push(gone, "a", "2");

    ck_assert_ptr_null(ctx_find(gone, "a"));
    ck_assert_str_eq(ctx_find(set, "a"), "1");
    ck_assert_str_eq(ctx_find(back, "a"), "2");
    free(back);
    free(gone);
    free(set);
}

CASE(empty_value_is_a_value)
{
    struct ctx_var *a = ctx_push(NULL, "a", "");

    ck_assert_str_eq(ctx_find(a, "a"), "");
    free(a);
}

CASE(strings_are_copied)
{
    char key[] = "key", value[] = "value";
    struct ctx_var *a = ctx_push(NULL, key, value);

    key[0] = value[0] = 'X';
    ck_assert_str_eq(ctx_find(a, "key"), "value");
    free(a);
}

/* Two chains that share older links do not see what the other sets. */
CASE(branches)
{
    struct ctx_var *trunk = ctx_push(NULL, "a", "trunk");
    struct ctx_var *left = ctx_push(trunk, "a", "left");
    struct ctx_var *right = ctx_push(trunk, "b", "right");

    ck_assert_str_eq(ctx_find(left, "a"), "left");
    ck_assert_ptr_null(ctx_find(left, "b"));
    ck_assert_str_eq(ctx_find(right, "a"), "trunk");
    ck_assert_str_eq(ctx_find(right, "b"), "right");
    ck_assert_ptr_null(ctx_find(trunk, "b"));
    free(left);
    free(right);
    free(trunk);
}

CASE(size_counts_both_strings)
{
    size_t empty = ctx_size("", NULL);

    ck_assert_uint_ge(empty, 1);
    ck_assert_uint_eq(ctx_size("abc", NULL), empty + 3);
    ck_assert_uint_eq(ctx_size("abc", ""), empty + 3 + 1);
    ck_assert_uint_eq(ctx_size("abc", "12345"), empty + 3 + 6);
}

/* ---- keys ---- */

CASES("keys");

CASE(valid_keys)
{
    static const char *const valid[] = {"a", "A.b-c_d:9", "!", "~", "request", "\"{}\\"};

    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        ck_assert_msg(ctx_key_is_valid(valid[i]), "%s", valid[i]);
}

CASE(invalid_keys)
{
    static const char *const invalid[] = {"",     " ",    "a b",      "a\tb",  "a\n",
                                          "\x01", "\x7f", "\xc3\xa4", "a\xff", "a\x80"};

    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        ck_assert_msg(!ctx_key_is_valid(invalid[i]), "%zu", i);
}

CASE(longest_key)
{
    char key[AGENT_CTX_KEY_MAX + 2];

    memset(key, 'k', sizeof key);
    key[AGENT_CTX_KEY_MAX] = '\0';
    ck_assert(ctx_key_is_valid(key));
    key[AGENT_CTX_KEY_MAX] = 'k';
    key[AGENT_CTX_KEY_MAX + 1] = '\0';
    ck_assert(!ctx_key_is_valid(key));
}

CASE(keys_of_the_host)
{
    static const char *const host[] = {
        "input",        "traceparent", "run.id",           "run.agent", "plugin.version",
        "auth.subject", "run.",        "request.header.x", "plugin.",   "auth.anything"};

    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        ck_assert_msg(ctx_key_is_host(host[i]), "%s", host[i]);
}

CASE(keys_of_the_agent)
{
    static const char *const own[] = {"a",      "input2",  "inpu",    "traceparent.x",
                                      "run",    "runs.id", "Run.id",  "myrun.id",
                                      "plugin", "auth",    "request", ""};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        ck_assert_msg(!ctx_key_is_host(own[i]), "%s", own[i]);
}
