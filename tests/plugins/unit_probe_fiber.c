/* unit_probe in fiber mode. */
#define PROBE_MODE AGENT_FIBER
#define PROBE_NAME "unit_probe_fiber"
#include "unit_probe.c"
