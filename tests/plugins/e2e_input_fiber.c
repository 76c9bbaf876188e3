/* e2e_input in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_input_fiber"
#include "e2e_input.c"
