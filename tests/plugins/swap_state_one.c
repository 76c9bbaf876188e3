/* The agent of swap_state.h, version one. */
#define SWAP_VERSION "one"
#include "swap_state.h"

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "swap_state", .version = SWAP_VERSION, .create = create,
             .handle = handle, .save_state = save_state, .destroy = destroy)
