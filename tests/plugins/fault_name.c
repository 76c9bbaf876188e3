/* A plugin whose name is none. */
#include <sluice/agent.h>

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

AGENT_PLUGIN(.name = "fault/name", .version = "1.0", .handle = handle)
