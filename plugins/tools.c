/*
 * Each tool is an ordinary function that returns a text for the model. Tools compute
 * on the thread that runs all fibers: a search takes some milliseconds, during which
 * no other run of the worker goes on. A tool may wait only in the calls of agent.h
 * and agent_http.h.
 */
#include "tools.h"

#include "index.h"
#include "text.h"

#include <sluice/agent_json.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PASSAGES 5

struct tools {
    struct index *index; /* NULL without documents */
    cJSON *list;
};

struct tool {
    const char *name;
    const char *description;
    const char *parameters; /* JSON Schema */
    bool needs_documents;
    char *(*call)(const struct tools *tools, const cJSON *arguments);
};

static char *complain(const char *what, const char *which)
{
    struct text text = {0};

    text_add(&text, what);
    text_add(&text, which);
    return text_take(&text);
}

/* ---- search_documents --------------------------------------------------- */

static cJSON *passage_json(const struct passage *passage)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "file", passage->file);
    cJSON_AddNumberToObject(json, "line", passage->line);
    cJSON_AddStringToObject(json, "title", passage->title);
    cJSON_AddStringToObject(json, "heading", passage->heading);
    cJSON_AddStringToObject(json, "text", passage->text);
    return json;
}

static char *findings_json(const struct findings *findings)
{
    cJSON *json = cJSON_CreateArray();
    char *text;

    for (size_t i = 0; i < findings->count; i++)
        cJSON_AddItemToArray(json, passage_json(&findings->passages[i]));
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

static char *search_documents(const struct tools *tools, const cJSON *arguments)
{
    const char *query = json_string(arguments, "query", "");
    struct findings findings = {.count = 0};
    char *text;

    if (is_blank(query))
        return complain("error: ", "query must be a string with words to search for");
    if (index_search(tools->index, query, PASSAGES, &findings) < 0)
        return complain("error: ", "the search failed");
    text = findings.count > 0 ? findings_json(&findings)
                              : complain("the documents say nothing about ", query);
    findings_finish(&findings);
    return text;
}

/* ---- current_time ------------------------------------------------------- */

static char *current_time(const struct tools *tools, const cJSON *arguments)
{
    time_t now = time(NULL);
    struct tm utc;
    char text[64];

    (void)tools, (void)arguments;
    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ, a %A", &utc);
    return strdup(text);
}

/* ---- the table ---------------------------------------------------------- */

static const struct tool all[] = {
    {"search_documents",
     "Searches the documents of this machine and returns the passages that fit best, each with "
     "its file and line.",
     "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\",\"description\":"
     "\"a question, or words to search for\"}},\"required\":[\"query\"]}",
     true, search_documents},
    {"current_time", "Returns the date, the time in UTC, and the day of the week.",
     "{\"type\":\"object\",\"properties\":{}}", false, current_time},
};

static cJSON *tool_json(const struct tool *tool)
{
    cJSON *json = cJSON_CreateObject(), *function = cJSON_AddObjectToObject(json, "function");

    cJSON_AddStringToObject(json, "type", "function");
    cJSON_AddStringToObject(function, "name", tool->name);
    cJSON_AddStringToObject(function, "description", tool->description);
    cJSON_AddItemToObject(function, "parameters", cJSON_Parse(tool->parameters));
    return json;
}

static bool is_offered(const struct tools *tools, const struct tool *tool)
{
    return !tool->needs_documents || tools->index;
}

int tools_create(const char *documents, struct tools **out, char *error, size_t error_size)
{
    struct tools *tools = calloc(1, sizeof(*tools));
    int status = tools ? 0 : -ENOMEM;

    if (status == 0 && *documents)
        status = index_create(documents, &tools->index, error, error_size);
    if (status < 0) {
        free(tools);
        return status;
    }
    tools->list = cJSON_CreateArray();
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (is_offered(tools, &all[i]))
            cJSON_AddItemToArray(tools->list, tool_json(&all[i]));
    *out = tools;
    return 0;
}

void tools_destroy(struct tools *tools)
{
    if (tools == NULL)
        return;
    cJSON_Delete(tools->list);
    index_destroy(tools->index);
    free(tools);
}

const cJSON *tools_list(const struct tools *tools)
{
    return tools->list;
}

char *tools_call(const struct tools *tools, const char *name, const char *arguments)
{
    const struct tool *tool = NULL;
    cJSON *json;
    char *content;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i].name, name) == 0 && is_offered(tools, &all[i]))
            tool = &all[i];
    if (tool == NULL)
        return complain("error: there is no tool ", name);
    json = json_parse(arguments);
    content = cJSON_IsObject(json)
                  ? tool->call(tools, json)
                  : complain("error: the arguments must be a JSON object, not ", arguments);
    cJSON_Delete(json);
    return content;
}
