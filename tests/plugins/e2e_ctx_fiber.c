/* e2e_ctx in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_ctx_fiber"
#include "e2e_ctx.c"
