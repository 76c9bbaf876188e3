/*
 * e2e_flood: emits count events of so many bytes each, as fast as it can.
 *
 *     {"count":N,"bytes":B}  ->  flood {"n":1,"pad":"xxx"} ... {"n":N,"pad":"xxx"}
 *
 * Then its result is {"emitted":N}.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int flood(unsigned count, char *json, size_t bytes)
{
    char result[64];
    int status = 0;

    for (unsigned n = 1; n <= count && status == 0; n++) {
        int length = sprintf(json, "{\"n\":%u,\"pad\":\"", n);
        size_t pad = bytes > (size_t)length + 2 ? bytes - (size_t)length - 2 : 0;
        memset(json + length, 'x', pad);
        strcpy(json + (size_t)length + pad, "\"}");
        status = emit_event("flood", json);
    }
    if (status < 0)
        return status;
    snprintf(result, sizeof result, "{\"emitted\":%u}", count);
    return run_result(result);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    size_t bytes = (size_t)json_number(json, "bytes", 1000);
    unsigned count = (unsigned)json_number(json, "count", 1000);
    char *space = malloc(bytes + 64);
    int status = space ? flood(count, space, bytes) : -ENOMEM;

    (void)self;
    free(space);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_flood"), .version = "1.0",
             .handle = handle)
