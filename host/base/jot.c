#include "base/jot.h"

#include "base/buf.h"

#include <string.h>

void jot_bytes(struct jot *jot, const char *bytes, size_t length)
{
    size_t room = sizeof jot->text - 1 - jot->length;

    if (length > room)
        length = room;
    memcpy(jot->text + jot->length, bytes, length);
    jot->length += length;
    jot->text[jot->length] = '\0';
}

void jot_text(struct jot *jot, const char *text)
{
    jot_bytes(jot, text, strlen(text));
}

void jot_number(struct jot *jot, int64_t number)
{
    char digits[BUF_DIGITS_MAX];
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    if (number < 0)
        jot_text(jot, "-");
    jot_bytes(jot, digits, (size_t)(buf_digits(digits, size) - digits));
}

void jot_hex(struct jot *jot, uintptr_t number)
{
    char digits[2 * sizeof number];
    size_t at = sizeof digits;

    do {
        digits[--at] = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number > 0);
    jot_text(jot, "0x");
    jot_bytes(jot, digits + at, sizeof digits - at);
}
