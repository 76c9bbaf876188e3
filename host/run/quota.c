#include "run/quota.h"

#include "base/mem.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct client {
    char *name; /* first: the tree compares it */
    unsigned live;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct client *client_find(const struct clients *clients, const char *name)
{
    struct client *const *found = tfind(&name, &clients->tree, compare_names);

    return found ? *found : NULL;
}

unsigned clients_live(const struct clients *clients, const char *name)
{
    const struct client *client = client_find(clients, name);

    return client ? client->live : 0;
}

struct client *client_take(struct clients *clients, const char *name)
{
    struct client *client = client_find(clients, name);

    if (client == NULL) {
        client = mem_alloc(sizeof *client);
        client->name = mem_strdup(name);
        tsearch(client, &clients->tree, compare_names);
    }
    client->live++;
    return client;
}

void client_give_back(struct clients *clients, struct client *client)
{
    if (client == NULL || --client->live > 0)
        return;
    tdelete(client, &clients->tree, compare_names);
    free(client->name);
    free(client);
}
