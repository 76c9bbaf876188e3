/*
 * The plugins of the plugin folder: one deployment for each file, found by the
 * name that clients and operators use. The registry notices files that appear,
 * change and go away, and carries out the operators' commands.
 *
 * A swap: the file is copied (image.h); a new generation starts on the copy,
 * gets the state of the current one, creates and tests itself; only when it is
 * ready does it become current. From then on runs start there; live runs finish
 * where they started, and the old generation is gone when its last run is. If a
 * step fails, the old generation stays current and the reason is kept.
 *
 * Policy: swaps of one plugin happen one after the other; those asked for
 * meanwhile become one, of the file as it is then. At most max_live runs of one
 * plugin run at a time and at most max_queued wait; at most max_generations of
 * one plugin live at a time, and further swaps wait until one has drained.
 */
#ifndef FLEET_REGISTRY_H
#define FLEET_REGISTRY_H

#include "config/config.h"
#include "fleet/deployment.h"
#include "fleet/reply.h"
#include "fleet/watch.h"
#include "run/run.h"

struct registry;

/* settled() is called once, when each plugin of the folder serves or is refused. */
struct registry *registry_create(uv_loop_t *loop, const struct config *config,
                                 void (*settled)(void *data), void *data);

/*
 * Make the folder of what is kept of plugins, and give it to the user that this process
 * will be (base/user.h). -errno.
 */
int registry_give(const struct registry *registry);

/* Start all plugins of the folder and watch it. -errno if it cannot be read. */
int registry_open(struct registry *registry, const char *folder);

/* Tell all workers to leave; stopped() is called when none is left. */
void registry_stop(struct registry *registry, void (*stopped)(void *data));

/* No worker may be left. */
void registry_destroy(struct registry *registry);

/* Fill in how the plugin folder is watched. */
void registry_watch(const struct registry *registry, struct watch_snapshot *out);

bool registry_is_settled(const struct registry *registry);

/* Return the deployment of the agent that clients call so, or NULL. */
struct deployment *registry_find(const struct registry *registry, const char *agent);

/* Return the number of deployments, and each of them, in the order in which they were found. */
/* Return true if the process is a worker that is not reaped yet. */
bool registry_has_process(const struct registry *registry, int pid);

unsigned registry_count(const struct registry *registry);
const struct deployment *registry_deployment(const struct registry *registry, unsigned index);

/* ---- commands of operators ---- */

/*
 * Look at the folder, then swap every plugin whose file or settings have changed. Reply
 * when all swaps are done, with the first error; the reply may be NULL.
 */
void registry_refresh(struct registry *registry, const struct reply *reply);

/* Swap to the plugin's file as it is now. */
void registry_reload(struct registry *registry, const char *name, const struct reply *reply);

/* See deployment_rollback(). */
void registry_rollback(struct registry *registry, const char *name, uint64_t generation,
                       const struct reply *reply);

/* Return false if rollback and drain hold only until the server stops. */
bool registry_keeps(const struct registry *registry);

/* Take no runs of the plugin until it is reloaded. */
void registry_drain(struct registry *registry, const char *name, const struct reply *reply);

#endif
