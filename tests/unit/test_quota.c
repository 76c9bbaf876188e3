#include "../case.h"
#include "run/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET 1000

static struct quotas quotas;

static void setup(void)
{
    quotas = (struct quotas){.budget = BUDGET};
}

/* A client that takes nothing is not kept; leak checkers see the rest. */
static void teardown(void)
{
    ck_assert_ptr_null(quotas.tree);
    ck_assert_uint_eq(quotas.held + quotas.kept + quotas.count, 0);
}

/* Let the client hold as much as it may; return how much that is. */
static size_t fill(const char *name)
{
    size_t taken = 0;

    while (quotas_take(&quotas, name, 1))
        taken++;
    return taken;
}

CASES("quota", .setup = setup, .teardown = teardown);

CASE(unknown_has_none)
{
    ck_assert_ptr_null(quota_find(&quotas, "alice"));
    ck_assert_ptr_null(quota_find(&quotas, ""));
    quotas_give(&quotas, "alice", 7);
}

CASE(open_and_close)
{
    struct quota *client = quota_open(&quotas, "alice");

    ck_assert_ptr_eq(quota_find(&quotas, "alice"), client);
    ck_assert_ptr_eq(quota_open(&quotas, "alice"), client);
    quota_close(&quotas, client);
    ck_assert_ptr_eq(quota_find(&quotas, "alice"), client);
    quota_close(&quotas, client);
    ck_assert_ptr_null(quota_find(&quotas, "alice"));
}

CASE(names_are_told_apart)
{
    struct quota *alice = quota_open(&quotas, "alice"), *al = quota_open(&quotas, "al");

    ck_assert_ptr_ne(alice, al);
    ck_assert_uint_eq(quotas.count, 2);
    ck_assert_ptr_null(quota_find(&quotas, "Alice"));
    ck_assert_ptr_null(quota_find(&quotas, ""));
    quota_close(&quotas, alice);
    ck_assert_ptr_eq(quota_find(&quotas, "al"), al);
    quota_close(&quotas, al);
}

CASE(name_is_copied)
{
    char name[] = "10.0.0.1";
    struct quota *client = quota_open(&quotas, name);

    memset(name, 'x', strlen(name));
    ck_assert_ptr_eq(quota_find(&quotas, "10.0.0.1"), client);
    quota_close(&quotas, client);
}

CASE(many)
{
    struct quota *taken[500];
    char name[24];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "client %u", i % 100);
        taken[i] = quota_open(&quotas, name);
    }
    ck_assert_uint_eq(quotas.count, 100);
    for (unsigned i = 0; i < 500; i++)
        quota_close(&quotas, taken[i]);
}

/* Requests keep the quota of a client that has no run. */
CASE(bytes_keep_the_quota)
{
    struct quota *client = quota_open(&quotas, "alice");

    ck_assert(quotas_take(&quotas, "alice", 5));
    quota_close(&quotas, client);
    ck_assert_ptr_eq(quota_find(&quotas, "alice"), client);
    quotas_give(&quotas, "alice", 5);
    ck_assert_ptr_null(quota_find(&quotas, "alice"));
}

/* n busy clients hold 3/(1 + 3n) of the budget each, whoever came first. */
CASE_LOOP(busy_clients_share, 1, 10)
{
    unsigned n = (unsigned)_i;
    size_t share = BUDGET * 3 / (1 + 3 * n);
    char name[24];

    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "client %u", i);
        quota_hold(&quotas, quota_open(&quotas, name), (ptrdiff_t)share);
    }
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "client %u", i);
        ck_assert(!quota_is_over(&quotas, quota_find(&quotas, name)));
        ck_assert(!quota_has_room(&quotas, quota_find(&quotas, name), 4 + 3 * n));
    }
    ck_assert(quota_has_room(&quotas, NULL, share / 4)); /* who comes next */
    for (unsigned i = 0; i < n; i++) {
        struct quota *client;

        snprintf(name, sizeof name, "client %u", i);
        client = quota_find(&quotas, name);
        quota_hold(&quotas, client, -(ptrdiff_t)client->held);
        quota_close(&quotas, client);
    }
}

/* Whatever the others took before, each of them leaves a quarter of what was free. */
CASE(the_next_always_has_room)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    size_t left = BUDGET, taken[4];

    for (int i = 0; i < 4; i++) {
        taken[i] = fill(names[i]);
        ck_assert_uint_ge(taken[i], left * 3 / 4 - 3);
        left -= taken[i];
        ck_assert_uint_ge(left, BUDGET >> 2 * (i + 1));
    }
    for (int i = 0; i < 4; i++)
        quotas_give(&quotas, names[i], taken[i]);
}

/* The one who grows makes the largest one exceed its share, not itself. */
CASE(the_larger_one_is_over)
{
    size_t eve = fill("eve"), bob = fill("bob");

    ck_assert(quota_is_over(&quotas, quota_find(&quotas, "eve")));
    ck_assert(!quota_is_over(&quotas, quota_find(&quotas, "bob")));
    quotas_give(&quotas, "eve", eve);
    quotas_give(&quotas, "bob", bob);
}

CASE(too_much_is_refused_at_any_size)
{
    ck_assert(!quotas_take(&quotas, "alice", BUDGET));
    ck_assert(!quotas_take(&quotas, "alice", SIZE_MAX));
    ck_assert(quotas_take(&quotas, "alice", BUDGET * 3 / 4));
    ck_assert(!quotas_take(&quotas, "alice", SIZE_MAX / 2));
    quotas_give(&quotas, "alice", BUDGET * 3 / 4);
    quotas.budget = 0;
    ck_assert(!quotas_take(&quotas, "alice", 0));
}

CASE(who_keeps_most)
{
    struct quota *small = quota_open(&quotas, "small"), *large = quota_open(&quotas, "large");

    ck_assert_ptr_null(quotas_keeper(&quotas));
    quota_keep(&quotas, small, 10);
    ck_assert_ptr_eq(quotas_keeper(&quotas), small);
    quota_keep(&quotas, large, 20);
    ck_assert_ptr_eq(quotas_keeper(&quotas), large);
    quota_keep(&quotas, large, -15);
    ck_assert_ptr_eq(quotas_keeper(&quotas), small);
    quota_keep(&quotas, small, -10);
    quota_keep(&quotas, large, -5);
    ck_assert_ptr_null(quotas_keeper(&quotas));
    quota_close(&quotas, small);
    quota_close(&quotas, large);
}
