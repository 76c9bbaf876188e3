/* The fleet's snapshots as JSON, for operators and for clients. */
#ifndef OPS_REPORT_H
#define OPS_REPORT_H

#include "base/json_writer.h"
#include "fleet/registry.h"

/* Write the member "plugins" with all facts, for `sluice list`. */
void report_plugins(const struct registry *registry, struct json_writer *json);

/* Write the member "folder": the plugin folder, and how its changes are noticed. */
void report_folder(const struct registry *registry, struct json_writer *json);

/* Append the answer to GET /agents: {"agents":[...]}. */
void report_agents(const struct registry *registry, struct buf *out);

/*
 * Append the answer to GET /agents/NAME: name, state, and what its current generation is and
 * declares.
 */
void report_agent_card(const struct deployment *deployment, struct buf *out);

#endif
