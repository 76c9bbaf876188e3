/*
 * e2e_chat: `chat` with tools that tests need, in the other mode.
 *
 *     meet {"count":N}   returns when so many calls have come, or after a long time
 *     wait {"ms":N}      sleeps
 *     say {"text":S}     returns S
 *     nothing {}         fails: out of memory
 *
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#define CHAT_MODE PLUGIN_MODE
#define CHAT_NAME PLUGIN_NAME("e2e_chat")

#include "../../plugins/chat.c"

#include <stdatomic.h>

struct tools {
    cJSON *list;
};

static const char *const names[] = {"meet", "wait", "say", "nothing"};

int tools_create(const char *documents, struct tools **out, char *error, size_t error_size)
{
    (void)documents, (void)error, (void)error_size;
    *out = calloc(1, sizeof(**out));
    (*out)->list = cJSON_CreateArray();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        cJSON *tool = cJSON_CreateObject();
        cJSON_AddStringToObject(tool, "type", "function");
        cJSON_AddStringToObject(cJSON_AddObjectToObject(tool, "function"), "name", names[i]);
        cJSON_AddItemToArray((*out)->list, tool);
    }
    return 0;
}

void tools_destroy(struct tools *tools)
{
    cJSON_Delete(tools->list);
    free(tools);
}

const cJSON *tools_list(const struct tools *tools)
{
    return tools->list;
}

static char *meet(int count)
{
    static atomic_int come;
    char text[32];

    atomic_fetch_add(&come, 1);
    for (int n = 0; n < 1500 && atomic_load(&come) < count; n++) {
        if (agent_sleep(2) < 0)
            return strdup("cancelled");
    }
    snprintf(text, sizeof text, "met %d", atomic_load(&come));
    return strdup(text);
}

char *tools_call(const struct tools *tools, const char *name, const char *arguments)
{
    cJSON *json = json_parse(arguments);
    char *text = NULL;

    (void)tools;
    if (strcmp(name, "meet") == 0)
        text = meet((int)json_number(json, "count", 1));
    else if (strcmp(name, "wait") == 0)
        text = strdup(agent_sleep((uint32_t)json_number(json, "ms", 0)) < 0 ? "cancelled" : "ok");
    else if (strcmp(name, "say") == 0)
        text = strdup(json_string(json, "text", ""));
    cJSON_Delete(json);
    return text;
}
