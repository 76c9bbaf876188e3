#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

static bool text_reserve(struct text *text, size_t more)
{
    size_t size = text->size ? text->size : 256;
    char *data;

    if (text->failed)
        return false;
    while (size - text->length <= more)
        size *= 2;
    if (size == text->size)
        return true;
    data = realloc(text->data, size);
    text->failed = data == NULL;
    if (data) {
        text->data = data;
        text->size = size;
    }
    return data != NULL;
}

void text_add_bytes(struct text *text, const char *bytes, size_t length)
{
    if (!text_reserve(text, length))
        return;
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_add_line(struct text *text, const char *string, size_t limit)
{
    size_t length = text_cut(string, limit);
    const char *end = memchr(string, '\n', length);

    text_add_bytes(text, string, end ? (size_t)(end - string) : length);
}

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

/* Return true for the controls U+0080 to U+009F, some of which terminals obey, and the byte order
 * mark. */
static bool is_dropped(unsigned rune)
{
    return (rune >= 0x80 && rune < 0xa0) || rune == 0xfeff;
}

/* Return the character of a byte in Windows-1252, which extends Latin-1. */
static unsigned windows_rune(unsigned char byte)
{
    static const uint16_t runes[32] = {
        0x20ac, 0,      0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
        0x2039, 0x152,  0,      0x17d,  0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0,      0x17e,  0x178,
    };

    return byte >= 0x80 && byte < 0xa0 ? runes[byte - 0x80] : byte;
}

void text_add_rune(struct text *text, unsigned rune)
{
    uint8_t bytes[6];
    int length = rune < 0x20 || rune == 0x7f || is_dropped(rune)
                     ? 0
                     : u8_uctomb(bytes, (ucs4_t)rune, sizeof(bytes));

    if (length > 0)
        text_add_bytes(text, (const char *)bytes, (size_t)length);
}

/* Return the length of a control sequence of terminals, such as "ESC[1m", or 0. */
static size_t sequence_length(const char *bytes, const char *end)
{
    const char *at = bytes + 2;

    if (end - bytes < 3 || bytes[0] != '\x1b' || bytes[1] != '[')
        return 0;
    while (at < end && *at >= ' ' && *at <= '?')
        at++;
    return at < end && *at >= '@' && *at <= '~' ? (size_t)(at + 1 - bytes) : 0;
}

/* Add a byte below ' ', or DEL. Return how many bytes were read. */
static size_t text_add_control(struct text *text, const char *bytes, const char *end)
{
    size_t length = sequence_length(bytes, end);
    bool breaks = *bytes == '\r' && (end - bytes == 1 || bytes[1] != '\n');

    if (length > 0)
        return length;
    if (*bytes != '\r' || breaks)
        text_add_char(text, breaks ? '\n' : *bytes == '\n' || *bytes == '\t' ? *bytes : ' ');
    return 1;
}

void text_add_foreign(struct text *text, const char *bytes, size_t length)
{
    const char *end = bytes + length;

    while (bytes < end) {
        const char *plain = bytes;
        ucs4_t rune;
        int used;
        while (bytes < end && *bytes >= ' ' && *bytes < 0x7f)
            bytes++;
        text_add_bytes(text, plain, (size_t)(bytes - plain));
        if (bytes == end)
            return;
        if ((unsigned char)*bytes < 0x80) {
            bytes += text_add_control(text, bytes, end);
            continue;
        }
        used = u8_mbtoucr(&rune, (const uint8_t *)bytes, (size_t)(end - bytes));
        if (used > 0)
            text_add_rune(text, rune);
        else
            text_add_rune(text, windows_rune((unsigned char)*bytes));
        bytes += used > 0 ? used : 1;
    }
}

void text_trim(struct text *text, const char *characters)
{
    while (text->length > 0 && is_char(characters, text->data[text->length - 1]))
        text->data[--text->length] = '\0';
}

char *text_take(struct text *text)
{
    char *data;

    text_add(text, "");
    if (text->failed)
        text_finish(text);
    data = text->data;
    memset(text, 0, sizeof(*text));
    return data;
}

void text_finish(struct text *text)
{
    free(text->data);
    memset(text, 0, sizeof(*text));
}

size_t text_cut(const char *string, size_t limit)
{
    size_t length = strnlen(string, limit);

    while (length > 0 && ((unsigned char)string[length] & 0xc0) == 0x80)
        length--;
    return length;
}

bool is_blank(const char *string)
{
    return string[strspn(string, " \t\r\n")] == '\0';
}

bool is_char(const char *set, char c)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool is_listed(const char *list, const char *word, size_t length)
{
    char blanks[32] = " ";

    if (length == 0 || length > sizeof(blanks) - 3)
        return false;
    memcpy(blanks + 1, word, length);
    blanks[1 + length] = ' ';
    return strstr(list, blanks) != NULL;
}
