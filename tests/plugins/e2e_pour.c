/*
 * e2e_pour: text and marks, as fast as they can be emitted, once it is told to begin.
 *
 *     {"count":N,"every":E,"bytes":B}
 *
 * It emits ready {} and waits for one input. Then piece K of N is the event
 *
 *     mark {"n":K,"pad":"xxx"}  of B bytes, if E divides K
 *     text {"delta":"K "}       otherwise
 *
 * and its result is {"poured":N}.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int pour(unsigned count, unsigned every, char *space, size_t bytes)
{
    char text[16];
    int status = 0;

    for (unsigned k = 1; k <= count && status == 0; k++) {
        if (k % every == 0) {
            int length = sprintf(space, "{\"n\":%u,\"pad\":\"", k);
            size_t pad = bytes > (size_t)length + 2 ? bytes - (size_t)length - 2 : 0;
            memset(space + length, 'x', pad);
            strcpy(space + (size_t)length + pad, "\"}");
            status = emit_event("mark", space);
        } else {
            snprintf(text, sizeof text, "%u ", k);
            status = emit_text(text);
        }
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    unsigned count = (unsigned)json_number(json, "count", 1000);
    unsigned every = (unsigned)json_number(json, "every", 1);
    size_t bytes = (size_t)json_number(json, "bytes", 0);
    char *space = malloc(bytes + 64), result[32];
    const char *begin;
    int status;

    (void)self;
    cJSON_Delete(json);
    emit_event("ready", "{}");
    status = space ? run_input(AGENT_FOREVER, &begin) : -ENOMEM;
    if (status == 0)
        status = pour(count, every, space, bytes);
    free(space);
    snprintf(result, sizeof result, "{\"poured\":%u}", count);
    run_result(result);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_pour"), .version = "1.0",
             .handle = handle)
