/*
 * text.h - a string that grows. Errors are kept until text_take(), so that
 * callers may append without checking every step.
 */
#ifndef PLUGIN_TEXT_H
#define PLUGIN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* All zero is an empty text. */
struct text {
    char *data; /* ends with NUL once anything was added */
    size_t length;
    size_t size;
    bool failed; /* out of memory; what was added since is lost */
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const char *bytes, size_t length);
void text_add_char(struct text *text, char c);

/* Adds the character as UTF-8; nothing if it is none or a control character. */
void text_add_rune(struct text *text, unsigned rune);

/*
 * Adds bytes of any origin as UTF-8: those that are not are taken as Latin-1;
 * of control characters only '\n' and '\t' stay.
 */
void text_add_foreign(struct text *text, const char *bytes, size_t length);

/* Takes these characters away from the end. */
void text_trim(struct text *text, const char *characters);

/* The string, which the caller frees; NULL when out of memory. */
char *text_take(struct text *text);

void text_finish(struct text *text);

/* The longest length up to limit that does not cut a UTF-8 sequence. */
size_t text_cut(const char *string, size_t limit);

/* Nothing but white space? */
bool is_blank(const char *string);

/* Is the word in the list, " like this one ", with a blank on either side of each word? */
bool is_listed(const char *list, const char *word, size_t length);

#endif
