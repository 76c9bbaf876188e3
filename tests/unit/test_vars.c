#include "../case.h"
#include "worker/vars.h"

#include "agent.h"

#include <stdlib.h>
#include <string.h>

/* ---- the chain ---- */

CASES("chain");

CASE(empty_chain)
{
    ck_assert_ptr_null(vars_find(NULL, "a"));
}

CASE(find)
{
    struct var *a = vars_push(NULL, "a", "1");
    struct var *b = vars_push(a, "b", "2");

    ck_assert_str_eq(vars_find(b, "a"), "1");
    ck_assert_str_eq(vars_find(b, "b"), "2");
    ck_assert_ptr_null(vars_find(b, "ab"));
    ck_assert_ptr_null(vars_find(b, ""));
    free(b);
    free(a);
}

CASE(newest_counts)
{
    struct var *old = vars_push(NULL, "a", "old");
    struct var *new = vars_push(old, "a", "new");

    ck_assert_str_eq(vars_find(new, "a"), "new");
    ck_assert_str_eq(vars_find(old, "a"), "old");
    free(new);
    free(old);
}

CASE(no_value_takes_away)
{
    struct var *set = vars_push(NULL, "a", "1");
    struct var *gone = vars_push(set, "a", NULL);
    struct var *back = vars_push(gone, "a", "2");

    ck_assert_ptr_null(vars_find(gone, "a"));
    ck_assert_str_eq(vars_find(set, "a"), "1");
    ck_assert_str_eq(vars_find(back, "a"), "2");
    free(back);
    free(gone);
    free(set);
}

CASE(empty_value_is_a_value)
{
    struct var *a = vars_push(NULL, "a", "");

    ck_assert_str_eq(vars_find(a, "a"), "");
    free(a);
}

CASE(strings_are_copied)
{
    char key[] = "key", value[] = "value";
    struct var *a = vars_push(NULL, key, value);

    key[0] = value[0] = 'X';
    ck_assert_str_eq(vars_find(a, "key"), "value");
    free(a);
}

/* Two chains that share older links do not see what the other sets. */
CASE(branches)
{
    struct var *trunk = vars_push(NULL, "a", "trunk");
    struct var *left = vars_push(trunk, "a", "left");
    struct var *right = vars_push(trunk, "b", "right");

    ck_assert_str_eq(vars_find(left, "a"), "left");
    ck_assert_ptr_null(vars_find(left, "b"));
    ck_assert_str_eq(vars_find(right, "a"), "trunk");
    ck_assert_str_eq(vars_find(right, "b"), "right");
    ck_assert_ptr_null(vars_find(trunk, "b"));
    free(left);
    free(right);
    free(trunk);
}

CASE(size_counts_both_strings)
{
    size_t empty = vars_size("", NULL);

    ck_assert_uint_ge(empty, 1);
    ck_assert_uint_eq(vars_size("abc", NULL), empty + 3);
    ck_assert_uint_eq(vars_size("abc", ""), empty + 3 + 1);
    ck_assert_uint_eq(vars_size("abc", "12345"), empty + 3 + 6);
}

/* ---- keys ---- */

CASES("keys");

CASE(valid_keys)
{
    static const char *const valid[] = {"a", "A.b-c_d:9", "!", "~", "request", "\"{}\\"};

    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        ck_assert_msg(vars_key_is_valid(valid[i]), "%s", valid[i]);
}

CASE(invalid_keys)
{
    static const char *const invalid[] = {"",     " ",    "a b",      "a\tb",  "a\n",
                                          "\x01", "\x7f", "\xc3\xa4", "a\xff", "a\x80"};

    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        ck_assert_msg(!vars_key_is_valid(invalid[i]), "%zu", i);
}

CASE(longest_key)
{
    char key[AGENT_CTX_KEY_MAX + 2];

    memset(key, 'k', sizeof key);
    key[AGENT_CTX_KEY_MAX] = '\0';
    ck_assert(vars_key_is_valid(key));
    key[AGENT_CTX_KEY_MAX] = 'k';
    key[AGENT_CTX_KEY_MAX + 1] = '\0';
    ck_assert(!vars_key_is_valid(key));
}

CASE(keys_of_the_host)
{
    static const char *const host[] = {
        "input",        "traceparent", "run.id",           "run.agent", "plugin.version",
        "auth.subject", "run.",        "request.header.x", "plugin.",   "auth.anything"};

    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        ck_assert_msg(vars_key_is_host(host[i]), "%s", host[i]);
}

CASE(keys_of_the_agent)
{
    static const char *const own[] = {"a",      "input2",  "inpu",    "traceparent.x",
                                      "run",    "runs.id", "Run.id",  "myrun.id",
                                      "plugin", "auth",    "request", ""};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        ck_assert_msg(!vars_key_is_host(own[i]), "%s", own[i]);
}
