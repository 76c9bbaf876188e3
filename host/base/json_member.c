#include "base/json.h"

#include "base/buf.h"

#include <string.h>

#define SCAN_WANTS(s, what) false
#include "base/json_scan.h"

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

size_t json_unescape(char *out, const char *text, size_t length)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const unsigned char *p = (const unsigned char *)text, *end = p + length;
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
    size_t length = (size_t)(end - from) <= sizeof key
                        ? json_unescape(key, (const char *)from, (size_t)(end - from))
                        : SIZE_MAX;

    return length == strlen(name) && memcmp(key, name, length) == 0;
}

static void begin(struct scanner *s, const char *json, size_t length)
{
    s->at = (const unsigned char *)json;
    s->end = s->at + length;
    s->white = 0;
    s->depth = 0;
}

/* Go to the value of the outermost object's next member of this name; false if there is none. */
static bool next_value(struct scanner *s, enum expect *expect, const char *name)
{
    do {
        bool is_key_place = s->depth == 1 && in_object(s) && *expect != EXPECT_VALUE;
        const unsigned char *token;

        scan_white(s);
        token = s->at;
        if (s->at == s->end || !scan_token(s, expect))
            return false;
        if (is_key_place && *token == '"' &&
            is_key(token + 1, token + string_length((const char *)token) - 1, name)) {
            scan_white(s);
            return true;
        }
    } while (s->depth > 0);
    return false;
}

size_t json_value_length(const char *json, size_t length)
{
    enum expect expect = EXPECT_VALUE;
    struct scanner s;

    begin(&s, json, length);
    do {
        scan_white(&s);
        if (s.at == s.end || !scan_token(&s, &expect))
            return 0;
    } while (s.depth > 0);
    return length - (size_t)(s.end - s.at);
}

bool json_member_find(const char *json, size_t length, const char *name, const char **value,
                      size_t *value_length)
{
    enum expect expect = EXPECT_VALUE;
    const unsigned char *from;
    struct scanner s;

    begin(&s, json, length);
    if (!next_value(&s, &expect, name))
        return false;
    from = s.at;
    do {
        scan_white(&s);
        if (s.at == s.end || !scan_token(&s, &expect))
            return false;
    } while (s.depth > 1);
    *value = (const char *)from;
    *value_length = (size_t)(s.at - from);
    return true;
}

bool json_member_text(const char *json, size_t length, const char *name, struct buf *out)
{
    enum expect expect = EXPECT_VALUE;
    struct scanner s;

    begin(&s, json, length);
    while (next_value(&s, &expect, name)) {
        const unsigned char *token = s.at;
        char *to;

        if (s.at == s.end || *token != '"')
            continue;
        if (!scan_token(&s, &expect))
            return false;
        to = buf_reserve(out, (size_t)(s.at - token));
        buf_commit(out, json_unescape(to, (const char *)token + 1, (size_t)(s.at - token) - 2));
        return true;
    }
    return false;
}
