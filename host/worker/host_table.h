/* The host's side of agent.h: the table of functions that plugins call. */
#ifndef WORKER_HOST_TABLE_H
#define WORKER_HOST_TABLE_H

#include "agent.h"

#include <stddef.h>
#include <stdint.h>

const struct agent_host *host_table(void);

/* How often the plugin emitted outside of a run. */
uint64_t host_table_stray_emits(void);

/* Copies what the plugin last logged on this thread as an error outside of a run, or "". */
void host_table_last_error(char *text, size_t size);

#endif
