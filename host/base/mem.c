#include "base/mem.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Less than this is not large. */
#define LARGE (64u * 1024)

static void *present(void *memory)
{
    if (memory == NULL)
        log_fatal("out of memory");
    return memory;
}

void *mem_alloc(size_t size)
{
    return present(calloc(1, size));
}

void *mem_realloc(void *old, size_t size)
{
    return present(realloc(old, size));
}

/* malloc() would keep what it was asked for, and take its size for the usual one. */
bool mem_has(size_t size)
{
    void *probe = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return probe != MAP_FAILED && munmap(probe, size) == 0;
}

void *mem_try_realloc(void *old, size_t size)
{
    if (size >= LARGE && !mem_has(size + MEM_SPARE))
        return NULL;
    return realloc(old, size);
}

char *mem_copy(const char *data, size_t size)
{
    return memcpy(mem_alloc(size + 1), data, size);
}

char *mem_strdup(const char *text)
{
    return present(strdup(text));
}

void mem_set(char **text, const char *value)
{
    char *copy = value ? mem_strdup(value) : NULL;

    free(*text);
    *text = copy;
}

char *mem_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return present(text);
}
