/*
 * One plugin: loaded, checked, created, tested. Whatever refuses it says at
 * which step and why, in words for its operator: the file, what was wanted and
 * what was found.
 *
 * libltdl is not thread safe: one thread opens plugins.
 */
#ifndef WORKER_PLUGIN_H
#define WORKER_PLUGIN_H

#include "agent.h"

struct plugin_refusal {
    const char *step; /* open, entry, abi, create or selftest */
    char reason[1024];
};

struct plugin;

/*
 * Steps open, entry and abi. path is what is loaded, file what the operator
 * calls it. -EINVAL and the refusal.
 */
int plugin_open(const char *path, const char *file, const struct agent_host *host,
                struct plugin **out, struct plugin_refusal *refusal);

/* Steps create and selftest; config is JSON, state is JSON or NULL. */
int plugin_create(struct plugin *plugin, const char *config, const char *state,
                  struct plugin_refusal *refusal);

/* What it declared; host's ABI, members it does not have are zero. */
const struct agent_plugin *plugin_info(const struct plugin *plugin);

/* Its handle() with its self. */
int plugin_handle(const struct plugin *plugin, const char *input);

/* Its state as JSON without white space, to be freed; NULL if it has none, or none that is fit. */
char *plugin_save_state(const struct plugin *plugin, size_t most);

/* Calls its destroy() if it was created; the code stays mapped. NULL is fine. */
void plugin_destroy(struct plugin *plugin);

#endif
