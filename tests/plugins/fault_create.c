/* A plugin whose create() fails and says why. */
#include <sluice/agent.h>

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    agent_log(AGENT_LOG_ERROR, "the index /srv/%s is not there", "books");
    return -ENOENT;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

AGENT_PLUGIN(.name = "fault_create", .version = "1.0", .create = create, .handle = handle)
