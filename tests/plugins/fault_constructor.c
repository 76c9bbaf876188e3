/* A plugin that crashes while it is being loaded. */
#include <sluice/agent.h>

static int *volatile nowhere;

__attribute__((constructor)) static void crash(void)
{
    *nowhere = 1;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

AGENT_PLUGIN(.name = "fault_constructor", .version = "1.0", .handle = handle)
