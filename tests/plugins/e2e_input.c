/*
 * e2e_input: hears what clients say to its run.
 *
 *     {"count":N,"timeout_ms":T,"gate":PATH,"hold":PATH}
 *
 * It emits ready {}, waits until there is a file PATH, if one is named, and
 * then calls run_input() N times. T is its timeout, none if it is negative or
 * missing. Before each call it emits ask {"n":K}, behind it
 *
 *     heard {"n":K,"status":STATUS,"json":what it got, or null}
 *
 * It ends at the first call that was cancelled, which it logs; else when there
 * is a file PATH of hold, if one is named.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int wait_at_gate(const char *path)
{
    int status = 0;

    while (path && access(path, F_OK) < 0 && status == 0)
        status = agent_sleep(2);
    return status;
}

static void report(unsigned n, int status, const char *json)
{
    cJSON *heard = cJSON_CreateObject();

    cJSON_AddNumberToObject(heard, "n", n);
    cJSON_AddNumberToObject(heard, "status", status);
    cJSON_AddItemToObject(heard, "json", status == 0 ? cJSON_CreateRaw(json) : cJSON_CreateNull());
    emit_json("heard", heard);
}

static int hear(unsigned n, uint32_t timeout_ms)
{
    const char *json = NULL;
    char ask[32];
    int status;

    snprintf(ask, sizeof ask, "{\"n\":%u}", n);
    emit_event("ask", ask);
    status = run_input(timeout_ms, &json);
    if (status == -ECANCELED)
        agent_log(AGENT_LOG_INFO, "run_input() is cancelled, run_cancelled() says %d",
                  run_cancelled());
    else
        report(n, status, json);
    return status == -ECANCELED ? status : 0;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    double timeout = json_number(json, "timeout_ms", -1);
    unsigned count = (unsigned)json_number(json, "count", 1);
    int status;

    (void)self;
    emit_event("ready", "{}");
    status = wait_at_gate(json_string(json, "gate", NULL));
    for (unsigned n = 1; n <= count && status == 0; n++)
        status = hear(n, timeout < 0 ? AGENT_FOREVER : (uint32_t)timeout);
    if (status == 0)
        status = wait_at_gate(json_string(json, "hold", NULL));
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_input"), .version = "1.0",
             .handle = handle)
