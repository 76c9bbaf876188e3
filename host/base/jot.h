/*
 * A short text that is written without allocation, locks or the C library's formats:
 * for signal handlers. What does not fit is left out; the text is always terminated.
 */
#ifndef BASE_JOT_H
#define BASE_JOT_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed is empty. */
struct jot {
    char text[512];
    size_t length;
};

void jot_text(struct jot *jot, const char *text);
void jot_bytes(struct jot *jot, const char *bytes, size_t length);
void jot_number(struct jot *jot, int64_t number);
void jot_hex(struct jot *jot, uintptr_t number); /* 0x… */

#endif
