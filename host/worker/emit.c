#include "worker/emit.h"

#include "base/buf.h"
#include "base/json.h"
#include "wire/frames.h"

#include <errno.h>
#include <string.h>

#define DELTA_BEFORE "{\"delta\":\""
#define DELTA_AFTER  "\"}"

int emit_of_event(struct emit *emit, const char *type, const char *json)
{
    size_t type_length = type ? strlen(type) : 0;
    ssize_t length;

    if (!wire_type_is_free(type, type_length) || json == NULL)
        return -EINVAL;
    *emit = (struct emit){
        .type = type, .type_length = type_length, .text = json, .length = strlen(json)};
    length = json_check(json, emit->length);
    if (length < 0)
        return (int)length;
    emit->json_length = (size_t)length;
    emit->is_object = *json == '{' || json[strspn(json, " \t\r\n")] == '{';
    return 0;
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
