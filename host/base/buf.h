/*
 * A growable run of bytes, written at its end and read at its start. It is a
 * plain struct: zeroed is empty. Its owner bounds it.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUF_DIGITS_MAX 20

struct buf {
    char *base;
    size_t start; /* of what is unread */
    size_t end;
    size_t capacity;
};

static inline size_t buf_length(const struct buf *buf)
{
    return buf->end - buf->start;
}

/* Never NULL. */
static inline const char *buf_data(const struct buf *buf)
{
    return buf->base ? buf->base + buf->start : "";
}

/* Return room for length bytes at the end, never NULL; buf_commit() then says how many of them were
 * used. */
char *buf_reserve(struct buf *buf, size_t length);
void buf_commit(struct buf *buf, size_t length);

/* Make room for length bytes at the end, exactly in an empty buffer; false if there is no memory.
 */
bool buf_try_reserve(struct buf *buf, size_t length);

void buf_append(struct buf *buf, const void *data, size_t length);
void buf_puts(struct buf *buf, const char *text);

/* Append the number in decimal. */
void buf_number(struct buf *buf, uint64_t number);

/* Write the number in decimal, at most BUF_DIGITS_MAX bytes; return the place after it. */
char *buf_digits(char *to, uint64_t number);

__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *format, ...);
__attribute__((format(printf, 2, 0))) void buf_vprintf(struct buf *buf, const char *format,
                                                       va_list args);

/* Drop bytes at the start. */
void buf_consume(struct buf *buf, size_t length);

void buf_swap(struct buf *a, struct buf *b);

/* Return the content with a NUL after it, for the caller to free; the buffer is empty then. */
char *buf_steal(struct buf *buf);

void buf_finish(struct buf *buf);

#endif
