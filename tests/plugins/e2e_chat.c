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

static int call_meet(void *arg, const cJSON *arguments, char **result)
{
    (void)arg;
    *result = meet((int)json_number(arguments, "count", 1));
    return 0;
}

static int call_wait(void *arg, const cJSON *arguments, char **result)
{
    (void)arg;
    *result =
        strdup(agent_sleep((uint32_t)json_number(arguments, "ms", 0)) < 0 ? "cancelled" : "ok");
    return 0;
}

static int call_say(void *arg, const cJSON *arguments, char **result)
{
    (void)arg;
    *result = strdup(json_string(arguments, "text", ""));
    return 0;
}

static int call_nothing(void *arg, const cJSON *arguments, char **result)
{
    (void)arg, (void)arguments, (void)result;
    return -ENOMEM;
}

static const struct agent_llm_tool all[] = {{"meet", NULL, NULL, call_meet, 0},
                                            {"wait", NULL, NULL, call_wait, 0},
                                            {"say", NULL, NULL, call_say, 0},
                                            {"nothing", NULL, NULL, call_nothing, 0},
                                            {0}};

int tools_create(const char *documents, struct tools **out, char *error, size_t error_size)
{
    (void)documents, (void)error, (void)error_size;
    *out = NULL;
    return 0;
}

void tools_destroy(struct tools *tools)
{
    (void)tools;
}

const struct agent_llm_tool *tools_list(const struct tools *tools)
{
    (void)tools;
    return all;
}
