/*
 * Allocation that succeeds or ends the process: every queue is bounded, so a
 * failure leaves nothing sensible to do.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Return zeroed memory. */
void *mem_alloc(size_t size);
void *mem_realloc(void *old, size_t size);
char *mem_copy(const char *data, size_t size);
char *mem_strdup(const char *text);

/* Free *text and set it to a copy of value, or to NULL. */
void mem_set(char **text, const char *value);
__attribute__((format(printf, 1, 2))) char *mem_printf(const char *format, ...);

#endif
