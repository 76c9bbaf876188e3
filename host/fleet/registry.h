/*
 * The plugins of the plugin folder: which generation is current, which ones
 * drain, what happens when a file or a setting changes.
 *
 * A swap, step by step: the file is copied (image.h); a new generation starts
 * on the copy, gets the state of the current one, creates and tests itself;
 * only when it is ready does it become current. Runs then start there, those
 * that run finish where they started, and the old generation is gone when its
 * last run is. Whatever fails on the way, the old generation stays current and
 * the reason is kept.
 *
 * Swaps of one plugin happen one after the other; those that are asked for
 * while one is under way become one, of the file as it is then.
 *
 * Policy: at most max_live runs of one plugin run at a time, and at most
 * max_queued wait while that is so or none of its workers has room; at most
 * max_generations of one plugin live at a time, further swaps wait until one has
 * drained.
 */
#ifndef FLEET_REGISTRY_H
#define FLEET_REGISTRY_H

#include "config/config.h"
#include "fleet/deployment.h"
#include "fleet/reply.h"
#include "run/run.h"

struct registry;

/* settled: each plugin serves or is refused for the first time. */
struct registry *registry_create(uv_loop_t *loop, const struct config *config,
                                 void (*settled)(void *data), void *data);

/* Starts all plugins of the folder and watches it. -errno if it cannot be read. */
int registry_open(struct registry *registry, const char *folder);

/* Tells all workers to leave; stopped() is called when none is left. */
void registry_stop(struct registry *registry, void (*stopped)(void *data));

/* After stopped(). */
void registry_destroy(struct registry *registry);

bool registry_is_settled(const struct registry *registry);

/* ---- runs ---- */

/* Return the deployment of the agent that clients call so, or NULL. */
struct deployment *registry_find(const struct registry *registry, const char *agent);

/* ---- what operators do ---- */

/*
 * Swaps every plugin whose file or settings are no longer those it was made
 * of. Replies when all that is done, with the first error; the reply may be NULL.
 */
void registry_refresh(struct registry *registry, const struct reply *reply);

/* A new generation of the plugin's file as it is now. */
void registry_reload(struct registry *registry, const char *name, const struct reply *reply);

/* A new generation of what was current before. */
void registry_rollback(struct registry *registry, const char *name, const struct reply *reply);

/* It takes no runs until it is reloaded. */
void registry_drain(struct registry *registry, const char *name, const struct reply *reply);

/* Appends the answer to GET /agents. */
void registry_describe(const struct registry *registry, struct buf *json);

/* Appends {"plugins":[...]} with all that is known. */
void registry_report(const struct registry *registry, struct buf *json);

#endif
