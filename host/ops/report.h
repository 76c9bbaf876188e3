/* JSON of what the fleet does, made of its snapshots: for operators and for clients. */
#ifndef OPS_REPORT_H
#define OPS_REPORT_H

#include "base/json_writer.h"
#include "fleet/registry.h"

/* Write the member "plugins" with all that is known: what `sluice list --json` prints. */
void report_plugins(const struct registry *registry, struct json_writer *json);

/* Append what GET /agents answers: {"agents":[...]}. */
void report_agents(const struct registry *registry, struct buf *out);

#endif
