#include "usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) < 0)
        return UINT64_MAX;
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int usage_cpu_ns(const struct usage *usage, uint64_t *ns)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < usage->count; i++) {
        clockid_t clock;
        uint64_t used;

        if (clock_getcpuclockid(usage->pids[i], &clock) != 0)
            return -ESRCH;
        used = clock_ns(clock);
        if (used == UINT64_MAX)
            return -ESRCH;
        sum += used;
    }
    *ns = sum;
    return 0;
}

static int add_memory(pid_t pid, struct memory *memory)
{
    char path[64], line[256];
    unsigned long long kib;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -ESRCH;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Rss: %llu", &kib) == 1)
            memory->rss_kib += kib;
        else if (sscanf(line, "Pss: %llu", &kib) == 1)
            memory->pss_kib += kib;
    }
    fclose(file);
    return 0;
}

int usage_memory(const struct usage *usage, struct memory *memory)
{
    int status = 0;

    *memory = (struct memory){0};
    for (size_t i = 0; i < usage->count && status == 0; i++)
        status = add_memory(usage->pids[i], memory);
    return status;
}

uint64_t usage_own_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}
