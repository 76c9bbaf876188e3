/*
 * The cgroups are found as cgroups(7) says: a line of /proc/self/cgroup is
 *
 *     0::/PATH                  version 2: /sys/fs/cgroup/PATH/memory.max
 *     N:…,memory,…:/PATH        version 1: /sys/fs/cgroup/memory/PATH/memory.limit_in_bytes
 *
 * A group has no more than the groups above it, so each of them is looked at. In a
 * container the path may be the host's, which is not there; the way up then ends at the
 * mount, which has the container's limit. "max", or a number beyond all memory, is none.
 */
#include "base/capacity.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Return the number in the file; SIZE_MAX if there is none. */
static size_t read_limit(const char *path)
{
    FILE *file = fopen(path, "re");
    unsigned long long number;
    int count;

    if (file == NULL)
        return SIZE_MAX;
    count = fscanf(file, "%llu", &number);
    fclose(file);
    return count == 1 && number < SIZE_MAX ? (size_t)number : SIZE_MAX;
}

/* Return the least limit of the group and those above it, up to the mount. */
static size_t group_limit(const char *root, const char *mount, char *group, const char *file)
{
    size_t limit = SIZE_MAX;
    char *slash;

    for (;;) {
        char path[3 * PATH_MAX];

        snprintf(path, sizeof path, "%s%s%s/%s", root, mount, strcmp(group, "/") ? group : "",
                 file);
        limit = least(limit, read_limit(path));
        slash = strrchr(group, '/');
        if (slash == NULL)
            return limit;
        *slash = '\0';
    }
}

static size_t cgroup_limit(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX];
    size_t limit = SIZE_MAX;
    FILE *file;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    if (file == NULL)
        return SIZE_MAX;
    while (fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *group, *rest;

        line[strcspn(line, "\n")] = '\0';
        if (controllers == NULL || (group = strchr(controllers + 1, ':')) == NULL)
            continue;
        *controllers++ = '\0';
        *group++ = '\0';
        if (*controllers == '\0')
            limit = least(limit, group_limit(root, "/sys/fs/cgroup", group, "memory.max"));
        for (char *name = strtok_r(controllers, ",", &rest); name;
             name = strtok_r(NULL, ",", &rest)) {
            if (strcmp(name, "memory") == 0)
                limit = least(limit, group_limit(root, "/sys/fs/cgroup/memory", group,
                                                 "memory.limit_in_bytes"));
        }
    }
    fclose(file);
    return limit;
}

size_t capacity_memory(const char *root)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t limit = cgroup_limit(root);
    struct rlimit space;

    if (pages > 0 && page > 0)
        limit = least(limit, (size_t)pages * (size_t)page);
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        limit = least(limit, space.rlim_cur);
    return limit;
}

size_t capacity_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1024;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur;
}
