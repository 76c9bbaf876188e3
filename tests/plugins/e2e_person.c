/*
 * e2e_person: a first plugin, and its author's mistakes. It emits a text, and a person
 * whose name has a quote that is not escaped; "return" in its input: handle() returns
 * what that call returned. "late" in the configuration: selftest() emits, too.
 */
#include "mode.h"

#include <sluice/agent.h>

#include <string.h>

static int emits_in_selftest;

static int create(const char *config, const char *state, void **self)
{
    (void)state;
    (void)self;
    emits_in_selftest = strstr(config, "late") != NULL;
    return 0;
}

static int selftest(void *self)
{
    (void)self;
    return emits_in_selftest ? emit_text("I am well") : 0;
}

static int handle(void *self, const char *input)
{
    int status;

    (void)self;
    emit_text("a person: ");
    status = emit_event("person", "{\"name\":\"O\"Brien\"}");
    emit_event("person", "{\"name\":\"O\"Brien\"}");
    return strstr(input, "return") ? status : 0;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_person"), .version = "1.0",
             .create = create, .selftest = selftest, .handle = handle)
