/*
 * Allocation that succeeds or ends the process: every queue is bounded, so a
 * failure leaves nothing sensible to do. Where there is something, which is where
 * clients make the front ask for much at a time, mem_try_realloc() may fail.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Return zeroed memory. */
void *mem_alloc(size_t size);
void *mem_realloc(void *old, size_t size);

/* Memory that a large allocation, which may fail, leaves for those that must not. */
#define MEM_SPARE (4u * 1024 * 1024)

/* NULL, and old as it was, if there is no memory. */
void *mem_try_realloc(void *old, size_t size);

/* Return true if this many bytes could be had now. */
bool mem_has(size_t size);

char *mem_copy(const char *data, size_t size);
char *mem_strdup(const char *text);

/* Free *text and set it to a copy of value, or to NULL. */
void mem_set(char **text, const char *value);
__attribute__((format(printf, 1, 2))) char *mem_printf(const char *format, ...);

#endif
