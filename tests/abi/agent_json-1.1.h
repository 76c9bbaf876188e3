/*
 * agent_json.h - events from cJSON trees; for plugins that link with cJSON:
 *
 *     cc -shared -fPIC $(pkg-config --cflags sluice libcjson) my.c -o my.so \
 *         $(pkg-config --libs libcjson)
 *
 * Tags and errors are those of agent.h.
 */
#ifndef SLUICE_AGENT_JSON_H
#define SLUICE_AGENT_JSON_H

#include "agent.h"

#include <cjson/cJSON.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Emits the tree as emit_event() does, and always deletes it, whatever the
 * result. -EINVAL for NULL, so that a failed cJSON_Create...() needs no check;
 * -ENOMEM. [run]
 */
static inline int emit_json(const char *type, cJSON *json)
{
    char *text;
    int status;

    if (json == NULL)
        return -EINVAL;
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        return -ENOMEM;
    status = emit_event(type, text);
    cJSON_free(text);
    return status;
}

/* Levels that json_parse() takes: cJSON calls itself once a level, on a fiber's small stack. */
#define JSON_PARSE_DEPTH_MAX 64

/*
 * The tree of a text that comes from others, with nothing but white space
 * behind it; NULL if it is not JSON, has more than JSON_PARSE_DEPTH_MAX levels,
 * or memory is out. The caller deletes it. [any-thread]
 */
static inline cJSON *json_parse(const char *text)
{
    int depth = 0, in_string = 0;
    const char *at;

    for (at = text; *at; at++) {
        if (in_string && *at == '\\' && at[1])
            at++;
        else if (*at == '"')
            in_string = !in_string;
        else if (!in_string && (*at == '{' || *at == '['))
            depth++;
        else if (!in_string && (*at == '}' || *at == ']'))
            depth--;
        if (depth > JSON_PARSE_DEPTH_MAX)
            return NULL;
    }
    return cJSON_ParseWithOpts(text, NULL, 1);
}

/*
 * The string member of a JSON object, such as a run's input or a plugin's
 * configuration; fallback if it has none. It is owned by the tree. [any-thread]
 */
static inline const char *json_string(const cJSON *object, const char *name, const char *fallback)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(member) ? member->valuestring : fallback;
}

/* As json_string(), for a number. [any-thread] */
static inline double json_number(const cJSON *object, const char *name, double fallback)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(member) ? member->valuedouble : fallback;
}

#ifdef __cplusplus
}
#endif
#endif
