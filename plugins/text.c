#include "text.h"

#include <stdlib.h>
#include <string.h>

static bool text_reserve(struct text *text, size_t more)
{
    size_t size = text->size ? text->size : 256;
    char *data;

    if (text->failed)
        return false;
    if (more < text->size - text->length)
        return true;
    while (size - text->length <= more)
        size *= 2;
    data = realloc(text->data, size);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->size = size;
    return true;
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
    char bytes[4];
    size_t length = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    if (rune == 0 || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return;
    for (size_t i = length; i-- > 1; rune >>= 6)
        bytes[i] = (char)(0x80 | (rune & 0x3f));
    bytes[0] = (char)(lead[length] | rune);
    text_add_bytes(text, bytes, length);
}

char *text_take(struct text *text)
{
    char *data;

    text_add_bytes(text, "", 0);
    if (text->failed) {
        text_finish(text);
        return NULL;
    }
    data = text->data;
    memset(text, 0, sizeof(*text));
    return data;
}

void text_finish(struct text *text)
{
    free(text->data);
    memset(text, 0, sizeof(*text));
}

size_t text_sequence(const char *bytes, size_t limit)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t length = limit == 0 ? 0 : b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : 3;

    if (length == 3 && b[0] >= 0xf0)
        length = b[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > limit)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
        (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
        return 0;
    return length;
}

size_t text_cut(const char *string, size_t limit)
{
    size_t length = strnlen(string, limit + 1);

    if (length <= limit)
        return length;
    length = limit;
    while (length > 0 && ((unsigned char)string[length] & 0xc0) == 0x80)
        length--;
    return length;
}
