/* A version of the agent of swap.h whose create() fails and says why. */
#include <sluice/agent.h>

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    agent_log(AGENT_LOG_ERROR, "the model %s is not there", "tiny");
    return -ENOENT;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return emit_text("this version must not serve");
}

AGENT_PLUGIN(.name = "swap", .version = "bad", .create = create, .handle = handle)
