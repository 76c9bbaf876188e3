/* e2e_llm in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_llm_fiber"
#include "e2e_llm.c"
