/* e2e_crash in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_crash_fiber"
#include "e2e_crash.c"
