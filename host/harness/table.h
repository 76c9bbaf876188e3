/* The table of functions that the plugin calls, on the test's side. */
#ifndef HARNESS_TABLE_H
#define HARNESS_TABLE_H

#include "agent.h"

const struct agent_host *table_host(void);

#endif
