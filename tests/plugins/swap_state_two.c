/* The agent of swap_state.h, version two. */
#define SWAP_VERSION "two"
#include "swap_state.h"

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "swap_state", .version = SWAP_VERSION, .create = create,
             .handle = handle, .save_state = save_state, .destroy = destroy)
