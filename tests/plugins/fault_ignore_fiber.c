/* fault_ignore in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "fault_ignore_fiber"
#include "fault_ignore.c"
