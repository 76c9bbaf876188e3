/* The limit of memory, from a made-up /proc and /sys. */
#include "../case.h"
#include "base/capacity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024u * 1024)

static char root[64];
static size_t none; /* the limit without cgroups */

/* Write a file below the root, and its folders. */
static void put(const char *path, const char *text)
{
    char whole[512];
    FILE *file;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(whole, 0700);
    }
    file = fopen(whole, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void setup(void)
{
    strcpy(root, "/tmp/sluice-capacity-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    none = capacity_memory(root);
}

static void teardown(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}

CASES("capacity", .setup = setup, .teardown = teardown);

CASE(machine)
{
    ck_assert_uint_gt(none, MIB);
}

CASE(version_2)
{
    put("/proc/self/cgroup", "0::/app.slice/sluice.service\n");
    put("/sys/fs/cgroup/app.slice/sluice.service/memory.max", "67108864\n");
    ck_assert_uint_eq(capacity_memory(root), 64 * MIB);
}

CASE(a_group_above_has_less)
{
    put("/proc/self/cgroup", "0::/app.slice/sluice.service\n");
    put("/sys/fs/cgroup/app.slice/sluice.service/memory.max", "max\n");
    put("/sys/fs/cgroup/app.slice/memory.max", "33554432\n");
    ck_assert_uint_eq(capacity_memory(root), 32 * MIB);
}

CASE(a_container_sees_its_own_root)
{
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "16777216\n");
    ck_assert_uint_eq(capacity_memory(root), 16 * MIB);
}

CASE(a_path_that_is_not_there)
{
    put("/proc/self/cgroup", "0::/kubepods/pod1/c2\n");
    put("/sys/fs/cgroup/memory.max", "16777216\n");
    ck_assert_uint_eq(capacity_memory(root), 16 * MIB);
}

CASE(version_1)
{
    put("/proc/self/cgroup", "12:pids:/a\n4:cpu,memory:/a\n1:name=systemd:/a\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "50331648\n");
    ck_assert_uint_eq(capacity_memory(root), 48 * MIB);
}

CASE(no_limit)
{
    put("/proc/self/cgroup", "0::/\n4:memory:/\n");
    put("/sys/fs/cgroup/memory.max", "max\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    ck_assert_uint_eq(capacity_memory(root), none);
}

CASE(address_space)
{
    struct rlimit old, limit;

    getrlimit(RLIMIT_AS, &old);
    limit = old;
    limit.rlim_cur = none / 2;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_uint_eq(capacity_memory(root), none / 2);
    setrlimit(RLIMIT_AS, &old);
}

CASE(files)
{
    struct rlimit limit;

    ck_assert_uint_gt(capacity_files(), 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    ck_assert_uint_eq(limit.rlim_cur, limit.rlim_max);
}
