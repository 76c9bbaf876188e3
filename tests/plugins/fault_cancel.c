/*
 * fault_cancel: a run that ignores cancellation and emits for ever:
 * {"how":"ignore"}, else it emits ready {} and finishes.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent.h>

#include <string.h>
#include <unistd.h>

/* A fiber that never parks stalls its loop. */
static void nap(void)
{
    if (PLUGIN_MODE == AGENT_FIBER)
        agent_sleep(10);
    else
        usleep(10000);
}

static int handle(void *self, const char *input)
{
    int ignores = strstr(input, "\"ignore\"") != NULL;

    (void)self;
    emit_event("ready", "{}");
    while (ignores) {
        nap();
        emit_event("tick", "{}");
    }
    return 0;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("fault_cancel"), .version = "1.0",
             .handle = handle)
