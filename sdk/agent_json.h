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
