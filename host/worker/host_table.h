/* The host's side of agent.h: the table of functions that plugins call. The same for the test
 * library. */
#ifndef WORKER_HOST_TABLE_H
#define WORKER_HOST_TABLE_H

#include "agent.h"

#include <stddef.h>
#include <stdint.h>

const struct agent_host *host_table(void);

/* Return how often the plugin emitted outside of a run. refused_count() counts those, too. */
uint64_t host_table_stray_emits(void);

/*
 * Append ": TEXT" to a reason, where TEXT is what the plugin last logged on this
 * thread as an error outside of a run; nothing if there is none.
 */
struct why;
void host_table_add_last_error(struct why *why);
void host_table_forget_error(void);

/* Give what plugins log to this function, on their thread, in place of the host's log. */
void host_table_set_log(void (*log)(enum agent_log_level level, const char *text));

#endif
