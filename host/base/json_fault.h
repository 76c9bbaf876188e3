/*
 * Why bytes are not JSON, or not UTF-8, in words for whoever wrote them: the place, what
 * stands there, what may, the bytes around the place, and what to write instead if that
 * can be told:
 *
 *     not JSON at byte 11: found 'B', wanted ',' or '}': {"name":"O"▸Brien"}; write \" for a
 *     quote inside a string
 *     not UTF-8 at byte 3: found byte 0xe9: caf▸\xe9; convert the text to UTF-8
 *
 * ▸ stands before the byte that is named; … stands for bytes that are left out. Foreign
 * bytes are escaped as in the log.
 */
#ifndef BASE_JSON_FAULT_H
#define BASE_JSON_FAULT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* What may stand where a text stops being valid, in words for people. */
#define JSON_WANTS(X)                                           \
    X(utf8, "UTF-8")                                            \
    X(value, "a value")                                         \
    X(value_or_bracket, "a value or ']'")                       \
    X(name, "a name in double quotes")                          \
    X(name_or_brace, "a name in double quotes or '}'")          \
    X(colon, "':'")                                             \
    X(brace, "',' or '}'")                                      \
    X(bracket, "',' or ']'")                                    \
    X(digit, "a digit")                                         \
    X(escape, "one of \"\\/bfnrtu after the backslash")         \
    X(hex, "four hexadecimal digits after \\u")                 \
    X(no_control, "no control character inside a string")       \
    X(quote, "the '\"' that ends the string")                   \
    X(fewer_levels, "at most 512 levels of arrays and objects") \
    X(nothing, "nothing after the value")

enum json_wants {
#define X(name, words) JSON_WANTS_##name,
    JSON_WANTS(X)
#undef X
};

/* Where json_check() or json_escaped_length() stopped. */
struct json_fault {
    size_t at; /* the first byte that may not stand there; the length if the text ends early */
    enum json_wants wants;
};

/*
 * Find out why a text was refused: the first for JSON, the second for text that must be UTF-8.
 * Return false if the text is valid.
 */
bool json_find_fault(const char *text, size_t length, struct json_fault *fault);
bool utf8_find_fault(const char *text, size_t length, struct json_fault *fault);

/* Append why json_check() refuses the text; nothing if it does not. */
void json_fault_tell(struct buf *buf, const char *text, size_t length);

/* Append why the text is not UTF-8; nothing if it is. */
void utf8_fault_tell(struct buf *buf, const char *text, size_t length);

/* Append foreign text, escaped; of a longer one this many bytes and …. */
void foreign_tell(struct buf *buf, const char *text, size_t most);

#endif
