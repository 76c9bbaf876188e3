/* fault_cancel in fiber mode. */
#define MODE AGENT_FIBER
#define NAME "fault_cancel_fiber"
#include "fault_cancel.c"
