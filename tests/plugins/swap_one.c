/* The agent of swap.h, version one. */
#define SWAP_VERSION "one"
#include "swap.h"

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "swap", .version = SWAP_VERSION, .create = create,
             .handle = handle)
