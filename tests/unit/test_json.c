/* The checker is compared with tables of documents, and with a second checker of another design,
 * which descends by recursion and decodes code points. */
#define AGENT_NO_SHORT_NAMES

#include "../case.h"
#include "base/json.h"
#include "base/json_fault.h"

#include "base/buf.h"

#include <agent_json.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A string literal and its length, with inner NUL bytes. */
#define TEXT(literal)                \
    {                                \
        literal, sizeof(literal) - 1 \
    }

struct text {
    const char *bytes;
    size_t length;
};

/* Check a copy that ends where the text ends, so that sanitizers see a read past its end. */
static ssize_t check_bytes(const char *bytes, size_t length)
{
    char *copy = malloc(length ? length : 1);
    ssize_t status;

    memcpy(copy, bytes, length);
    status = json_check(copy, length);
    free(copy);
    return status;
}

static ssize_t check(const char *text)
{
    return check_bytes(text, strlen(text));
}

/* ---- the second checker ---- */

struct reader {
    const unsigned char *at;
    const unsigned char *end;
    int depth;
};

static bool read_value(struct reader *r);

static int peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : -1;
}

static bool eat(struct reader *r, int c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static void eat_white(struct reader *r)
{
    while (eat(r, ' ') || eat(r, '\t') || eat(r, '\r') || eat(r, '\n'))
        ;
}

/* Read one code point of UTF-8: decode it, then judge it. */
static bool eat_code_point(struct reader *r)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int lead = *r->at++, length = 1;
    uint32_t code = (uint32_t)lead;

    if (lead >= 0x80) {
        length = lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (length == 0)
            return false;
        code = (uint32_t)(lead & (0xff >> (length + 1)));
    }
    for (int i = 1; i < length; i++) {
        if (peek(r) < 0 || *r->at >> 6 != 2)
            return false;
        code = code << 6 | (*r->at++ & 0x3f);
    }
    return code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static bool eat_hex(struct reader *r)
{
    int c = peek(r);

    r->at++;
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool read_escape(struct reader *r)
{
    if (eat(r, 'u'))
        return r->end - r->at >= 4 && eat_hex(r) && eat_hex(r) && eat_hex(r) && eat_hex(r);
    return eat(r, '"') || eat(r, '\\') || eat(r, '/') || eat(r, 'b') || eat(r, 'f') ||
           eat(r, 'n') || eat(r, 'r') || eat(r, 't');
}

static bool read_string(struct reader *r)
{
    if (!eat(r, '"'))
        return false;
    while (!eat(r, '"')) {
        if (peek(r) < 0x20)
            return false;
        if (eat(r, '\\') ? !read_escape(r) : !eat_code_point(r))
            return false;
    }
    return true;
}

static bool read_digits(struct reader *r)
{
    int count = 0;

    while (peek(r) >= '0' && peek(r) <= '9') {
        r->at++;
        count++;
    }
    return count > 0;
}

static bool read_number(struct reader *r)
{
    eat(r, '-');
    if (!eat(r, '0') && !read_digits(r))
        return false;
    if (eat(r, '.') && !read_digits(r))
        return false;
    if (eat(r, 'e') || eat(r, 'E')) {
        if (!eat(r, '+'))
            eat(r, '-');
        return read_digits(r);
    }
    return true;
}

static bool read_word(struct reader *r, const char *word)
{
    while (*word && eat(r, *word))
        word++;
    return *word == '\0';
}

static bool read_array(struct reader *r)
{
    eat_white(r);
    if (eat(r, ']'))
        return true;
    do {
        if (!read_value(r))
            return false;
    } while (eat(r, ','));
    return eat(r, ']');
}

static bool read_object(struct reader *r)
{
    eat_white(r);
    if (eat(r, '}'))
        return true;
    do {
        eat_white(r);
        if (!read_string(r))
            return false;
        eat_white(r);
        if (!eat(r, ':') || !read_value(r))
            return false;
    } while (eat(r, ','));
    return eat(r, '}');
}

static bool read_nested(struct reader *r, bool (*read)(struct reader *r))
{
    bool valid = ++r->depth <= JSON_DEPTH_MAX && read(r);

    r->depth--;
    return valid;
}

static bool read_bare_value(struct reader *r)
{
    if (eat(r, '{'))
        return read_nested(r, read_object);
    if (eat(r, '['))
        return read_nested(r, read_array);
    switch (peek(r)) {
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, "true");
    case 'f':
        return read_word(r, "false");
    case 'n':
        return read_word(r, "null");
    default:
        return read_number(r);
    }
}

static bool read_value(struct reader *r)
{
    eat_white(r);
    if (!read_bare_value(r))
        return false;
    eat_white(r);
    return true;
}

static bool second_opinion(const char *text, size_t length)
{
    struct reader r = {.at = (const unsigned char *)text};

    r.end = r.at + length;
    return read_value(&r) && r.at == r.end;
}

/* ---- check ---- */

static void expect_valid(const struct text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(check_bytes(texts[i].bytes, texts[i].length) > 0, "refused: %s",
                      texts[i].bytes);
        ck_assert_msg(second_opinion(texts[i].bytes, texts[i].length), "the test itself: %s",
                      texts[i].bytes);
    }
}

static void expect_invalid(const struct text *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(check_bytes(texts[i].bytes, texts[i].length) == -EINVAL,
                      "accepted, or another error: number %zu, %s", i, texts[i].bytes);
        ck_assert_msg(!second_opinion(texts[i].bytes, texts[i].length),
                      "the test itself: number %zu, %s", i, texts[i].bytes);
    }
}

#define EXPECT_VALID(texts)   expect_valid(texts, sizeof(texts) / sizeof *(texts))
#define EXPECT_INVALID(texts) expect_invalid(texts, sizeof(texts) / sizeof *(texts))

CASES("check");

CASE(valid_values)
{
    static const struct text valid[] = {
        TEXT("{}"),
        TEXT("[]"),
        TEXT("null"),
        TEXT("true"),
        TEXT("false"),
        TEXT("\"\""),
        TEXT("\"a\""),
        TEXT("0"),
        TEXT("{\"\":0}"),
        TEXT("{\"a\":{}}"),
        TEXT("{\"a\":[],\"a\":{}}"),
        TEXT("[[],{},\"\",1,true,false,null]"),
        TEXT("[[[[]]],[{\"a\":[{}]}]]"),
        TEXT("{\"a\":1,\"b\":[1,2,{\"c\":\"d\"}],\"e\":null}"),
    };

    EXPECT_VALID(valid);
}

CASE(invalid_structure)
{
    static const struct text invalid[] = {
        TEXT(""),
        TEXT(" "),
        TEXT("{"),
        TEXT("}"),
        TEXT("["),
        TEXT("]"),
        TEXT(","),
        TEXT(":"),
        TEXT("{]"),
        TEXT("[}"),
        TEXT("[,]"),
        TEXT("[1,]"),
        TEXT("[,1]"),
        TEXT("[1 2]"),
        TEXT("[1,,2]"),
        TEXT("[1:2]"),
        TEXT("{,}"),
        TEXT("{\"a\"}"),
        TEXT("{\"a\":}"),
        TEXT("{\"a\":1,}"),
        TEXT("{:1}"),
        TEXT("{1:1}"),
        TEXT("{a:1}"),
        TEXT("{\"a\" 1}"),
        TEXT("{\"a\",1}"),
        TEXT("{\"a\":1:2}"),
        TEXT("{\"a\"::1}"),
        TEXT("{\"a\":1 \"b\":2}"),
        TEXT("{null:1}"),
        TEXT("{[]:1}"),
        TEXT("[\"a\":1]"),
        TEXT("{\"a\":1]"),
        TEXT("[1}"),
        TEXT("[[]"),
        TEXT("[]]"),
        TEXT("{{}}"),
        TEXT("{}{}"),
        TEXT("[] []"),
        TEXT("1 2"),
        TEXT("null,"),
        TEXT("nul"),
        TEXT("nulll"),
        TEXT("Null"),
        TEXT("tru"),
        TEXT("truefalse"),
        TEXT("fals"),
        TEXT("NaN"),
        TEXT("Infinity"),
        TEXT("'a'"),
        TEXT("undefined"),
        TEXT("[1]x"),
        TEXT("{\"a\":1}}"),
        TEXT("//\n1"),
        TEXT("1/**/"),
        TEXT("[1,"),
        TEXT("{\"a\":"),
        TEXT("{\"a\""),
        TEXT("{\"a\":1,"),
        TEXT("\xef\xbb\xbf{}"),
    };

    EXPECT_INVALID(invalid);
}

CASE(white_space)
{
    static const struct text invalid[] = {TEXT("\v1"),
                                          TEXT("1\f"),
                                          TEXT("\xc2\xa0"
                                               "1"),
                                          TEXT("1\0"),
                                          TEXT("[\0]"),
                                          TEXT("tr ue"),
                                          TEXT("1 0"),
                                          TEXT("- 1"),
                                          TEXT("1. 0"),
                                          TEXT("1e 1"),
                                          TEXT("[1\x0b]"),
                                          TEXT("\x85"
                                               "1"),
                                          TEXT("\xe2\x80\xa8"
                                               "1")};

    EXPECT_INVALID(invalid);
    ck_assert_int_eq(check(" \t\r\n1 \t\r\n"), 1);
    ck_assert_int_eq(check("[ 1 , 2 ]"), 5);
    ck_assert_int_eq(check("[ ]"), 2);
    ck_assert_int_eq(check("{ }"), 2);
    ck_assert_int_eq(check(" { \"a b\" : \" c \" , \"d\" : [ ] } "),
                     (ssize_t)strlen("{\"a b\":\" c \",\"d\":[]}"));
    ck_assert_int_eq(check("[]"), 2);
}

CASE(numbers_valid)
{
    static const struct text valid[] = {
        TEXT("0"),     TEXT("-0"),      TEXT("1"),
        TEXT("-1"),    TEXT("10"),      TEXT("1234567890"),
        TEXT("0.0"),   TEXT("-0.5"),    TEXT("1.25"),
        TEXT("1e1"),   TEXT("1E1"),     TEXT("1e+1"),
        TEXT("1e-1"),  TEXT("0e0"),     TEXT("0E00"),
        TEXT("1e09"),  TEXT("1.0e+05"), TEXT("1e999999"),
        TEXT("[0,0]"), TEXT("[-0.0]"),  TEXT("100000000000000000000000000000000000000000000000000"),
    };

    EXPECT_VALID(valid);
}

CASE(numbers_invalid)
{
    static const struct text invalid[] = {
        TEXT("-"),     TEXT("+1"),        TEXT("01"),   TEXT("00"),    TEXT("-01"),
        TEXT("1."),    TEXT(".5"),        TEXT("-.5"),  TEXT("1.e1"),  TEXT("1e"),
        TEXT("1e+"),   TEXT("1e-"),       TEXT("1ee1"), TEXT("1e1.5"), TEXT("0x10"),
        TEXT("1_000"), TEXT("--1"),       TEXT("1-"),   TEXT("1.2.3"), TEXT("1e+-1"),
        TEXT("e1"),    TEXT("[1.]"),      TEXT("[-]"),  TEXT("1a"),    TEXT("1\xd9\xa1"),
        TEXT("-a"),    TEXT("-Infinity"), TEXT("0b1"),  TEXT("[01]"),  TEXT("1,"),
    };

    EXPECT_INVALID(invalid);
}

CASE(escapes_valid)
{
    static const struct text valid[] = {
        TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
        TEXT("\"\\u0000\\u001f\\u00e4\\uFFFF\\uabCD\""),
        TEXT("\"\\ud83d\\ude00\""),
        TEXT("\"\\ud800\""), /* RFC 8259 leaves lone surrogates to the reader */
        TEXT("{\"\\u0061\\\"\":1}"),
        TEXT("\"\\\\\""),
    };

    EXPECT_VALID(valid);
}

CASE(escapes_invalid)
{
    static const struct text invalid[] = {
        TEXT("\"\\\""),         TEXT("\"\\"),
        TEXT("\"\\a\""),        TEXT("\"\\0\""),
        TEXT("\"\\x41\""),      TEXT("\"\\'\""),
        TEXT("\"\\U0041\""),    TEXT("\"\\u\""),
        TEXT("\"\\u1\""),       TEXT("\"\\u12\""),
        TEXT("\"\\u123\""),     TEXT("\"\\u123"),
        TEXT("\"\\u123g\""),    TEXT("\"\\u 123\""),
        TEXT("\"\\u+123\""),    TEXT("\"\\\n\""),
        TEXT("\"\\\0\""),       TEXT("\"\\u12\0 \""),
        TEXT("\"\\\xc3\xa4\""), TEXT("\"\\u00\xc3\xa4\""),
    };

    EXPECT_INVALID(invalid);
}

CASE(strings_invalid)
{
    static const struct text invalid[] = {TEXT("\""),       TEXT("\"a"),        TEXT("\"a\"\""),
                                          TEXT("\"a\"b\""), TEXT("\"\n\""),     TEXT("\"\t\""),
                                          TEXT("\"\0\""),   TEXT("\"\x1f\""),   TEXT("[\"a]"),
                                          TEXT("{\"a:1}"),  TEXT("{\"a\n\":1}")};
    static const struct text valid[] = {TEXT("\" \""), TEXT("\"\x7f\""), TEXT("\"'\"")};

    EXPECT_INVALID(invalid);
    EXPECT_VALID(valid);
    for (char c = 1; c < 0x20; c++) {
        char text[] = {'"', c, '"', '\0'};
        ck_assert_int_eq(check(text), -EINVAL);
    }
}

CASE(utf8_valid)
{
    static const struct text valid[] = {
        TEXT("\"\xc2\x80\""),         /* U+0080 */
        TEXT("\"\xdf\xbf\""),         /* U+07FF */
        TEXT("\"\xe0\xa0\x80\""),     /* U+0800 */
        TEXT("\"\xec\xbf\xbf\""),     /* U+CFFF */
        TEXT("\"\xed\x80\x80\""),     /* U+D000 */
        TEXT("\"\xed\x9f\xbf\""),     /* U+D7FF */
        TEXT("\"\xee\x80\x80\""),     /* U+E000 */
        TEXT("\"\xef\xbf\xbf\""),     /* U+FFFF */
        TEXT("\"\xf0\x90\x80\x80\""), /* U+10000 */
        TEXT("\"\xf1\x80\x80\x80\""), /* U+40000 */
        TEXT("\"\xf4\x8f\xbf\xbf\""), /* U+10FFFF */
        TEXT("{\"\xe2\x82\xac\":\"\xf0\x9f\x98\x80\"}"),
    };

    EXPECT_VALID(valid);
}

CASE(utf8_invalid)
{
    static const struct text invalid[] = {
        TEXT("\"\x80\""),             /* no lead */
        TEXT("\"\xbf\""),             /* no lead */
        TEXT("\"\xc0\x80\""),         /* overlong NUL */
        TEXT("\"\xc0\xaf\""),         /* overlong '/' */
        TEXT("\"\xc1\xbf\""),         /* overlong U+007F */
        TEXT("\"\xe0\x80\x80\""),     /* overlong */
        TEXT("\"\xe0\x9f\xbf\""),     /* overlong U+07FF */
        TEXT("\"\xf0\x80\x80\x80\""), /* overlong */
        TEXT("\"\xf0\x8f\xbf\xbf\""), /* overlong U+FFFF */
        TEXT("\"\xed\xa0\x80\""),     /* U+D800 */
        TEXT("\"\xed\xaf\xbf\""),     /* U+DBFF */
        TEXT("\"\xed\xb0\x80\""),     /* U+DC00 */
        TEXT("\"\xed\xbf\xbf\""),     /* U+DFFF */
        TEXT("\"\xf4\x90\x80\x80\""), /* U+110000 */
        TEXT("\"\xf5\x80\x80\x80\""), /* beyond */
        TEXT("\"\xf8\x88\x80\x80\x80\""),
        TEXT("\"\xfe\""),
        TEXT("\"\xff\""),
        TEXT("\"\xc2\""), /* truncated by the quote */
        TEXT("\"\xe2\x82\""),
        TEXT("\"\xf0\x9f\x98\""),
        TEXT("\"\xc2"), /* truncated by the end */
        TEXT("\"\xe2"),
        TEXT("\"\xe2\x82"),
        TEXT("\"\xf0"),
        TEXT("\"\xf0\x9f"),
        TEXT("\"\xf0\x9f\x98"),
        TEXT("\"\xc2\xc2\x80\""), /* lead after lead */
        TEXT("\"\xe2\xc2\x80\""),
        TEXT("\"\xe2\x82\xc0\""), /* no continuation */
        TEXT("\"\xf0\x9f\x98x\""),
        TEXT("\"\xf0\x9fx\x80\""),
        TEXT("\"\xc3\xa4\xa4\""), /* one too many */
        TEXT("{\"\xff\":1}"),
        TEXT("\xc3\xa4"), /* outside of a string */
    };

    EXPECT_INVALID(invalid);
}

static void compare(const char *text, size_t length)
{
    if ((check_bytes(text, length) > 0) != second_opinion(text, length))
        ck_abort_msg("the two disagree on %.*s", (int)length, text);
}

/* The bytes before a fault are the start of some JSON, and the fault can be said. */
static void check_fault(const char *text, size_t length)
{
    struct json_fault fault, before;
    struct buf words = {0};

    json_fault_tell(&words, text, length);
    ck_assert_int_eq(json_find_fault(text, length, &fault), buf_length(&words) > 0);
    if (buf_length(&words) == 0)
        return;
    ck_assert_uint_le(fault.at, length);
    if (json_find_fault(text, fault.at, &before))
        ck_assert_uint_eq(before.at, fault.at);
    ck_assert_uint_lt(buf_length(&words), 512);
    ck_assert_int_ge(json_escaped_length(buf_data(&words), buf_length(&words)), 0);
    for (const char *p = buf_data(&words); p < buf_data(&words) + buf_length(&words); p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            ck_abort_msg("a control byte in %s", buf_data(&words));
    }
    buf_finish(&words);
}

/* Every pair of bytes in a string, and every triple that begins with one of these leads. */
CASE(utf8_exhaustive)
{
    static const unsigned char leads[] = {0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4};

    for (unsigned pair = 0; pair < 0x10000; pair++) {
        char text[] = {'"', (char)(pair >> 8), (char)pair, '"'};
        compare(text, sizeof text);
    }
    for (unsigned i = 0; i < sizeof leads * 0x10000; i++) {
        unsigned char lead = leads[i >> 16];
        char text[] = {'"', (char)lead, (char)(i >> 8), (char)i, lead < 0xf0 ? '"' : '\x80', '"'};
        compare(text, lead < 0xf0 ? 5 : 6);
    }
}

/* Return this number of levels: arrays, or arrays and objects in turn if mixed. */
static char *nest(size_t depth, bool mixed, bool closed)
{
    struct buf text = {0};

    for (size_t i = 0; i < depth; i++)
        buf_puts(&text, mixed && i % 2 ? "{\"a\":" : "[");
    if (closed) {
        buf_puts(&text, "1");
        for (size_t i = depth; i-- > 0;)
            buf_puts(&text, mixed && i % 2 ? "}" : "]");
    }
    return buf_steal(&text);
}

static ssize_t check_nest(size_t depth, bool mixed, bool closed)
{
    char *text = nest(depth, mixed, closed);
    ssize_t status = check(text);

    free(text);
    return status;
}

CASE(deepest)
{
    for (int mixed = 0; mixed < 2; mixed++) {
        ck_assert_int_gt(check_nest(1, mixed, true), 0);
        ck_assert_int_gt(check_nest(JSON_DEPTH_MAX - 1, mixed, true), 0);
        ck_assert_int_gt(check_nest(JSON_DEPTH_MAX, mixed, true), 0);
        ck_assert_int_eq(check_nest(JSON_DEPTH_MAX + 1, mixed, true), -EINVAL);
        ck_assert_int_eq(check_nest(JSON_DEPTH_MAX, mixed, false), -EINVAL);
        ck_assert_int_eq(check_nest(1000000, mixed, false), -EINVAL);
    }
}

CASE(depth_is_not_breadth)
{
    struct buf text = {0};

    buf_puts(&text, "[0");
    for (int i = 0; i < 3 * JSON_DEPTH_MAX; i++)
        buf_puts(&text, i % 2 ? ",[]" : ",{\"a\":[[]]}");
    buf_puts(&text, "]");
    ck_assert_int_eq(json_check(buf_data(&text), buf_length(&text)), (ssize_t)buf_length(&text));
    buf_finish(&text);
}

/* Each level has its own kind, whatever was on that level before. */
CASE(wrong_close_at_any_depth)
{
    for (size_t depth = 1; depth <= 40; depth++) {
        char *text = nest(depth, true, true);
        size_t length = strlen(text);
        for (size_t i = length - depth; i < length; i++) {
            char right = text[i];
            text[i] = right == ']' ? '}' : ']';
            ck_assert_int_eq(check(text), -EINVAL);
            text[i] = right;
        }
        ck_assert_int_gt(check(text), 0);
        free(text);
    }
}

CASE(every_prefix_is_invalid)
{
    static const char text[] = "{\"a\\u00e4\xc3\xa4\":[1.5e+7,true,{\"b\":null}],\"c\":\"\\n\"}";

    for (size_t length = 0; length < strlen(text); length++)
        ck_assert_msg(check_bytes(text, length) == -EINVAL, "%zu", length);
    ck_assert_int_gt(check(text), 0);
}

static const char *const corpus[] = {
    "{}",
    "[]",
    "[[],{}]",
    "\"\"",
    "\" a \\\" : , \\\\\"",
    "-1.5e3",
    "{\"delta\":\"Hello, \\u00fc \xc3\xbc \xf0\x9f\x98\x80\"}",
    "{\"a\":1,\"b\":[1,2,{\"c\":\"d\"}],\"e\":null,\"f\":[true,false]}",
    "[[[[[[1],[2]]]],{\"x y\":{\"z \\\\\":[ ]}}]]",
    "{\"id\":\"call_1\",\"name\":\"look up\",\"arguments\":{\"q\":\"a\\tb \\\"c\\\"\"}}",
    "[\"\\\\\",\"\\\\\\\"\",\"\\\\\\\\\"]",
    "[0.1,1e+20,-0,123456789]",
};

CASE_LOOP(mutations, 0, 4)
{
    static const char pieces[] = "{}[],:\"\\ \n\t01-+.eEtfnu/a\x80\xc3\xa4\xed\xa0\xf0\x9f\xff\x01";
    char text[256];

    srand((unsigned)_i);
    for (int round = 0; round < 30000; round++) {
        const char *from = corpus[(size_t)rand() % (sizeof corpus / sizeof *corpus)];
        size_t length = strlen(from);
        memcpy(text, from, length);
        for (int changes = 1 + rand() % 3; changes > 0 && length > 0; changes--) {
            size_t at = (size_t)rand() % length;
            char piece = pieces[(size_t)rand() % sizeof pieces];
            switch (rand() % 3) {
            case 0:
                text[at] = piece;
                break;
            case 1:
                memmove(text + at, text + at + 1, --length - at);
                break;
            default:
                memmove(text + at + 1, text + at, length++ - at);
                text[at] = piece;
            }
        }
        compare(text, length);
        check_fault(text, length);
    }
}

CASE(faults_of_prefixes)
{
    for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) {
        for (size_t length = 0; length <= strlen(corpus[i]); length++)
            check_fault(corpus[i], length);
    }
}

/* ---- compact ---- */

static void expect_compact(const char *text, const char *wanted)
{
    size_t length = strlen(text), size = strlen(wanted);
    char *out = malloc(size + 1);

    ck_assert_int_eq(json_check(text, length), (ssize_t)size);
    out[size] = '#';
    ck_assert_uint_eq(json_compact(out, text, length), size);
    ck_assert_int_eq(out[size], '#');
    ck_assert_mem_eq(out, wanted, size);
    free(out);
}

CASES("compact");

CASE(compact_what_is_compact)
{
    expect_compact("{\"a\":[1,2]}", "{\"a\":[1,2]}");
    expect_compact("1", "1");
}

CASE(compact_takes_white_space_out)
{
    expect_compact(" \t\r\n{ \"a\" : [ 1 , 2 ] }\n", "{\"a\":[1,2]}");
    expect_compact(" true ", "true");
}

CASE(compact_keeps_strings)
{
    expect_compact("[ \" \\\" , : \\\\\" , \"\\\\\\\"  \" ]",
                   "[\" \\\" , : \\\\\",\"\\\\\\\"  \"]");
    expect_compact("{ \" k \" : \" v \" }", "{\" k \":\" v \"}");
}

CASE(compact_undoes_pretty_printing)
{
    for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) {
        cJSON *tree = cJSON_Parse(corpus[i]);
        char *pretty, *plain;
        ck_assert_msg(tree != NULL, "%s", corpus[i]);
        pretty = cJSON_Print(tree);
        plain = cJSON_PrintUnformatted(tree);
        expect_compact(pretty, plain);
        cJSON_free(pretty);
        cJSON_free(plain);
        cJSON_Delete(tree);
    }
}

/* ---- escape ---- */

static void expect_escaped(const char *text, size_t length, const char *wanted)
{
    char out[64];

    ck_assert_int_eq(json_escaped_length(text, length), (ssize_t)strlen(wanted));
    ck_assert_uint_eq(json_escape(out, text, length), strlen(wanted));
    ck_assert_mem_eq(out, wanted, strlen(wanted));
    for (size_t room = 0; room <= strlen(wanted); room++) {
        size_t fits = json_escaped_fit(text, length, room);
        ck_assert_int_le(json_escaped_length(text, fits), (ssize_t)room);
        ck_assert(fits == length || ((unsigned char)text[fits] & 0xc0) != 0x80);
        ck_assert(fits == length || room - (size_t)json_escaped_length(text, fits) < 6);
    }
    ck_assert_uint_eq(json_escaped_fit(text, length, strlen(wanted)), length);
}

CASES("escape");

CASE(escape_plain)
{
    expect_escaped("", 0, "");
    expect_escaped("abc /'", 6, "abc /'");
    expect_escaped("\x7f", 1, "\x7f");
    expect_escaped("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
                   "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
}

CASE(escape_short_and_long)
{
    expect_escaped("\"\\\n\r\t", 5, "\\\"\\\\\\n\\r\\t");
    expect_escaped("\0\x01\x08\x0c\x1f", 5, "\\u0000\\u0001\\u0008\\u000c\\u001f");
}

CASE(escape_refuses_what_is_not_utf8)
{
    static const struct text bad[] = {
        TEXT("\x80"),         TEXT("\xc0\x80"),         TEXT("a\xff"),
        TEXT("\xed\xa0\x80"), TEXT("\xf4\x90\x80\x80"), TEXT("\xc3"),
        TEXT("\xe2\x82"),     TEXT("\xf0\x9f\x98"),     TEXT("\xe2\x82x")};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_eq(json_escaped_length(bad[i].bytes, bad[i].length), -EINVAL);
}

/* The bytes after the text would make it valid, but do not belong to it. */
CASE(escape_refuses_what_is_cut)
{
    for (size_t length = 1; length < 4; length++)
        ck_assert_int_eq(json_escaped_length("\xf0\x9f\x98\x80", length), -EINVAL);
    for (size_t length = 1; length < 3; length++)
        ck_assert_int_eq(json_escaped_length("\xe2\x82\xac", length), -EINVAL);
    ck_assert_int_eq(json_escaped_length("\xc3\xa4", 1), -EINVAL);
}

static size_t put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3f));
        to[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3f));
    to[2] = (char)(0x80 | (code >> 6 & 0x3f));
    to[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* Write the text as a JSON string, and read it back. */
static void expect_round_trip(const char *text, size_t length)
{
    ssize_t size = json_escaped_length(text, length);
    char *json = malloc((size_t)size + 3);
    cJSON *tree;

    ck_assert_int_ge(size, (ssize_t)length);
    json[0] = '"';
    ck_assert_uint_eq(json_escape(json + 1, text, length), (size_t)size);
    strcpy(json + 1 + size, "\"");
    ck_assert_int_eq(check(json), size + 2);
    tree = cJSON_Parse(json);
    ck_assert_ptr_nonnull(tree);
    ck_assert_str_eq(cJSON_GetStringValue(tree), text);
    cJSON_Delete(tree);
    free(json);
}

CASE(escape_round_trip_of_all_code_points)
{
    char text[4 * 4096 + 1];
    size_t length = 0;

    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        if (code < 0xd800 || code > 0xdfff)
            length += put_utf8(text + length, code);
        if (code % 4096 == 4095 || code == 0x10ffff) {
            text[length] = '\0';
            expect_round_trip(text, length);
            length = 0;
        }
    }
}

static void expect_appended(const char *text, const char *wanted)
{
    struct buf json = {0};

    buf_puts(&json, "x");
    json_append_string(&json, text);
    ck_assert_uint_eq(buf_length(&json), strlen(wanted) + 1);
    ck_assert_mem_eq(buf_data(&json) + 1, wanted, strlen(wanted));
    buf_finish(&json);
}

CASE(append_string)
{
    expect_appended("", "\"\"");
    expect_appended("a\"b\\c\n\x01\xc3\xa4", "\"a\\\"b\\\\c\\n\\u0001\xc3\xa4\"");
}

CASE(append_string_with_bad_bytes)
{
    expect_appended("\xff", "\"?\"");
    expect_appended("a\x80z", "\"a?z\"");
    expect_appended("\xc3", "\"?\"");
    expect_appended("\xe2\x82", "\"?\?\"");
    expect_appended("\xed\xa0\x80!", "\"?\?\?!\"");
    expect_appended("\xe2\x82\xc3\xa4", "\"?\?\xc3\xa4\"");
    expect_appended("\xc0\x80\"", "\"?\?\\\"\"");
}

/* Random bytes give a valid string. */
CASE(append_string_is_always_valid)
{
    srand(1);
    for (int round = 0; round < 20000; round++) {
        struct buf json = {0};
        char text[24] = {0};
        for (int i = rand() % 23; i > 0; i--)
            text[i - 1] = (char)(rand() % 4 ? 0x80 + rand() % 0x80 : 1 + rand() % 0x7f);
        json_append_string(&json, text);
        ck_assert_int_eq(json_check(buf_data(&json), buf_length(&json)),
                         (ssize_t)buf_length(&json));
        buf_finish(&json);
    }
}

/* ---- numbers that others wrote, for plugins ---- */

static void expect_integer(const char *number, long long expected)
{
    char text[64];
    cJSON *json;

    snprintf(text, sizeof text, "{\"n\":%s}", number);
    json = cJSON_Parse(text);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(agent_json_integer(json, "n", -7), expected);
    cJSON_Delete(json);
}

CASE(integers_in_range)
{
    expect_integer("0", 0);
    expect_integer("-0.9", 0);
    expect_integer("41.99", 41);
    expect_integer("4294967296", 4294967296);
    expect_integer("9007199254740991", AGENT_JSON_INTEGER_MAX);
    expect_integer("-9007199254740991", -AGENT_JSON_INTEGER_MAX);
}

CASE(integers_out_of_range)
{
    expect_integer("9007199254740992", -7);
    expect_integer("1e51", -7);
    expect_integer("-1e51", -7);
    expect_integer("1e999", -7);
    expect_integer("\"1\"", -7);
    expect_integer("null", -7);
}

CASES("member");

static void expect_member(const char *json, const char *name, const char *wanted, size_t length)
{
    char *copy = strdup(json);
    struct buf text = {0};

    ck_assert_msg(json_member_text(copy, strlen(json), name, &text) == (wanted != NULL), "%s",
                  json);
    ck_assert_uint_eq(buf_length(&text), length);
    ck_assert_mem_eq(buf_data(&text), wanted ? wanted : "", length);
    buf_finish(&text);
    free(copy);
}

CASE(members)
{
    expect_member("{\"delta\":\"a b\"}", "delta", "a b", 3);
    expect_member(" { \"a\" : [\"delta\",{\"delta\":\"no\"}] , \"delta\" : \"\" } ", "delta", "",
                  0);
    expect_member("{\"x\":\"delta\",\"d\\u0065lta\":\"yes\",\"delta\":\"late\"}", "delta", "yes",
                  3);
    expect_member("{\"delta\":1}", "delta", NULL, 0);
    expect_member("{\"delta\":{\"delta\":\"x\"}}", "delta", NULL, 0);
    expect_member("[\"delta\",\"x\"]", "delta", NULL, 0);
    expect_member("{\"delta\":\"x", "delta", NULL, 0);
    expect_member("{\"delta\"", "delta", NULL, 0);
    expect_member("\"delta\"", "delta", NULL, 0);
    expect_member("{}", "delta", NULL, 0);
    expect_member("", "delta", NULL, 0);
}

CASE(member_escapes)
{
    expect_member("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "a", "\"\\/\b\f\n\r\t", 8);
    expect_member("{\"a\":\"\\u0041\\u00e9\\u20AC\\ud83d\\uDE00\"}", "a",
                  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10);
    expect_member("{\"a\":\"x\\u0000y\"}", "a", "x\0y", 3);
    expect_member("{\"a\":\"\\ud83dx\"}", "a", "\xef\xbf\xbdx", 4);
    expect_member("{\"a\":\"\\ud83d\\u0041\"}", "a",
                  "\xef\xbf\xbd"
                  "A",
                  4);
    expect_member("{\"a\":\"\\ude00\\ud83d\"}", "a", "\xef\xbf\xbd\xef\xbf\xbd", 6);
}

static void expect_found(const char *json, const char *name, const char *wanted)
{
    char *copy = strdup(json);
    const char *value = NULL;
    size_t length = 0;

    ck_assert_msg(json_member_find(copy, strlen(json), name, &value, &length) == (wanted != NULL),
                  "%s", json);
    ck_assert_uint_eq(length, wanted ? strlen(wanted) : 0);
    ck_assert_mem_eq(value ? value : "", wanted ? wanted : "", length);
    free(copy);
}

CASE(members_of_any_type)
{
    expect_found("{\"a\":1,\"b\":-1.50e3}", "b", "-1.50e3");
    expect_found("{\"a\":{\"b\":[2,{}]},\"b\": [1, {\"b\":\"]\"}] }", "b", "[1, {\"b\":\"]\"}]");
    expect_found("{\"x\":\"b\",\"\\u0062\":{},\"b\":null}", "b", "{}");
    expect_found("{\"b\":\"b\",\"x\":1}", "b", "\"b\"");
    expect_found("{\"b\":null}", "b", "null");
    expect_found("{\"b\":[1,2", "b", NULL);
    expect_found("{\"b\":", "b", NULL);
    expect_found("{\"c\":{\"b\":1}}", "b", NULL);
    expect_found("[\"b\",1]", "b", NULL);
    expect_found("\"b\"", "b", NULL);
    expect_found("", "b", NULL);
}
