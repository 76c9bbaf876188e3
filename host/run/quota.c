/*
 * The client that keeps most is found without a search. Clients are in lists by the
 * number of bits of what they keep; the first client of the highest list in use keeps
 * at least half as much as any other.
 */
#include "run/quota.h"

#include "base/mem.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* How many times the free bytes a client may hold. */
#define SHARE 3

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct quota *quota_find(const struct quotas *quotas, const char *name)
{
    struct quota *const *found = tfind(&name, &quotas->tree, compare_names);

    return found ? *found : NULL;
}

static struct quota *quota_make(struct quotas *quotas, const char *name)
{
    struct quota *quota = quota_find(quotas, name);
    size_t size = strlen(name) + 1;

    if (quota)
        return quota;
    quota = mem_alloc(sizeof *quota + size);
    quota->name = memcpy(quota->text, name, size);
    TAILQ_INIT(&quota->busy);
    TAILQ_INIT(&quota->idle);
    LIST_INSERT_HEAD(&quotas->by_kept[0], quota, in_size);
    tsearch(quota, &quotas->tree, compare_names);
    quotas->count++;
    return quota;
}

/* Forget a client that takes nothing. */
static void quota_settle(struct quotas *quotas, struct quota *quota)
{
    if (quota->runs > 0 || quota->held > 0)
        return;
    assert(quota->kept == 0);
    LIST_REMOVE(quota, in_size);
    tdelete(quota, &quotas->tree, compare_names);
    quotas->count--;
    free(quota);
}

struct quota *quota_open(struct quotas *quotas, const char *name)
{
    struct quota *quota = quota_make(quotas, name);

    quota->runs++;
    return quota;
}

void quota_close(struct quotas *quotas, struct quota *quota)
{
    quota->runs--;
    quota_settle(quotas, quota);
}

/* ---- bytes ---- */

bool quota_has_room(const struct quotas *quotas, const struct quota *quota, size_t bytes)
{
    size_t left = quotas->budget > quotas->held ? quotas->budget - quotas->held : 0;
    size_t held = quota ? quota->held : 0;

    return bytes < left && (held + bytes) / SHARE <= left - bytes;
}

bool quota_is_over(const struct quotas *quotas, const struct quota *quota)
{
    size_t left = quotas->budget > quotas->held ? quotas->budget - quotas->held : 0;

    return quota->held / SHARE > left;
}

void quota_hold(struct quotas *quotas, struct quota *quota, ptrdiff_t bytes)
{
    quota->held += (size_t)bytes;
    quotas->held += (size_t)bytes;
}

/* Return the number of bits that the number needs. */
static unsigned bits_of(size_t number)
{
    return number ? 8 * sizeof(long) - (unsigned)__builtin_clzl(number) : 0;
}

void quota_keep(struct quotas *quotas, struct quota *quota, ptrdiff_t bytes)
{
    unsigned size;

    quota->kept += (size_t)bytes;
    quotas->kept += (size_t)bytes;
    size = bits_of(quota->kept);
    if (size == quota->size)
        return;
    LIST_REMOVE(quota, in_size);
    quota->size = size;
    LIST_INSERT_HEAD(&quotas->by_kept[size], quota, in_size);
}

bool quotas_take(struct quotas *quotas, const char *name, size_t bytes)
{
    if (!quota_has_room(quotas, quota_find(quotas, name), bytes))
        return false;
    if (bytes > 0)
        quota_hold(quotas, quota_make(quotas, name), (ptrdiff_t)bytes);
    return true;
}

void quotas_give(struct quotas *quotas, const char *name, size_t bytes)
{
    struct quota *quota = bytes > 0 ? quota_find(quotas, name) : NULL;

    if (quota == NULL)
        return;
    quota_hold(quotas, quota, -(ptrdiff_t)bytes);
    quota_settle(quotas, quota);
}

/* ---- looking for a client ---- */

struct quota *quotas_keeper(const struct quotas *quotas)
{
    for (int size = QUOTA_SIZES - 1; size > 0; size--) {
        if (!LIST_EMPTY(&quotas->by_kept[size]))
            return LIST_FIRST(&quotas->by_kept[size]);
    }
    return NULL;
}

struct walk {
    void (*visit)(struct quota *quota, void *data);
    void *data;
};

static void on_node(const void *node, VISIT visit, void *data)
{
    const struct walk *walk = data;

    if (visit == postorder || visit == leaf)
        walk->visit(*(struct quota *const *)node, walk->data);
}

void quotas_walk(const struct quotas *quotas, void (*visit)(struct quota *quota, void *data),
                 void *data)
{
    struct walk walk = {visit, data};

    twalk_r(quotas->tree, on_node, &walk);
}
