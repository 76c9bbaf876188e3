/* A version of the agent of swap.h that crashes in create(). */
#include <sluice/agent.h>

static int *volatile nowhere;

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    *nowhere = 1;
    return 0;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return emit_text("this version must not serve");
}

AGENT_PLUGIN(.name = "swap", .version = "bad", .create = create, .handle = handle)
