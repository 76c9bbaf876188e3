/*
 * An agent as the front serves it: the generations of one plugin file, the
 * runs that wait for it, and how one generation takes over from another; see
 * registry.h for the steps.
 */
#ifndef FLEET_DEPLOYMENT_H
#define FLEET_DEPLOYMENT_H

#include "config/config.h"
#include "fleet/registry.h"
#include "run/run.h"

struct agent;

struct agent_handler {
    /* Whether the plugin may have this name; if not, the reason is for people. */
    bool (*may_be_called)(void *data, const struct agent *agent, const char *name, char *reason,
                          size_t size);
    /* It serves or is refused; also after each later swap. */
    void (*settled)(void *data);
    /* None of its workers is left. */
    void (*emptied)(void *data);
};

/* Of a file that may not exist yet. The configuration may change its content, not its place. */
struct agent *agent_create(uv_loop_t *loop, const struct config *config, const char *file,
                           const struct agent_handler *handler, void *data);

/* When it is empty. */
void agent_destroy(struct agent *agent);

const char *agent_file(const struct agent *agent);

/* What clients call it: the plugin's name, or the file's before the plugin was loaded. */
const char *agent_name(const struct agent *agent);
bool agent_is_loaded(const struct agent *agent);

/* Whether its first generation is still being started. */
bool agent_is_starting(const struct agent *agent);

/* Whether its file is gone: it is no agent for clients any more. */
bool agent_is_removed(const struct agent *agent);

/* Whether it has no worker. */
bool agent_is_empty(const struct agent *agent);

/* See registry.h. */
int agent_admit(struct agent *agent, char *reason, size_t size);
void agent_submit(struct agent *agent, struct run *run);

/*
 * Swaps if the file or the settings changed, and replies then: true; drains if
 * the file is gone.
 */
bool agent_refresh(struct agent *agent, const struct registry_reply *reply);

/* Tries again if it is refused. */
void agent_retry(struct agent *agent);

/* The reply may be NULL, here and above. */
void agent_reload(struct agent *agent, const struct registry_reply *reply);
void agent_rollback(struct agent *agent, const struct registry_reply *reply);
void agent_drain(struct agent *agent);

/* All workers quit, for good. */
void agent_stop(struct agent *agent);

/* Appends an object of GET /agents, and one of the operator's report. */
void agent_describe(const struct agent *agent, struct buf *json);
void agent_report(const struct agent *agent, struct buf *json);

#endif
