#ifndef SLUICE_BENCH_USAGE_H
#define SLUICE_BENCH_USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What processes use. CPU time is that of all their threads, those that have ended too, in user
 * mode and in the kernel, as the scheduler counts it (the same as the first number of all
 * /proc/PID/task/TID/schedstat, but for threads that have ended).
 */
struct usage {
    pid_t pids[256];
    size_t count;
};

struct memory {
    uint64_t rss_kib; /* pages that processes share count for each */
    uint64_t pss_kib; /* pages that they share are divided among them */
};

/* Reads a list like 12,34; 0 or -EINVAL. */
int usage_init(struct usage *usage, const char *pids);

/* 0, or -ESRCH if one of the processes is gone. */
int usage_cpu_ns(const struct usage *usage, uint64_t *ns);
int usage_memory(const struct usage *usage, struct memory *memory);

/* CPU time of this process. */
uint64_t usage_own_cpu_ns(void);

#endif
