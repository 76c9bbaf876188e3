#include "worker/emit.h"

#include "base/buf.h"
#include "base/json.h"
#include "wire/frames.h"

#include <errno.h>
#include <string.h>

#define DELTA_BEFORE "{\"delta\":\""
#define DELTA_AFTER  "\"}"

int payload_of_event(struct payload *payload, const char *type, const char *json)
{
    size_t type_length = type ? strlen(type) : 0;
    ssize_t length;

    if (!wire_type_is_free(type, type_length) || json == NULL)
        return -EINVAL;
    *payload = (struct payload){
        .type = type, .type_length = type_length, .text = json, .length = strlen(json)};
    length = json_check(json, payload->length);
    if (length < 0)
        return (int)length;
    payload->json_length = (size_t)length;
    payload->is_object = *json == '{' || json[strspn(json, " \t\r\n")] == '{';
    return 0;
}

int payload_of_text(struct payload *payload, const char *utf8)
{
    ssize_t length;

    if (utf8 == NULL)
        return -EINVAL;
    *payload = (struct payload){.type = "text",
                                .type_length = strlen("text"),
                                .text = utf8,
                                .length = strlen(utf8),
                                .is_object = true,
                                .is_delta = true};
    length = json_escaped_length(utf8, payload->length);
    if (length < 0)
        return (int)length;
    payload->json_length = (size_t)length + strlen(DELTA_BEFORE DELTA_AFTER);
    return 0;
}

int payload_scope(const char *name, char **member)
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

/* What a scope adds; 0 if the JSON is no object. */
static size_t scope_size(const struct payload *payload, const char *scope)
{
    size_t comma = payload->json_length > strlen("{}") ? strlen(",") : 0;

    return scope && payload->is_object ? strlen(scope) + comma : 0;
}

size_t payload_size(const struct payload *payload, const char *scope)
{
    return payload->json_length + scope_size(payload, scope);
}

static void write_delta(const struct payload *payload, char *json)
{
    memcpy(json, DELTA_BEFORE, strlen(DELTA_BEFORE));
    json += strlen(DELTA_BEFORE);
    json += json_escape(json, payload->text, payload->length);
    memcpy(json, DELTA_AFTER, strlen(DELTA_AFTER));
}

static void write_json(const struct payload *payload, char *json)
{
    if (payload->is_delta)
        write_delta(payload, json);
    else if (payload->json_length == payload->length)
        memcpy(json, payload->text, payload->length);
    else
        json_compact(json, payload->text, payload->length);
}

void payload_write(const struct payload *payload, const char *scope, char *json)
{
    size_t scoped = scope_size(payload, scope);

    write_json(payload, json + scoped);
    if (scoped == 0)
        return;
    json[scoped] = ',';
    json[0] = '{';
    memcpy(json + 1, scope, strlen(scope));
}
