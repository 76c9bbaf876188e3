/* e2e_http in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "e2e_http_fiber"
#include "e2e_http.c"
