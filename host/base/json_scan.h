/*
 * The scanner of JSON, which each file that scans compiles for itself, with its own
 * SCAN_WANTS(s, what): false, where `what` may stand where the scanner stopped. json.c scans
 * each event, so nobody else's use of the scanner may keep the compiler from making one
 * function of it there; json_fault.c scans once more, and keeps why a text was refused.
 */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/json.h"
#include "base/json_fault.h"

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The checker is a loop over tokens with one of five expectations, and a flag
 * a level that says whether the level is an object. It never recurses, so
 * that hostile nesting costs no stack.
 */
enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_CLOSE,
    EXPECT_KEY,
    EXPECT_KEY_OR_CLOSE,
    EXPECT_COMMA_OR_CLOSE
};

struct scanner {
    const unsigned char *at;
    const unsigned char *end;
    size_t white;          /* bytes of white space between tokens so far */
    enum json_wants wants; /* if SCAN_WANTS() keeps it: what may stand at `at` */
    unsigned depth;
    bool is_object[JSON_DEPTH_MAX]; /* of each level up to depth */
};

/* Return the length of the UTF-8 sequence (RFC 3629) at p, or 0 if there is none. */
static size_t utf8_sequence(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2 || (p[1] & 0xc0) != 0x80)
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if (left < 3 || (p[2] & 0xc0) != 0x80)
        return 0;
    if (p[0] < 0xf0)
        return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
    if (left < 4 || (p[3] & 0xc0) != 0x80)
        return 0;
    return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

static bool is_white(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes that a string may hold without an escape. */
static const bool plain[256] = {
    [0x20 ... 0x21] = true, [0x23 ... 0x5b] = true, [0x5d ... 0x7f] = true};

static inline void scan_white(struct scanner *s)
{
    while (s->at < s->end && *s->at <= ' ' && is_white(*s->at)) {
        s->at++;
        s->white++;
    }
}

static bool scan_hex4(struct scanner *s)
{
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end || !*s->at || !strchr("0123456789abcdefABCDEF", *s->at))
            return SCAN_WANTS(s, JSON_WANTS_hex);
    }
    return true;
}

/* Scan the rest of an escape, after its backslash. */
static bool scan_escape(struct scanner *s)
{
    if (s->at == s->end || !*s->at || !strchr("\"\\/bfnrtu", *s->at))
        return SCAN_WANTS(s, JSON_WANTS_escape);
    return *s->at++ != 'u' || scan_hex4(s);
}

/* Return 0 if all eight bytes are plain; else the lowest bit set is the high bit of the first that
 * is not. */
static uint64_t find_not_plain(uint64_t bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t quote = bytes ^ ones * '"', backslash = bytes ^ ones * '\\';

    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
            ((bytes - ones * 0x20) & ~bytes) | bytes) &
           ones * 0x80;
}

/* Return the first byte that is not plain, looking at eight at a time. */
static inline const unsigned char *skip_plain(const unsigned char *p, const unsigned char *end)
{
    uint64_t bytes;

    while (end - p >= 8) {
        memcpy(&bytes, p, 8);
        bytes = find_not_plain(le64toh(bytes));
        if (bytes)
            return p + __builtin_ctzll(bytes) / 8;
        p += 8;
    }
    while (p < end && plain[*p])
        p++;
    return p;
}

static bool scan_string(struct scanner *s)
{
    if (s->at == s->end || *s->at != '"')
        return SCAN_WANTS(s, JSON_WANTS_name);
    s->at++;
    while ((s->at = skip_plain(s->at, s->end)) < s->end) {
        unsigned char c = *s->at;
        size_t step;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            s->at++;
            if (!scan_escape(s))
                return false;
            continue;
        }
        if (c < 0x20)
            return SCAN_WANTS(s, JSON_WANTS_no_control);
        step = utf8_sequence(s->at, s->end);
        if (step == 0)
            return SCAN_WANTS(s, JSON_WANTS_utf8);
        s->at += step;
    }
    return SCAN_WANTS(s, JSON_WANTS_quote);
}

static bool scan_digits(struct scanner *s)
{
    const unsigned char *p = s->at, *end = s->end;
    bool any = p < end && is_digit(*p);

    while (p < end && is_digit(*p))
        p++;
    s->at = p;
    return any || SCAN_WANTS(s, JSON_WANTS_digit);
}

static bool scan_number(struct scanner *s)
{
    if (*s->at == '-')
        s->at++;
    else if (!is_digit(*s->at))
        return SCAN_WANTS(s, JSON_WANTS_value);
    if (s->at < s->end && *s->at == '0')
        s->at++;
    else if (!scan_digits(s))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        return scan_digits(s);
    }
    return true;
}

static bool scan_word(struct scanner *s, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(s->end - s->at) < length || memcmp(s->at, word, length) != 0)
        return SCAN_WANTS(s, JSON_WANTS_value);
    s->at += length;
    return true;
}

static bool scan_scalar(struct scanner *s)
{
    switch (*s->at) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

static bool in_object(const struct scanner *s)
{
    return s->is_object[s->depth - 1];
}

static bool scan_open(struct scanner *s, bool object)
{
    if (s->depth == JSON_DEPTH_MAX)
        return SCAN_WANTS(s, JSON_WANTS_fewer_levels);
    s->is_object[s->depth++] = object;
    s->at++;
    return true;
}

/* Scan a key and its colon. */
static bool scan_key(struct scanner *s)
{
    if (!scan_string(s))
        return false;
    scan_white(s);
    if (s->at == s->end || *s->at != ':')
        return SCAN_WANTS(s, JSON_WANTS_colon);
    s->at++;
    return true;
}

/* Scan a comma or the end of the level; set what must follow. */
static bool scan_after(struct scanner *s, enum expect *expect)
{
    unsigned char c = *s->at;

    if (c == ',')
        *expect = in_object(s) ? EXPECT_KEY : EXPECT_VALUE;
    else if (c == (in_object(s) ? '}' : ']'))
        s->depth--;
    else
        return SCAN_WANTS(s, in_object(s) ? JSON_WANTS_brace : JSON_WANTS_bracket);
    s->at++;
    return true;
}

/* Scan one token; return false if it may not stand here. */
static bool scan_token(struct scanner *s, enum expect *expect)
{
    unsigned char c = *s->at;
    bool may_close = *expect == EXPECT_VALUE_OR_CLOSE || *expect == EXPECT_KEY_OR_CLOSE;

    if (*expect == EXPECT_COMMA_OR_CLOSE)
        return scan_after(s, expect);
    if (may_close && c == (in_object(s) ? '}' : ']')) {
        *expect = EXPECT_COMMA_OR_CLOSE;
        s->at++;
        s->depth--;
        return true;
    }
    if (*expect == EXPECT_KEY || *expect == EXPECT_KEY_OR_CLOSE) {
        *expect = EXPECT_VALUE;
        return scan_key(s);
    }
    if (c == '{' || c == '[') {
        *expect = c == '{' ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
        return scan_open(s, c == '{');
    }
    *expect = EXPECT_COMMA_OR_CLOSE;
    return scan_scalar(s);
}

/* Return what is expected where the text ends. */
static inline enum json_wants scan_more(const struct scanner *s, enum expect expect)
{
    static const enum json_wants more[] = {
        [EXPECT_VALUE] = JSON_WANTS_value,
        [EXPECT_VALUE_OR_CLOSE] = JSON_WANTS_value_or_bracket,
        [EXPECT_KEY] = JSON_WANTS_name,
        [EXPECT_KEY_OR_CLOSE] = JSON_WANTS_name_or_brace,
    };

    if (expect == EXPECT_COMMA_OR_CLOSE)
        return in_object(s) ? JSON_WANTS_brace : JSON_WANTS_bracket;
    return more[expect];
}

/* Scan one value and white space; return false at the first byte that may not stand there. */
static inline bool scan_text(struct scanner *s, const char *text, size_t length)
{
    enum expect expect = EXPECT_VALUE;

    s->at = (const unsigned char *)text;
    s->end = s->at + length;
    s->white = 0;
    s->depth = 0;
    do {
        scan_white(s);
        if (s->at == s->end)
            return SCAN_WANTS(s, scan_more(s, expect));
        if (!scan_token(s, &expect))
            return false;
    } while (s->depth > 0 || expect != EXPECT_COMMA_OR_CLOSE);
    scan_white(s);
    return s->at == s->end || SCAN_WANTS(s, JSON_WANTS_nothing);
}

/* Return the length of the string token at text. */
static inline size_t string_length(const char *text)
{
    const char *p = text + 1;

    while (*p != '"')
        p += *p == '\\' ? 2 : 1;
    return (size_t)(p - text) + 1;
}

#endif
