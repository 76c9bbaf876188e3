/* thread_bind in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "thread_bind_fiber"
#include "thread_bind.c"
