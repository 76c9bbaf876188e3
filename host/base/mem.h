/*
 * Memory that is there or ends the process: every queue here is bounded, so
 * an allocation that fails leaves nothing sensible to do.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Zeroed. */
void *mem_alloc(size_t size);
void *mem_realloc(void *old, size_t size);
char *mem_copy(const char *data, size_t size);
char *mem_strdup(const char *text);

/* Replaces a text, whose memory is freed, by a copy of another; NULL by none. */
void mem_set(char **text, const char *value);
__attribute__((format(printf, 1, 2))) char *mem_printf(const char *format, ...);

#endif
