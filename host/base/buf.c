#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A buffer that becomes empty frees its memory if it has grown beyond this many bytes. */
#define KEEP_CAPACITY (256 * 1024)

static void buf_rewind(struct buf *buf)
{
    memmove(buf->base, buf->base + buf->start, buf_length(buf));
    buf->end -= buf->start;
    buf->start = 0;
}

char *buf_reserve(struct buf *buf, size_t length)
{
    if (buf->capacity - buf->end < length && buf->start > buf->capacity / 2)
        buf_rewind(buf);
    if (buf->base == NULL || buf->capacity - buf->end < length) {
        size_t capacity = buf->capacity ? buf->capacity * 2 : 256;
        while (capacity - buf->end < length)
            capacity *= 2;
        buf->base = mem_realloc(buf->base, capacity);
        buf->capacity = capacity;
    }
    return buf->base + buf->end;
}

bool buf_try_reserve(struct buf *buf, size_t length)
{
    size_t room = buf->capacity - buf->end, capacity = buf->end + length;
    char *base;

    if (room >= length)
        return true;
    if (capacity < 2 * buf->capacity)
        capacity = 2 * buf->capacity;
    base = mem_try_realloc(buf->base, capacity);
    if (base == NULL)
        return false;
    buf->base = base;
    buf->capacity = capacity;
    return true;
}

void buf_commit(struct buf *buf, size_t length)
{
    assert(length <= buf->capacity - buf->end);
    buf->end += length;
}

void buf_append(struct buf *buf, const void *data, size_t length)
{
    if (length == 0)
        return;
    memcpy(buf_reserve(buf, length), data, length);
    buf->end += length;
}

void buf_puts(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t number)
{
    for (unsigned count = 1;; count += 4) {
        if (number < 10)
            return count;
        if (number < 100)
            return count + 1;
        if (number < 1000)
            return count + 2;
        if (number < 10000)
            return count + 3;
        number /= 10000;
    }
}

char *buf_digits(char *to, uint64_t number)
{
    char *end = to + count_digits(number), *at = end;

    while (number >= 10) { /* two at a time, since divisions take long */
        at -= 2;
        memcpy(at, pairs + number % 100 * 2, 2);
        number /= 100;
    }
    if (at > to)
        *to = (char)('0' + number);
    return end;
}

void buf_number(struct buf *buf, uint64_t number)
{
    char *to = buf_reserve(buf, BUF_DIGITS_MAX);

    buf_commit(buf, (size_t)(buf_digits(to, number) - to));
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    int length;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(length >= 0);
    vsnprintf(buf_reserve(buf, (size_t)length + 1), (size_t)length + 1, format, args);
    buf->end += (size_t)length;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_consume(struct buf *buf, size_t length)
{
    assert(length <= buf_length(buf));
    buf->start += length;
    if (buf->start < buf->end)
        return;
    buf->start = buf->end = 0;
    if (buf->capacity > KEEP_CAPACITY)
        buf_finish(buf);
}

void buf_swap(struct buf *a, struct buf *b)
{
    struct buf held = *a;
    *a = *b;
    *b = held;
}

char *buf_steal(struct buf *buf)
{
    char *text;

    buf_append(buf, "", 1);
    if (buf->start > 0)
        buf_rewind(buf);
    text = buf->base;
    *buf = (struct buf){0};
    return text;
}

void buf_finish(struct buf *buf)
{
    free(buf->base);
    *buf = (struct buf){0};
}
