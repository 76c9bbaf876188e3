/* A plugin that left out what is required. */
#include <sluice/agent.h>

AGENT_PLUGIN(.name = "fault_handle", .version = "1.0")
