#include "base/json.h"

#include "base/buf.h"

#include <errno.h>
#include <string.h>

#define SCAN_WANTS(s, what) false
#include "base/json_scan.h"

ssize_t json_check(const char *text, size_t length)
{
    struct scanner s; /* is_object is set level by level */

    return scan_text(&s, text, length) ? (ssize_t)(length - s.white) : -EINVAL;
}

size_t json_compact(char *out, const char *text, size_t length)
{
    char *to = out;

    for (const char *p = text; p < text + length;) {
        size_t step = *p == '"' ? string_length(p) : 1;
        if (!is_white((unsigned char)*p)) {
            memmove(to, p, step);
            to += step;
        }
        p += step;
    }
    return (size_t)(to - out);
}

/* Return the letter of the byte's two-byte escape, or 0 if it has none. */
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

/* Return what the escape of this byte adds to its length. */
static size_t escape_adds(unsigned char c)
{
    return short_escape(c) ? 1 : c < 0x20 ? 5 : 0;
}

ssize_t json_escaped_length(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + length;
    size_t added = 0;

    while ((p = skip_plain(p, end)) < end) {
        size_t step = utf8_sequence(p, end);
        if (step == 0)
            return -EINVAL;
        added += escape_adds(*p);
        p += step;
    }
    return (ssize_t)(length + added);
}

size_t json_escaped_fit(const char *text, size_t length, size_t room)
{
    const unsigned char *start = (const unsigned char *)text, *p = start, *end = p + length;

    for (;;) {
        size_t run = (size_t)(skip_plain(p, end) - p), step;
        if (run > room || p + run == end)
            return (size_t)(p - start) + (run > room ? room : run);
        p += run;
        room -= run;
        step = utf8_sequence(p, end);
        if (step + escape_adds(*p) > room)
            return (size_t)(p - start);
        room -= step + escape_adds(*p);
        p += step;
    }
}

/* Write a byte that is not plain, escaped if need be. */
static char *escape_byte(char *to, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";

    if (c >= 0x80) {
        *to++ = (char)c;
    } else if (short_escape(c)) {
        *to++ = '\\';
        *to++ = short_escape(c);
    } else {
        memcpy(to, "\\u00", 4);
        to[4] = hex[c >> 4];
        to[5] = hex[c & 15];
        to += 6;
    }
    return to;
}

size_t json_escape(char *out, const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + length;
    char *to = out;

    for (;;) {
        size_t run = (size_t)(skip_plain(p, end) - p);
        memcpy(to, p, run);
        to += run;
        p += run;
        if (p == end)
            return (size_t)(to - out);
        to = escape_byte(to, *p++);
    }
}

void json_append_string(struct buf *buf, const char *text)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);

    buf_append(buf, "\"", 1);
    while (p < end) {
        size_t step = utf8_sequence(p, end);
        const char *piece = step ? (const char *)p : "?";
        size_t length = step ? step : 1;
        buf_commit(buf, json_escape(buf_reserve(buf, 6), piece, length));
        p += length;
    }
    buf_append(buf, "\"", 1);
}

void json_make_utf8(char *text)
{
    unsigned char *p = (unsigned char *)text, *end = p + strlen(text);

    while (p < end) {
        size_t step = utf8_sequence(p, end);
        if (step == 0)
            *p = '?';
        p += step ? step : 1;
    }
}

void json_append_member(struct buf *buf, const char *name, const char *value)
{
    if (value == NULL || !*value)
        return;
    buf_printf(buf, ",\"%s\":", name);
    json_append_string(buf, value);
}
