#ifndef SLUICE_BENCH_USAGE_H
#define SLUICE_BENCH_USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What processes use. CPU time is that of all their threads, those that have ended too, in user
 * mode and in the kernel, as the scheduler counts it. Memory is what is resident; pages that
 * processes share count for each.
 */
struct usage {
    pid_t pids[256]; /* 0 is the caller */
    size_t count;
};

/* Reads a list like 12,34; 0 or -EINVAL. */
int usage_init(struct usage *usage, const char *pids);

/* 0, or -ESRCH if one of the processes is gone. */
int usage_cpu_ns(const struct usage *usage, uint64_t *ns);
int usage_memory_kib(const struct usage *usage, uint64_t *kib);

#endif
