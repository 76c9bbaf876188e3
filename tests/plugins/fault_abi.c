/* A plugin of an ABI that is to come; so its entry is written by hand. */
#include <sluice/agent.h>

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

__attribute__((visibility("default"))) const struct agent_plugin *
agent_plugin_entry(const struct agent_host *host);

const struct agent_plugin *agent_plugin_entry(const struct agent_host *host)
{
    static const struct agent_plugin plugin = {.size = sizeof plugin,
                                               .abi = 7u << 16 | 3,
                                               .name = "fault_abi",
                                               .version = "1.0",
                                               .handle = handle};

    agent_host_table = host;
    return &plugin;
}
