/* cost in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "cost_fiber"
#include "cost.c"
