/* The agent of swap.h, version two. */
#define SWAP_VERSION "two"
#include "swap.h"

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "swap", .version = SWAP_VERSION, .create = create,
             .handle = handle)
