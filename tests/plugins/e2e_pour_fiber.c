/* e2e_pour in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_pour_fiber"
#include "e2e_pour.c"
