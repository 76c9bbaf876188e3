#include "run/quota.h"

#include "base/mem.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct quota {
    const char *name; /* first: the tree compares it; it is `text` */
    unsigned live;
    char text[];
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct quota *quota_find(const struct quotas *quotas, const char *name)
{
    struct quota *const *found = tfind(&name, &quotas->tree, compare_names);

    return found ? *found : NULL;
}

unsigned quotas_live(const struct quotas *quotas, const char *name)
{
    const struct quota *quota = quota_find(quotas, name);

    return quota ? quota->live : 0;
}

struct quota *quota_take(struct quotas *quotas, const char *name)
{
    struct quota *quota = quota_find(quotas, name);

    if (quota == NULL) {
        size_t size = strlen(name) + 1;

        quota = mem_alloc(sizeof *quota + size);
        quota->name = memcpy(quota->text, name, size);
        tsearch(quota, &quotas->tree, compare_names);
    }
    quota->live++;
    return quota;
}

void quota_give_back(struct quotas *quotas, struct quota *quota)
{
    if (quota == NULL || --quota->live > 0)
        return;
    tdelete(quota, &quotas->tree, compare_names);
    free(quota);
}
