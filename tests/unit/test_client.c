#include "../case.h"
#include "run/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct clients clients;

static void setup(void)
{
    clients = (struct clients){0};
}

/* A client without a live run is not kept; leak checkers see the rest. */
static void teardown(void)
{
    ck_assert_ptr_null(clients.tree);
}

CASES("client", .setup = setup, .teardown = teardown);

CASE(unknown_has_none)
{
    ck_assert_uint_eq(clients_live(&clients, "alice"), 0);
    ck_assert_uint_eq(clients_live(&clients, ""), 0);
}

CASE(take_and_give_back)
{
    struct client *client = client_take(&clients, "alice");

    ck_assert_uint_eq(clients_live(&clients, "alice"), 1);
    ck_assert_ptr_eq(client_take(&clients, "alice"), client);
    ck_assert_uint_eq(clients_live(&clients, "alice"), 2);
    client_give_back(&clients, client);
    ck_assert_uint_eq(clients_live(&clients, "alice"), 1);
    client_give_back(&clients, client);
    ck_assert_uint_eq(clients_live(&clients, "alice"), 0);
}

CASE(names_are_told_apart)
{
    struct client *alice = client_take(&clients, "alice"), *al = client_take(&clients, "al");

    ck_assert_ptr_ne(alice, al);
    ck_assert_uint_eq(clients_live(&clients, "alice"), 1);
    ck_assert_uint_eq(clients_live(&clients, "al"), 1);
    ck_assert_uint_eq(clients_live(&clients, "Alice"), 0);
    ck_assert_uint_eq(clients_live(&clients, ""), 0);
    client_give_back(&clients, alice);
    ck_assert_uint_eq(clients_live(&clients, "al"), 1);
    client_give_back(&clients, al);
}

CASE(name_is_copied)
{
    char name[] = "10.0.0.1";
    struct client *client = client_take(&clients, name);

    memset(name, 'x', strlen(name));
    ck_assert_uint_eq(clients_live(&clients, "10.0.0.1"), 1);
    client_give_back(&clients, client);
}

CASE(nobody_gives_back)
{
    client_give_back(&clients, NULL);
}

CASE(many)
{
    struct client *taken[500];
    char name[16];

    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "client %u", i % 100);
        taken[i] = client_take(&clients, name);
    }
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "client %u", i % 100);
        ck_assert_uint_eq(clients_live(&clients, name), 5 - i / 100);
        client_give_back(&clients, taken[i]);
    }
}
