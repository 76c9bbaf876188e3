/* A plugin whose create() never returns. */
#include <sluice/agent.h>

#include <unistd.h>

static volatile int for_ever = 1;

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    while (for_ever)
        pause();
    return 0;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

AGENT_PLUGIN(.name = "fault_hang", .version = "1.0", .create = create, .handle = handle)
