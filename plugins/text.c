#include "text.h"

#include <stdlib.h>
#include <string.h>

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

void text_add_char(struct text *text, char c)
{
    text_add_bytes(text, &c, 1);
}

void text_add_rune(struct text *text, unsigned rune)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t length = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    char bytes[4];

    if (rune < 0x20 || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return;
    for (size_t i = length; i-- > 1; rune >>= 6)
        bytes[i] = (char)(0x80 | (rune & 0x3f));
    bytes[0] = (char)(lead[length] | rune);
    text_add_bytes(text, bytes, length);
}

/* Return the length of the UTF-8 sequence, or 0 if it is not valid. limit bytes are readable. */
static size_t sequence_length(const char *bytes, size_t limit)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t length = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;

    if (b[0] > 0xf4 || length > limit)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
        (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
        return 0;
    return length;
}

void text_add_foreign(struct text *text, const char *bytes, size_t length)
{
    const char *end = bytes + length;

    while (bytes < end) {
        const char *plain = bytes;
        size_t sequence;
        while (bytes < end && *bytes >= ' ' && *bytes < 0x7f)
            bytes++;
        text_add_bytes(text, plain, (size_t)(bytes - plain));
        if (bytes == end)
            return;
        sequence = sequence_length(bytes, (size_t)(end - bytes));
        if (sequence == 0)
            text_add_rune(text, (unsigned char)*bytes);
        else if (sequence > 1 || *bytes == '\n' || *bytes == '\t')
            text_add_bytes(text, bytes, sequence);
        else if (*bytes != '\r')
            text_add_char(text, ' ');
        bytes += sequence ? sequence : 1;
    }
}

void text_trim(struct text *text, const char *characters)
{
    while (text->length > 0 && strchr(characters, text->data[text->length - 1]))
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

bool is_listed(const char *list, const char *word, size_t length)
{
    const char *at = list;

    for (; length > 0 && (at = strchr(at, ' ')) != NULL; at++)
        if (strncmp(at + 1, word, length) == 0 && at[1 + length] == ' ')
            return true;
    return false;
}
