/* How much memory and how many descriptors this process may have. */
#ifndef BASE_CAPACITY_H
#define BASE_CAPACITY_H

#include <stddef.h>

/*
 * Return the bytes of memory that the process may take: the least of the machine's
 * memory, the limits of its cgroups (version 2 or 1, and those above them) and
 * RLIMIT_AS. root goes before /proc and /sys; "" for the real ones.
 */
size_t capacity_memory(const char *root);

/* Return how many descriptors the process may have, after raising the soft limit to the hard one.
 */
size_t capacity_files(void);

#endif
