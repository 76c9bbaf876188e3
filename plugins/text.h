/*
 * text.h - a string that grows. A failure is remembered until text_take(), so that
 * callers may append without checking each step.
 */
#ifndef PLUGIN_TEXT_H
#define PLUGIN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero is an empty text. */
struct text {
    char *data; /* ends with NUL once something was added */
    size_t length;
    size_t size;
    bool failed; /* out of memory; later additions are lost */
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t length);

/* Add at most limit bytes of the string's first line. */
void text_add_line(struct text *text, const char *string, size_t limit);

void text_add_char(struct text *text, char c);

/* Add the character as UTF-8; ignore control characters and numbers that are no character. */
void text_add_rune(struct text *text, unsigned rune);

/*
 * Add bytes of any origin as UTF-8. Bytes that are not UTF-8 count as Windows-1252. Of
 * control characters only '\n' and '\t' stay; a carriage return alone is a line's end.
 * Byte order marks and the control sequences of terminals are left out.
 */
void text_add_foreign(struct text *text, const char *bytes, size_t length);

/* Remove these characters from the end. */
void text_trim(struct text *text, const char *characters);

/* Return the string, which the caller frees, and clear the text. NULL: out of memory. */
char *text_take(struct text *text);

void text_finish(struct text *text);

/* Return the greatest length up to limit that does not cut a UTF-8 sequence. */
size_t text_cut(const char *string, size_t limit);

/* Return true if the string has only white space. */
bool is_blank(const char *string);

/* Return true if c is one of the characters of set; never for NUL. */
bool is_char(const char *set, char c);

/* Return true if the list has the word. A list is " like this ": blanks around each word. */
bool is_listed(const char *list, const char *word, size_t length);

#endif
