/*
 * e2e_ctx: shows what an agent can find out about its run and its plugin.
 *
 *     {"get":[KEY,...],"set":{KEY:VALUE,...},"rounds":N}
 *
 *     config {...}                      what create() was given
 *     returns {KEY:STATUS,...}          of ctx_set(), in the input's order
 *     ctx {KEY:VALUE or null,...}       of ctx_get(), once a round, each after a short sleep
 *
 * A value of null in set takes the variable away.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdlib.h>
#include <string.h>

static int create(const char *config, const char *state, void **self)
{
    (void)state;
    *self = strdup(config);
    return *self ? 0 : -ENOMEM;
}

static void destroy(void *self)
{
    free(self);
}

static void set_all(const cJSON *input)
{
    cJSON *returns = cJSON_CreateObject(), *member;

    cJSON_ArrayForEach(member, cJSON_GetObjectItemCaseSensitive(input, "set"))
        cJSON_AddNumberToObject(returns, member->string,
                                ctx_set(member->string, cJSON_GetStringValue(member)));
    emit_json("returns", returns);
}

static int get_all(const cJSON *input)
{
    cJSON *values = cJSON_CreateObject(), *key;

    cJSON_ArrayForEach(key, cJSON_GetObjectItemCaseSensitive(input, "get")) {
        const char *value = ctx_get(key->valuestring);
        cJSON_AddItemToObject(values, key->valuestring,
                              value ? cJSON_CreateString(value) : cJSON_CreateNull());
    }
    return emit_json("ctx", values);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    int status = emit_event("config", self);

    set_all(json);
    for (double n = json_number(json, "rounds", 1); n > 0 && status == 0; n--) {
        status = agent_sleep(2);
        if (status == 0)
            status = get_all(json);
    }
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_ctx"), .version = "1.0",
             .create = create, .handle = handle, .destroy = destroy)
