#include "base/json_fault.h"

#include "base/buf.h"
#include "base/log_fact.h"

#define SCAN_WANTS(s, what) ((s)->wants = (what), false)
#include "base/json_scan.h"

#include <string.h>

/* Bytes that are shown before the place, and from there on. */
#define BEFORE 32
#define AFTER  16

/* ---- where it is ---- */

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

/* ---- what to write instead ---- */

/* Return the byte this far from the place; 0 beyond the text. */
static char byte_at(const char *text, size_t length, size_t at, int offset)
{
    size_t index = at + (size_t)offset;

    return (offset < 0 && at < (size_t)-offset) || index >= length ? '\0' : text[index];
}

/* Return whether the text has this word at the place, in any case of ASCII letters. */
static bool has_word(const char *text, size_t length, size_t at, const char *word)
{
    for (size_t i = 0; word[i]; i++) {
        if (at + i >= length || (text[at + i] | 0x20) != word[i])
            return false;
    }
    return true;
}

/* Return whether a name is wanted after "1,5": the byte to blame is the comma. */
static bool has_decimal_comma(const char *text, size_t length, size_t at)
{
    return is_digit((unsigned char)byte_at(text, length, at, 0)) &&
           byte_at(text, length, at, -1) == ',' &&
           is_digit((unsigned char)byte_at(text, length, at, -2));
}

/* Advise on a place where a value is wanted. */
static const char *value_advice(const char *text, size_t length, size_t at)
{
    static const struct {
        const char *word, *advice;
    } advices[] = {
        {"nan", "NaN is not JSON; write null"},
        {"inf", "infinity is not JSON; write null"},
        {"-inf", "infinity is not JSON; write null"},
        {"-nan", "NaN is not JSON; write null"},
        {"(null)", "a NULL was printed with %s"},
        {"'", "strings are in double quotes"},
        {"none", "write null"},
        {"nil", "write null"},
        {"undefined", "write null"},
        {"true", "write true"},
        {"false", "write false"},
        {"null", "write null"},
        {"/", "JSON has no comments"},
        {"+", "a number begins with a digit or '-'"},
        {".", "write 0 before the decimal point"},
    };

    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
        if (has_word(text, length, at, advices[i].word))
            return advices[i].advice;
    }
    return NULL;
}

/* Return what to write instead, or NULL. */
static const char *advice(const char *text, size_t length, const struct json_fault *fault)
{
    char here = byte_at(text, length, fault->at, 0), before = byte_at(text, length, fault->at, -1);

    if (length == 0)
        return "write null for nothing";
    if (fault->at == length)
        return NULL;
    if (fault->at == 0 && length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return "take away the byte order mark";
    if ((here == ']' || here == '}') && before == ',')
        return "take away the ',' before it";
    if (before == '0' && is_digit((unsigned char)here))
        return "a number does not begin with 0";
    switch (fault->wants) {
    case JSON_WANTS_value:
    case JSON_WANTS_value_or_bracket:
        return value_advice(text, length, fault->at);
    case JSON_WANTS_digit:
        return before == '-' ? value_advice(text, length, fault->at - 1) : NULL;
    case JSON_WANTS_name:
    case JSON_WANTS_name_or_brace:
        return here == '\'' ? "names are in double quotes" : NULL;
    case JSON_WANTS_brace:
    case JSON_WANTS_bracket:
    case JSON_WANTS_nothing:
        return before == '"' && here != '"' ? "write \\\" for a quote inside a string" : NULL;
    case JSON_WANTS_escape:
    case JSON_WANTS_hex:
        return "write \\\\ for a backslash inside a string";
    case JSON_WANTS_no_control:
        return here == '\n'   ? "write \\n for a line break"
               : here == '\t' ? "write \\t for a tab"
                              : "write \\u and four hexadecimal digits for it";
    default:
        return NULL;
    }
}

/* ---- words ---- */

static void append_escaped(struct buf *buf, const char *text, size_t length)
{
    buf_commit(buf, log_escape(buf_reserve(buf, 4 * length), 4 * length, text, length));
}

/* Return whether the byte continues a character of UTF-8. */
static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static void append_around(struct buf *buf, const char *text, size_t length, size_t at)
{
    size_t from = at > BEFORE ? at - BEFORE : 0, to = length - at > AFTER ? at + AFTER : length;

    for (int i = 0; i < 3 && from > 0 && from < at && continues(text[from]); i++)
        from++;
    for (int i = 0; i < 3 && to < length && to > at + 1 && continues(text[to]); i++)
        to--;
    buf_puts(buf, from > 0 ? "…" : "");
    append_escaped(buf, text + from, at - from);
    buf_puts(buf, "▸");
    append_escaped(buf, text + at, to - at);
    buf_puts(buf, to < length ? "…" : "");
}

static void append_found(struct buf *buf, const char *text, size_t length, size_t at)
{
    unsigned char c = (unsigned char)byte_at(text, length, at, 0);

    if (at == length)
        buf_puts(buf, length == 0 ? "it is empty" : "it ends");
    else if (c > ' ' && c < 0x7f)
        buf_printf(buf, "found '%c'", c);
    else
        buf_printf(buf, "found byte 0x%02x", c);
}

static void append_utf8(struct buf *buf, const char *text, size_t length, size_t at)
{
    buf_printf(buf, "not UTF-8 at byte %zu: ", at);
    append_found(buf, text, length, at);
    buf_puts(buf, ": ");
    append_around(buf, text, length, at);
    buf_puts(buf, "; convert the text to UTF-8");
}

static const char *const wants_words[] = {
#define X(name, words) words,
    JSON_WANTS(X)
#undef X
};

void json_fault_tell(struct buf *buf, const char *text, size_t length)
{
    struct json_fault fault;
    const char *wants, *write;

    if (!json_find_fault(text, length, &fault))
        return;
    if (fault.wants == JSON_WANTS_utf8) {
        append_utf8(buf, text, length, fault.at);
        return;
    }
    wants = wants_words[fault.wants];
    write = advice(text, length, &fault);
    if (fault.wants == JSON_WANTS_name && has_decimal_comma(text, length, fault.at)) {
        fault.at--;
        wants = "'.', or a name in double quotes after it";
        write = "write '.' for a decimal point, whatever the locale";
    }
    buf_printf(buf, "not JSON at byte %zu: ", fault.at);
    append_found(buf, text, length, fault.at);
    buf_printf(buf, ", wanted %s", wants);
    if (length > 0) {
        buf_puts(buf, ": ");
        append_around(buf, text, length, fault.at);
    }
    if (write)
        buf_printf(buf, "; %s", write);
}

void utf8_fault_tell(struct buf *buf, const char *text, size_t length)
{
    struct json_fault fault;

    if (utf8_find_fault(text, length, &fault))
        append_utf8(buf, text, length, fault.at);
}

void foreign_tell(struct buf *buf, const char *text, size_t most)
{
    size_t length = strlen(text), shown = length > most ? most : length;

    while (shown < length && shown > 0 && continues(text[shown]))
        shown--;
    append_escaped(buf, text, shown);
    buf_puts(buf, shown < length ? "…" : "");
}
