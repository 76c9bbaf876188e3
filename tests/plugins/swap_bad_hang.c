/* A version of the agent of swap.h whose create() never returns. */
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
    return emit_text("this version must not serve");
}

AGENT_PLUGIN(.name = "swap", .version = "bad", .create = create, .handle = handle)
