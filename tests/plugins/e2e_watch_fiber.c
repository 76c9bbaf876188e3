/* e2e_watch in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_watch_fiber"
#include "e2e_watch.c"
