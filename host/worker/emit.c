#include "worker/emit.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_fault.h"
#include "wire/frames.h"

#include <errno.h>
#include <string.h>

#define DELTA_BEFORE "{\"delta\":\""
#define DELTA_AFTER  "\"}"

/* Nobody would wait for the answer to a question that is emitted as an event. */
static bool is_question(const char *type, size_t length)
{
    return length == strlen(WIRE_ASK) && memcmp(type, WIRE_ASK, length) == 0;
}

/* The type is valid. */
static int of_json(struct emit *emit, const char *type, size_t type_length, const char *json)
{
    ssize_t length;

    *emit = (struct emit){
        .type = type, .type_length = type_length, .text = json, .length = strlen(json)};
    length = json_check(json, emit->length);
    if (length < 0)
        return (int)length;
    emit->json_length = (size_t)length;
    emit->is_object = *json == '{' || json[strspn(json, " \t\r\n")] == '{';
    return 0;
}

int emit_of_event(struct emit *emit, const char *type, const char *json)
{
    size_t type_length = type ? strlen(type) : 0;

    if (!wire_type_is_free(type, type_length) || is_question(type, type_length) || json == NULL)
        return -EINVAL;
    return of_json(emit, type, type_length, json);
}

int emit_of_question(struct emit *emit, const char *json)
{
    return of_json(emit, WIRE_ASK, strlen(WIRE_ASK), json);
}

int emit_of_text(struct emit *emit, const char *utf8)
{
    ssize_t length;

    if (utf8 == NULL)
        return -EINVAL;
    *emit = (struct emit){.type = "text",
                          .type_length = strlen("text"),
                          .text = utf8,
                          .length = strlen(utf8),
                          .is_object = true,
                          .is_delta = true};
    length = json_escaped_length(utf8, emit->length);
    if (length < 0)
        return (int)length;
    emit->json_length = (size_t)length + strlen(DELTA_BEFORE DELTA_AFTER);
    return 0;
}

/* ---- why one is refused ---- */

static void tell_type(struct buf *why, const char *type)
{
    const char *at = type;
    char one[2] = "";

    while ((one[0] = *at) && wire_word_length(one))
        at++;
    if (*at) {
        buf_puts(why, "found '");
        foreign_tell(why, one, sizeof one);
        buf_printf(why, "' at byte %zu of the type; a type is", (size_t)(at - type));
    } else {
        buf_printf(why, "the type has %zu bytes; a type is", (size_t)(at - type));
    }
    buf_printf(why, " 1 to %u of letters, digits, '_', '-', '.' and ':'", WIRE_TYPE_MAX);
}

void emit_tell_event(struct buf *why, const char *type, const char *json)
{
    if (type == NULL)
        buf_puts(why, "the type is NULL");
    else if (wire_word_length(type) == 0)
        tell_type(why, type);
    else if (strcmp(type, "error") == 0 || strcmp(type, "open") == 0)
        buf_puts(why, "this type is refused, because browsers' EventSource uses it; name another");
    else if (!wire_type_is_free(type, strlen(type)))
        buf_puts(why, "this type is the host's, which emits it itself; name another");
    else if (is_question(type, strlen(type)))
        buf_puts(why, "questions are asked by run_ask(), which waits for the answer");
    else if (json == NULL)
        buf_puts(why, "the JSON is NULL");
    else
        json_fault_tell(why, json, strlen(json));
}

void emit_tell_text(struct buf *why, const char *utf8)
{
    if (utf8 == NULL)
        buf_puts(why, "the text is NULL");
    else
        utf8_fault_tell(why, utf8, strlen(utf8));
}

/* ---- scope, size, bytes ---- */

int emit_scope(const char *name, char **member)
{
    struct buf text = {0};

    if (name && json_escaped_length(name, strlen(name)) < 0)
        return -EINVAL;
    *member = NULL;
    if (name == NULL)
        return 0;
    buf_puts(&text, "\"scope\":");
    json_append_string(&text, name);
    *member = buf_steal(&text);
    return 0;
}

/* Return the bytes that a scope adds; 0 if the JSON is not an object. */
static size_t scope_size(const struct emit *emit, const char *scope)
{
    size_t comma = emit->json_length > strlen("{}") ? strlen(",") : 0;

    return scope && emit->is_object ? strlen(scope) + comma : 0;
}

size_t emit_size(const struct emit *emit, const char *scope)
{
    return emit->json_length + scope_size(emit, scope);
}

/* Return the code of the character at p, in valid UTF-8. */
static unsigned character(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;

    if (*b < 0x80)
        return *b;
    if (*b < 0xe0)
        return (*b & 0x1fu) << 6 | (b[1] & 0x3fu);
    if (*b < 0xf0)
        return (*b & 0xfu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
    return (*b & 7u) << 18 | (b[1] & 0x3fu) << 12 | (b[2] & 0x3fu) << 6 | (b[3] & 0x3fu);
}

#define ZERO_WIDTH_JOINER 0x200du

/* Return whether a character belongs to the one before it: marks, selectors, skin tones. */
static bool is_mark(unsigned code)
{
    return (code >= 0x300 && code <= 0x36f) || (code >= 0x1ab0 && code <= 0x1aff) ||
           (code >= 0x1dc0 && code <= 0x1dff) || code == ZERO_WIDTH_JOINER ||
           (code >= 0x20d0 && code <= 0x20ff) || (code >= 0xfe00 && code <= 0xfe0f) ||
           (code >= 0xfe20 && code <= 0xfe2f) || (code >= 0x1f3fb && code <= 0x1f3ff);
}

static size_t character_before(const char *text, size_t at)
{
    while (at > 0 && ((unsigned char)text[--at] & 0xc0) == 0x80)
        ;
    return at;
}

/* Return where to cut, at `at` or a few characters before it, so that marks stay at their base. */
static size_t cut_place(const char *text, size_t at)
{
    size_t place = at;

    for (int steps = 0; steps < 32 && place > 0; steps++) {
        size_t before = character_before(text, place);
        if (!is_mark(character(text + place)) && character(text + before) != ZERO_WIDTH_JOINER)
            return place;
        place = before;
    }
    return at;
}

bool emit_cut(struct emit *text, const char *scope, struct emit *piece)
{
    size_t fixed = strlen(DELTA_BEFORE DELTA_AFTER) + scope_size(text, scope), length;

    if (fixed >= WIRE_EVENT_MAX)
        return false;
    length = json_escaped_fit(text->text, text->length, WIRE_EVENT_MAX - fixed);
    if (length < text->length)
        length = cut_place(text->text, length);
    *piece = *text;
    piece->length = length;
    piece->json_length =
        (size_t)json_escaped_length(text->text, length) + strlen(DELTA_BEFORE DELTA_AFTER);
    text->text += length;
    text->length -= length;
    return length > 0;
}

static void write_delta(const struct emit *emit, char *json)
{
    memcpy(json, DELTA_BEFORE, strlen(DELTA_BEFORE));
    json += strlen(DELTA_BEFORE);
    json += json_escape(json, emit->text, emit->length);
    memcpy(json, DELTA_AFTER, strlen(DELTA_AFTER));
}

static void write_json(const struct emit *emit, char *json)
{
    if (emit->is_delta)
        write_delta(emit, json);
    else if (emit->json_length == emit->length)
        memcpy(json, emit->text, emit->length);
    else
        json_compact(json, emit->text, emit->length);
}

void emit_write(const struct emit *emit, const char *scope, char *json)
{
    size_t scoped = scope_size(emit, scope);

    write_json(emit, json + scoped);
    if (scoped == 0)
        return;
    json[scoped] = ',';
    json[0] = '{';
    memcpy(json + 1, scope, strlen(scope));
}
