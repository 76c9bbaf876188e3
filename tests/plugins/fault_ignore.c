/*
 * fault_ignore: a run that does not care whether it is cancelled. First it
 * emits worker {"pid":P}.
 *
 *     {"how":"ignore"}                        goes on for ever
 *     {"how":"ticks","count":N,"period_ms":M} emits tick {"n":1}, ..., and heeds what is returned
 *
 * On a thread it does nothing but sleep in the kernel; a fiber cannot do
 * that, and calls the host, but never looks at what is returned.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile int for_ever = 1;

static void go_on(void)
{
    while (for_ever) {
        if (PLUGIN_MODE == AGENT_FIBER)
            agent_sleep(10);
        else
            usleep(10000);
    }
}

static int tick(unsigned count, uint32_t period_ms)
{
    char json[32];
    int status = 0;

    for (unsigned n = 1; n <= count && status == 0; n++) {
        status = agent_sleep(period_ms);
        snprintf(json, sizeof json, "{\"n\":%u}", n);
        if (status == 0)
            status = emit_event("tick", json);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    unsigned count = (unsigned)json_number(json, "count", 1);
    uint32_t period_ms = (uint32_t)json_number(json, "period_ms", 10);
    int ignores = strcmp(json_string(json, "how", ""), "ignore") == 0;
    char worker[32];

    (void)self;
    cJSON_Delete(json);
    snprintf(worker, sizeof worker, "{\"pid\":%d}", (int)getpid());
    emit_event("worker", worker);
    if (ignores)
        go_on();
    return tick(count, period_ms);
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("fault_ignore"), .version = "1.0",
             .handle = handle)
