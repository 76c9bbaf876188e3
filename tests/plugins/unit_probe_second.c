/* The second source file of unit_probe and unit_probe_fiber. */
#include "unit_probe.h"

#include <sluice/agent.h>

int probe_second_emit(void);

int probe_second_emit(void)
{
    return emit_event("second", ctx_get(PROBE_MARK));
}
