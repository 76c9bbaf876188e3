/*
 * Each tool is an ordinary function that makes a text for the model. Tools compute
 * on the thread that runs all fibers: a search takes some milliseconds, during which
 * no other run of the worker goes on. A tool may wait only in the calls of agent.h
 * and agent_http.h.
 */
#include "tools.h"

#include "index.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PASSAGES 5

struct tools {
    struct index *index; /* NULL without documents */
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

static int search_documents(void *arg, const cJSON *arguments, char **result)
{
    const struct tools *tools = arg;
    const char *query = json_string(arguments, "query", "");
    struct findings findings = {.count = 0};

    if (is_blank(query))
        *result = complain("error: ", "query must be a string with words to search for");
    else if (index_search(tools->index, query, PASSAGES, &findings) < 0)
        *result = complain("error: ", "the search failed");
    else if (findings.count == 0)
        *result = complain("the documents say nothing about ", query);
    else
        *result = findings_json(&findings);
    findings_finish(&findings);
    return *result ? 0 : -ENOMEM;
}

/* ---- current_time ------------------------------------------------------- */

static int current_time(void *arg, const cJSON *arguments, char **result)
{
    time_t now = time(NULL);
    struct tm utc;
    char text[64];

    (void)arg, (void)arguments;
    gmtime_r(&now, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ, a %A", &utc);
    *result = strdup(text);
    return *result ? 0 : -ENOMEM;
}

/* ---- the table ---------------------------------------------------------- */

/* Without documents the first is left out. */
static const struct agent_llm_tool all[] = {
    {"search_documents",
     "Searches the documents of this machine and returns the passages that fit best, each with "
     "its file and line.",
     "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\",\"description\":"
     "\"a question, or words to search for\"}},\"required\":[\"query\"]}",
     search_documents, 0},
    {"current_time", "Returns the date, the time in UTC, and the day of the week.", NULL,
     current_time, 0},
    {0},
};

int tools_create(const char *documents, struct tools **out, char *error, size_t error_size)
{
    struct tools *tools = calloc(1, sizeof(*tools));
    int status = tools ? 0 : -ENOMEM;

    if (status == 0 && *documents)
        status = index_create(documents, &tools->index, error, error_size);
    if (status < 0)
        free(tools);
    else
        *out = tools;
    return status;
}

void tools_destroy(struct tools *tools)
{
    if (tools)
        index_destroy(tools->index);
    free(tools);
}

const struct agent_llm_tool *tools_list(const struct tools *tools)
{
    return tools->index ? all : all + 1;
}
