#include "base/log_fact.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Room that a message leaves in its line for the keys. */
#define KEYS_SIZE(size) ((size) / 4)

/* A record: level, then "message" NUL and, for each key, '#' or '=' for a number or not, name NUL
 * value NUL. */
#define RECORD_NUMBER '#'
#define RECORD_STRING '='

/* Where a line is written; what does not fit is left out. */
struct pen {
    char *at, *end;
};

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = {"fatal", "error", "plugin", "warn", "info", "debug"};

    return names[level];
}

void log_fact_add(struct log_fact *fact, const char *name, const char *value, bool is_number)
{
    if (fact->key_count == LOG_KEYS_MAX)
        return;
    fact->keys[fact->key_count++] = (struct log_key){.name = name,
                                                     .name_length = strlen(name),
                                                     .value = value,
                                                     .length = strlen(value),
                                                     .is_number = is_number};
}

void log_fact_add_text(struct log_fact *fact, const char *keys)
{
    while (*(keys += strspn(keys, " ")) && fact->key_count < LOG_KEYS_MAX) {
        size_t length = strcspn(keys, " "), name = strcspn(keys, "= ");
        struct log_key *key = &fact->keys[fact->key_count++];
        bool has_value = name < length;
        *key = (struct log_key){.name = keys,
                                .name_length = name,
                                .value = keys + name + has_value,
                                .length = length - name - has_value};
        key->is_number = key->length > 0 && strspn(key->value, "0123456789") >= key->length;
        keys += length;
    }
}

/* ---- characters ---- */

/* Return the length of the UTF-8 character (RFC 3629) at `at` and its code, or 0 if there is none.
 */
static size_t utf8_next(const char *at, const char *end, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)at;
    size_t length = *byte < 0x80       ? 1
                    : *byte >> 5 == 6  ? 2
                    : *byte >> 4 == 14 ? 3
                    : *byte >> 3 == 30 ? 4
                                       : 0;

    if (length == 0 || length > (size_t)(end - at))
        return 0;
    *code = length == 1 ? *byte : *byte & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (byte[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (byte[i] & 0x3f);
    }
    if (*code < least[length] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
        return 0;
    return length;
}

/* Return true if the character may stand in a line as it is: no control, no line or paragraph
 * separator, nothing that changes the direction of writing. */
static bool is_plain(uint32_t code)
{
    return code >= 0x20 && !(code >= 0x7f && code < 0xa0) && code != 0x61c && code != 0x200e &&
           code != 0x200f && !(code >= 0x2028 && code <= 0x202e) &&
           !(code >= 0x2066 && code <= 0x2069) && code != 0xfeff;
}

static size_t escape_text(char *out, const char *bytes, size_t length, uint32_t code)
{
    static const char digits[] = "0123456789abcdef";

    if (length > 0 && is_plain(code)) {
        memcpy(out, bytes, length);
        return length;
    }
    if (length == 0)
        length = 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        *out++ = '\\';
        *out++ = 'x';
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
    return 4 * length;
}

/* All that is escaped is below U+10000. */
static size_t escape_json(char *out, const char *bytes, size_t length, uint32_t code)
{
    if (length == 0)
        return (size_t)sprintf(out, "\\ufffd");
    if (!is_plain(code))
        return (size_t)sprintf(out, "\\u%04x", (unsigned)code & 0xffff);
    if (code == '"' || code == '\\')
        *out++ = '\\';
    memcpy(out, bytes, length);
    return length + (code == '"' || code == '\\');
}

typedef size_t escape_fn(char *out, const char *bytes, size_t length, uint32_t code);

/* Write as many whole characters of the text as there is room for. */
static void pen_escape(struct pen *pen, escape_fn *escape, const char *text, size_t length)
{
    const char *end = text + length;

    while (text < end) {
        uint32_t code = 0;
        size_t step = utf8_next(text, end, &code), size;
        char escaped[16];
        size = escape(escaped, text, step, code);
        if (size > (size_t)(pen->end - pen->at))
            return;
        memcpy(pen->at, escaped, size);
        pen->at += size;
        text += step ? step : 1;
    }
}

size_t log_escape(char *out, size_t size, const char *text, size_t length)
{
    struct pen pen = {.at = out, .end = out + size};

    pen_escape(&pen, escape_text, text, length);
    return (size_t)(pen.at - out);
}

static void pen_write(struct pen *pen, const char *text, size_t length)
{
    if (length > (size_t)(pen->end - pen->at))
        return;
    memcpy(pen->at, text, length);
    pen->at += length;
}

static void pen_puts(struct pen *pen, const char *text)
{
    pen_write(pen, text, strlen(text));
}

/* ---- lines ---- */

static void pen_time(struct pen *pen)
{
    struct timespec now;
    struct tm utc;
    char text[64];
    size_t length;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, sizeof text - length, ".%03ldZ", now.tv_nsec / 1000000);
    pen_puts(pen, text);
}

size_t log_fact_text(const struct log_fact *fact, char *out, size_t size)
{
    struct pen pen = {.at = out, .end = out + size - 1 - KEYS_SIZE(size)};

    if (!fact->is_bare) {
        pen_time(&pen);
        pen_puts(&pen, " ");
        pen_puts(&pen, log_level_name(fact->level));
        pen_puts(&pen, " ");
    }
    pen_puts(&pen, fact->is_bare ? "sluice:" : fact->module);
    pen_puts(&pen, " ");
    pen_escape(&pen, escape_text, fact->message, fact->length);
    pen.end = out + size - 1;
    for (const struct log_key *key = fact->keys; key < fact->keys + fact->key_count; key++) {
        pen_puts(&pen, " ");
        pen_escape(&pen, escape_text, key->name, key->name_length);
        pen_puts(&pen, "=");
        pen_escape(&pen, escape_text, key->value, key->length);
    }
    *pen.at++ = '\n';
    return (size_t)(pen.at - out);
}

/* Return true if the value is a number of JSON: digits, maybe a sign, no zero in front. */
static bool is_json_number(const struct log_key *key)
{
    size_t sign = key->length > 1 && *key->value == '-';

    if (!key->is_number || key->length == 0 || key->length - sign > 20 ||
        (key->value[sign] == '0' && key->length - sign > 1))
        return false;
    for (size_t i = sign; i < key->length; i++) {
        if (key->value[i] < '0' || key->value[i] > '9')
            return false;
    }
    return true;
}

/* Write ,"name":value; leave out all of it if it does not fit. */
static void pen_member(struct pen *pen, const struct log_key *key)
{
    char *start = pen->at;
    bool is_number = is_json_number(key);

    pen->end -= 2; /* of the ends of strings, so that they always fit */
    pen_puts(pen, ",\"");
    pen_escape(pen, escape_json, key->name, key->name_length);
    pen_puts(pen, "\":");
    if (pen->end - pen->at < 32) {
        pen->at = start;
        pen->end += 2;
        return;
    }
    pen_puts(pen, is_number ? "" : "\"");
    pen_escape(pen, escape_json, key->value, key->length);
    pen->end += 2;
    pen_puts(pen, is_number ? "" : "\"");
}

size_t log_fact_json(const struct log_fact *fact, char *out, size_t size)
{
    struct pen pen = {.at = out, .end = out + size - KEYS_SIZE(size)};

    pen_puts(&pen, "{\"time\":\"");
    pen_time(&pen);
    pen_puts(&pen, "\",\"level\":\"");
    pen_puts(&pen, log_level_name(fact->level));
    pen_puts(&pen, "\",\"module\":\"");
    pen_escape(&pen, escape_json, fact->module, strlen(fact->module));
    pen_puts(&pen, "\",\"message\":\"");
    pen_escape(&pen, escape_json, fact->message, fact->length);
    pen.end = out + size - 2;
    pen_puts(&pen, "\"");
    for (const struct log_key *key = fact->keys; key < fact->keys + fact->key_count; key++)
        pen_member(&pen, key);
    *pen.at++ = '}';
    *pen.at++ = '\n';
    return (size_t)(pen.at - out);
}

/* ---- records ---- */

/* Write the text without what would end it early. */
static void pen_string(struct pen *pen, const char *text, size_t length)
{
    size_t room = (size_t)(pen->end - pen->at);

    length = strnlen(text, length < room ? length : room);
    pen_write(pen, text, length);
}

size_t log_fact_pack(const struct log_fact *fact, char *out, size_t size)
{
    struct pen pen = {.at = out, .end = out + size - KEYS_SIZE(size)};

    *pen.at++ = (char)fact->level;
    pen_string(&pen, fact->message, fact->length);
    *pen.at++ = '\0';
    for (const struct log_key *key = fact->keys; key < fact->keys + fact->key_count; key++) {
        if (key->name_length + key->length + 3 > (size_t)(out + size - pen.at))
            break;
        pen.end = out + size;
        *pen.at++ = key->is_number ? RECORD_NUMBER : RECORD_STRING;
        pen_string(&pen, key->name, key->name_length);
        *pen.at++ = '\0';
        pen_string(&pen, key->value, key->length);
        *pen.at++ = '\0';
    }
    return (size_t)(pen.at - out);
}

/* Return true if a key of this name is the front's to set. */
static bool is_front_key(const char *name)
{
    static const char *const names[] = {"time",   "level",      "module", "message",
                                        "plugin", "generation", "pid",    "file"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

bool log_fact_unpack(struct log_fact *fact, const char *record, size_t length)
{
    const char *at = record + 1, *end = record + length;

    if (length < 2 || end[-1] != '\0' || (unsigned char)*record > LOG_DEBUG)
        return false;
    *fact = (struct log_fact){
        .level = (enum log_level) * record, .module = "", .message = at, .length = strlen(at)};
    at += fact->length + 1;
    while (at < end) {
        const char *name = at + 1, *value = name + strlen(name) + 1;
        if ((*at != RECORD_NUMBER && *at != RECORD_STRING) || name == end || value >= end)
            return false;
        if (!is_front_key(name) && fact->key_count < LOG_RECORD_KEYS_MAX)
            log_fact_add(fact, name, value, *at == RECORD_NUMBER);
        at = value + strlen(value) + 1;
    }
    return true;
}
