/* The table of functions that the plugin calls, on the test's side. */
#ifndef TESTING_TABLE_H
#define TESTING_TABLE_H

#include "agent.h"

const struct agent_host *table_host(void);

#endif
