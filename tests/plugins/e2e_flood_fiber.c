/* e2e_flood in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_flood_fiber"
#include "e2e_flood.c"
