/*
 * A plugin that calls a function which nobody defines, and only in a run: bound
 * lazily, it would load. Linked without -z defs, -z now and -no-undefined.
 */
#include <sluice/agent.h>

void fault_symbol_that_is_missing(void);

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    fault_symbol_that_is_missing();
    return 0;
}

AGENT_PLUGIN(.name = "fault_symbol", .version = "1.0", .handle = handle)
