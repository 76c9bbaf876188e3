/* A version of the agent of swap.h that is ready to serve, and dies of each run. */
#include <sluice/agent.h>

#include <stdlib.h>

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    abort();
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "swap", .version = "bad", .handle = handle)
