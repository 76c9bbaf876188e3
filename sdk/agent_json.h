/* SPDX-License-Identifier: MIT */
/*
 * agent_json.h - events from cJSON trees, for plugins that link with cJSON:
 *
 *     cc -shared -fPIC $(pkg-config --cflags sluice libcjson) my.c -o my.so \
 *         $(pkg-config --libs sluice libcjson)
 *
 * Tags, errors and the rule for short names are those of agent.h. If jansson.h was
 * included before this header, the short names json_* stay undefined, because
 * jansson has a json_string() of its own. If jansson.h comes after this header,
 * define AGENT_NO_SHORT_NAMES.
 */
#ifndef SLUICE_AGENT_JSON_H
#define SLUICE_AGENT_JSON_H

#include "agent.h"

#include <cjson/cJSON.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef AGENT_NO_SHORT_NAMES
#define emit_json            agent_emit_json
#define JSON_INTEGER_MAX     AGENT_JSON_INTEGER_MAX
#define JSON_PARSE_DEPTH_MAX AGENT_JSON_PARSE_DEPTH_MAX
#ifndef JANSSON_H
#define json_integer agent_json_integer
#define json_number  agent_json_number
#define json_parse   agent_json_parse
#define json_string  agent_json_string
#endif
#endif

/*
 * Emit the tree as emit_event() does, and always delete it, also on an error. -EINVAL:
 * json is NULL, so that a failed cJSON_Create...() needs no check; -ENOMEM. cJSON does
 * not look at the bytes of a string: a tree with text that is not UTF-8 is refused.
 * [run]
 */
static inline int agent_emit_json(const char *type, cJSON *json)
{
    char *text;
    int status;

    if (json == NULL)
        return emit_event(type, NULL); /* so that the host tells of it */
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    if (text == NULL)
        return -ENOMEM;
    status = emit_event(type, text);
    cJSON_free(text);
    return status;
}

/* Levels that agent_json_parse() accepts: cJSON recurses once a level, and a fiber's stack is
 * small.
 */
#define AGENT_JSON_PARSE_DEPTH_MAX 64

/*
 * Parse a text that others wrote. Return its tree, which the caller deletes, or NULL if
 * the text is not JSON, has more than white space after the JSON, has more than
 * AGENT_JSON_PARSE_DEPTH_MAX levels, or memory is out. [any-thread]
 */
static inline cJSON *agent_json_parse(const char *text)
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
        if (depth > AGENT_JSON_PARSE_DEPTH_MAX)
            return NULL;
    }
    return cJSON_ParseWithOpts(text, NULL, 1);
}

/*
 * Return the string member of a JSON object, such as a run's input or a plugin's
 * configuration, or fallback if the object has no such string. The tree owns the
 * string. [any-thread]
 */
static inline const char *agent_json_string(const cJSON *object, const char *name,
                                            const char *fallback)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsString(member) ? member->valuestring : fallback;
}

/* Return the number member of a JSON object, or fallback. [any-thread] */
static inline double agent_json_number(const cJSON *object, const char *name, double fallback)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(member) ? member->valuedouble : fallback;
}

/* The largest integer that JSON carries exactly in all implementations: 2^53 - 1. */
#define AGENT_JSON_INTEGER_MAX 9007199254740991

/*
 * Return the number member of a JSON object without its fraction; fallback if the object
 * has no such number, or the number is beyond AGENT_JSON_INTEGER_MAX. Use this function
 * where you would cast a number that others wrote: in C, the cast of a double to a type
 * that cannot hold it is undefined. [any-thread]
 */
static inline long long agent_json_integer(const cJSON *object, const char *name,
                                           long long fallback)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    const double most = (double)AGENT_JSON_INTEGER_MAX;

    if (!cJSON_IsNumber(member) || !(member->valuedouble >= -most && member->valuedouble <= most))
        return fallback;
    return (long long)member->valuedouble;
}

#ifdef __cplusplus
}
#endif
#endif
