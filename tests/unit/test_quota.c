#include "../case.h"
#include "run/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct quotas quotas;

static void setup(void)
{
    quotas = (struct quotas){0};
}

/* A client without a live run is not kept; leak checkers see the rest. */
static void teardown(void)
{
    ck_assert_ptr_null(quotas.tree);
}

CASES("quota", .setup = setup, .teardown = teardown);

CASE(unknown_has_none)
{
    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 0);
    ck_assert_uint_eq(quotas_live(&quotas, ""), 0);
}

CASE(take_and_give_back)
{
    struct quota *client = quota_take(&quotas, "alice");

    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 1);
    ck_assert_ptr_eq(quota_take(&quotas, "alice"), client);
    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 2);
    quota_give_back(&quotas, client);
    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 1);
    quota_give_back(&quotas, client);
    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 0);
}

CASE(names_are_told_apart)
{
    struct quota *alice = quota_take(&quotas, "alice"), *al = quota_take(&quotas, "al");

    ck_assert_ptr_ne(alice, al);
    ck_assert_uint_eq(quotas_live(&quotas, "alice"), 1);
    ck_assert_uint_eq(quotas_live(&quotas, "al"), 1);
    ck_assert_uint_eq(quotas_live(&quotas, "Alice"), 0);
    ck_assert_uint_eq(quotas_live(&quotas, ""), 0);
    quota_give_back(&quotas, alice);
    ck_assert_uint_eq(quotas_live(&quotas, "al"), 1);
    quota_give_back(&quotas, al);
}

CASE(name_is_copied)
{
    char name[] = "10.0.0.1";
    struct quota *client = quota_take(&quotas, name);

    memset(name, 'x', strlen(name));
    ck_assert_uint_eq(quotas_live(&quotas, "10.0.0.1"), 1);
    quota_give_back(&quotas, client);
}

CASE(nobody_gives_back)
{
    quota_give_back(&quotas, NULL);
}

CASE(many)
{
    struct quota *taken[500];
    char name[16];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "client %u", i % 100);
        taken[i] = quota_take(&quotas, name);
    }
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "client %u", i % 100);
        ck_assert_uint_eq(quotas_live(&quotas, name), 5 - i / 100);
        quota_give_back(&quotas, taken[i]);
    }
}
