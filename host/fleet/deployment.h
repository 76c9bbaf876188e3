/*
 * An agent as the front serves it: the generations of one plugin file, the
 * runs that wait for it, and how one generation takes over from another; see
 * registry.h for the steps.
 */
#ifndef FLEET_DEPLOYMENT_H
#define FLEET_DEPLOYMENT_H

#include "config/config.h"
#include "fleet/reply.h"
#include "run/run.h"

struct deployment;

struct deployment_handler {
    /* Whether the plugin may have this name; if not, the reason is for people. */
    bool (*may_be_called)(void *data, const struct deployment *deployment, const char *name,
                          char *reason, size_t size);
    /* It serves or is refused; also after each later swap. */
    void (*settled)(void *data);
    /* None of its workers is left. */
    void (*emptied)(void *data);
};

/* Of a file that may not exist yet. The configuration may change its content, not its place. */
struct deployment *deployment_create(uv_loop_t *loop, const struct config *config, const char *file,
                                     const struct deployment_handler *handler, void *data);

/* When it is empty. */
void deployment_destroy(struct deployment *deployment);

const char *deployment_file(const struct deployment *deployment);

/* What clients call it: the plugin's name, or the file's before the plugin was loaded. */
const char *deployment_name(const struct deployment *deployment);
bool deployment_is_loaded(const struct deployment *deployment);

/* Whether its first generation is still being started. */
bool deployment_is_starting(const struct deployment *deployment);

/* Whether its file is gone: it is no agent for clients any more. */
bool deployment_is_removed(const struct deployment *deployment);

/* Whether it has no worker. */
bool deployment_is_empty(const struct deployment *deployment);

/* Return the plugin's settings, found anew when its name or the configuration changes. */
const struct config_plugin *deployment_settings(const struct deployment *deployment);

/* Return 0 if a run may start or wait here; -EAGAIN: the queue is full; -ENODEV: it cannot serve.
 */
int deployment_admit(struct deployment *deployment);

/* Return why it cannot serve, for people. */
const char *deployment_reason(const struct deployment *deployment);

/* Start the run, which deployment_admit() admitted, as soon as a worker has room. */
void deployment_submit(struct deployment *deployment, struct run *run);

/*
 * Swaps if the file or the settings changed, and replies then: true; drains if
 * the file is gone.
 */
bool deployment_refresh(struct deployment *deployment, const struct reply *reply);

/* Tries again if it is refused. */
void deployment_retry(struct deployment *deployment);

/* The reply may be NULL, here and above. */
void deployment_reload(struct deployment *deployment, const struct reply *reply);
void deployment_rollback(struct deployment *deployment, const struct reply *reply);
void deployment_drain(struct deployment *deployment);

/* All workers quit, for good. */
void deployment_stop(struct deployment *deployment);

/* Appends an object of GET /agents, and one of the operator's report. */
void deployment_describe(const struct deployment *deployment, struct buf *json);
void deployment_report(const struct deployment *deployment, struct buf *json);

#endif
