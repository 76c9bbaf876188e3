#include "base/json.h"

#include "base/buf.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
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
    enum json_wants wants; /* after a refusal: what may stand at `at` */
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

/* Note what may stand here; return false. */
__attribute__((cold, noinline)) static bool scan_wants(struct scanner *s, enum json_wants wants)
{
    s->wants = wants;
    return false;
}

static bool scan_hex4(struct scanner *s)
{
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end || !*s->at || !strchr("0123456789abcdefABCDEF", *s->at))
            return scan_wants(s, JSON_WANTS_hex);
    }
    return true;
}

/* Scan the rest of an escape, after its backslash. */
static bool scan_escape(struct scanner *s)
{
    if (s->at == s->end || !*s->at || !strchr("\"\\/bfnrtu", *s->at))
        return scan_wants(s, JSON_WANTS_escape);
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
        return scan_wants(s, JSON_WANTS_name);
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
            return scan_wants(s, JSON_WANTS_no_control);
        step = utf8_sequence(s->at, s->end);
        if (step == 0)
            return scan_wants(s, JSON_WANTS_utf8);
        s->at += step;
    }
    return scan_wants(s, JSON_WANTS_quote);
}

static bool scan_digits(struct scanner *s)
{
    const unsigned char *p = s->at, *end = s->end;
    bool any = p < end && is_digit(*p);

    while (p < end && is_digit(*p))
        p++;
    s->at = p;
    return any || scan_wants(s, JSON_WANTS_digit);
}

static bool scan_number(struct scanner *s)
{
    if (*s->at == '-')
        s->at++;
    else if (!is_digit(*s->at))
        return scan_wants(s, JSON_WANTS_value);
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
        return scan_wants(s, JSON_WANTS_value);
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
        return scan_wants(s, JSON_WANTS_fewer_levels);
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
        return scan_wants(s, JSON_WANTS_colon);
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
        return scan_wants(s, in_object(s) ? JSON_WANTS_brace : JSON_WANTS_bracket);
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

/* The text ends where more is expected. */
static bool scan_wants_more(struct scanner *s, enum expect expect)
{
    static const enum json_wants more[] = {
        [EXPECT_VALUE] = JSON_WANTS_value,
        [EXPECT_VALUE_OR_CLOSE] = JSON_WANTS_value_or_bracket,
        [EXPECT_KEY] = JSON_WANTS_name,
        [EXPECT_KEY_OR_CLOSE] = JSON_WANTS_name_or_brace,
    };

    if (expect == EXPECT_COMMA_OR_CLOSE)
        return scan_wants(s, in_object(s) ? JSON_WANTS_brace : JSON_WANTS_bracket);
    return scan_wants(s, more[expect]);
}

/* Scan one value and white space; return false at the first byte that may not stand there. */
static bool scan_text(struct scanner *s, const char *text, size_t length)
{
    enum expect expect = EXPECT_VALUE;

    s->at = (const unsigned char *)text;
    s->end = s->at + length;
    s->white = 0;
    s->depth = 0;
    do {
        scan_white(s);
        if (s->at == s->end)
            return scan_wants_more(s, expect);
        if (!scan_token(s, &expect))
            return false;
    } while (s->depth > 0 || expect != EXPECT_COMMA_OR_CLOSE);
    scan_white(s);
    return s->at == s->end || scan_wants(s, JSON_WANTS_nothing);
}

ssize_t json_check(const char *text, size_t length)
{
    struct scanner s; /* is_object is set level by level */

    return scan_text(&s, text, length) ? (ssize_t)(length - s.white) : -EINVAL;
}

bool json_find_fault(const char *text, size_t length, struct json_fault *fault)
{
    struct scanner s;

    if (scan_text(&s, text, length))
        return false;
    *fault = (struct json_fault){.at = (size_t)((const char *)s.at - text), .wants = s.wants};
    return true;
}

bool utf8_find_fault(const char *text, size_t length, struct json_fault *fault)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + length;
    size_t step;

    while (p < end && (step = utf8_sequence(p, end)))
        p += step;
    *fault = (struct json_fault){.at = (size_t)((const char *)p - text), .wants = JSON_WANTS_utf8};
    return p < end;
}

/* Return the length of the string token at text. */
static size_t string_length(const char *text)
{
    const char *p = text + 1;

    while (*p != '"')
        p += *p == '\\' ? 2 : 1;
    return (size_t)(p - text) + 1;
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

static unsigned hex4(const unsigned char *digits)
{
    unsigned value = 0;

    for (int i = 0; i < 4; i++)
        value = value * 16 + (is_digit(digits[i]) ? digits[i] - 48u : (digits[i] | 32u) - 87u);
    return value;
}

/* Write the character in UTF-8; return the place after it. */
static char *put_character(char *to, unsigned code)
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(length == 1 ? code : (0xf00u >> length & 0xff) | code);
    return to + length;
}

/* Write what stands between the quotes of a scanned string; return its length, which is not more
 * than it had. */
static size_t unescape(char *out, const unsigned char *p, const unsigned char *end)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char *to = out;

    while (p < end) {
        const char *letter;
        unsigned code;

        if (*p != '\\') {
            *to++ = (char)*p++;
            continue;
        }
        if (p[1] != 'u') {
            letter = strchr(letters, p[1]);
            *to++ = letter ? meant[letter - letters] : (char)p[1];
            p += 2;
            continue;
        }
        code = hex4(p + 2);
        p += 6;
        if (code >= 0xd800 && code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
            hex4(p + 2) - 0xdc00 < 0x400) {
            code = 0x10000 + ((code - 0xd800) << 10) + (hex4(p + 2) - 0xdc00);
            p += 6;
        }
        to = put_character(to, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
    }
    return (size_t)(to - out);
}

static bool is_key(const unsigned char *from, const unsigned char *end, const char *name)
{
    char key[6 * JSON_NAME_MAX];
    size_t length = (size_t)(end - from) <= sizeof key ? unescape(key, from, end) : SIZE_MAX;

    return length == strlen(name) && memcmp(key, name, length) == 0;
}

bool json_member_text(const char *json, size_t length, const char *name, struct buf *out)
{
    enum expect expect = EXPECT_VALUE;
    bool is_wanted = false;
    struct scanner s;

    s.at = (const unsigned char *)json;
    s.end = s.at + length;
    s.white = 0;
    s.depth = 0;
    do {
        bool is_member = s.depth == 1 && in_object(&s);
        enum expect expected = expect;
        const unsigned char *token;

        scan_white(&s);
        token = s.at;
        if (s.at == s.end || !scan_token(&s, &expect))
            return false;
        if (!is_member || *token != '"') {
            is_wanted &= !is_member;
        } else if (expected != EXPECT_VALUE) {
            size_t key = string_length((const char *)token);
            is_wanted = is_key(token + 1, token + key - 1, name);
        } else if (is_wanted) {
            char *to = buf_reserve(out, (size_t)(s.at - token));
            buf_commit(out, unescape(to, token + 1, s.at - 1));
            return true;
        }
    } while (s.depth > 0);
    return false;
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

void json_append_member(struct buf *buf, const char *name, const char *value)
{
    if (value == NULL || !*value)
        return;
    buf_printf(buf, ",\"%s\":", name);
    json_append_string(buf, value);
}
