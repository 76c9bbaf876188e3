#include "usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int usage_init(struct usage *usage, const char *pids)
{
    char *end;

    usage->count = 0;
    while (*pids) {
        long pid = strtol(pids, &end, 10);

        if (end == pids || pid <= 0 || (*end != '\0' && *end != ',') ||
            usage->count == sizeof usage->pids / sizeof *usage->pids)
            return -EINVAL;
        usage->pids[usage->count++] = (pid_t)pid;
        pids = *end == ',' ? end + 1 : end;
    }
    return 0;
}

int usage_cpu_ns(const struct usage *usage, uint64_t *ns)
{
    struct timespec used;
    clockid_t clock;

    *ns = 0;
    for (size_t i = 0; i < usage->count; i++) {
        if (clock_getcpuclockid(usage->pids[i], &clock) != 0 || clock_gettime(clock, &used) < 0)
            return -ESRCH;
        *ns += (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    }
    return 0;
}

static int add_memory(pid_t pid, uint64_t *sum)
{
    char path[64], line[256];
    unsigned long long kib;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -ESRCH;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Rss: %llu", &kib) == 1)
            *sum += kib;
    fclose(file);
    return 0;
}

int usage_memory_kib(const struct usage *usage, uint64_t *kib)
{
    int status = 0;

    *kib = 0;
    for (size_t i = 0; i < usage->count && status == 0; i++)
        status = add_memory(usage->pids[i], kib);
    return status;
}
