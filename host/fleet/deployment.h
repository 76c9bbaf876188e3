/*
 * A deployment: the slot of one plugin file in the host. It holds the plugin's
 * generations, the runs that wait for them, and lets one generation take over
 * from another.
 *
 * Clients call a deployment by its agent's name. Operators call it a plugin.
 */
#ifndef FLEET_DEPLOYMENT_H
#define FLEET_DEPLOYMENT_H

#include "base/why.h"
#include "config/config.h"
#include "fleet/generation.h"
#include "fleet/history.h"
#include "fleet/reply.h"
#include "fleet/watch.h"
#include "run/run.h"

struct deployment;

struct deployment_handler {
    /* Return false, with the reason, if the plugin may not have this name. */
    bool (*may_be_called)(void *data, const struct deployment *deployment, const char *name,
                          struct why *why);
    /* It serves or is refused; also after each later swap. */
    void (*settled)(void *data);
    /* None of its workers is left. */
    void (*emptied)(void *data);
};

/* The facts of a deployment, valid until the loop goes on; state is the word for people. */
struct deployment_snapshot {
    const char *name, *file;
    const char *state;
    bool serves;        /* the state is serving */
    const char *reason; /* of the last failed swap or crash loop; NULL if there was none */
    size_t queued_runs;
    bool swap_waits;                  /* until a generation has drained */
    const struct generation *current; /* NULL if none */
    const struct history *history;    /* what there is to go back to */
    unsigned generations;             /* see deployment_generation() */
};

/*
 * Make a deployment of a file that need not exist yet. The configuration may
 * change its content, but not its address; see deployment_configure(). state: the folder
 * of history.h, or NULL.
 */
struct deployment *deployment_create(uv_loop_t *loop, const struct config *config,
                                     const char *state, const char *file,
                                     const struct deployment_handler *handler, void *data);

/* The deployment must be empty. */
void deployment_destroy(struct deployment *deployment);

/* Look up the settings again: the content of the configuration has changed. */
void deployment_configure(struct deployment *deployment);

/* Return the plugin's settings, valid until the configuration or the name changes. */
const struct config_plugin *deployment_settings(const struct deployment *deployment);

const char *deployment_file(const struct deployment *deployment);

/* Return the plugin's name; before the plugin was loaded, the file's without ".so". */
const char *deployment_name(const struct deployment *deployment);

/* Return true if the name is the plugin's own, which no other deployment may have. */
bool deployment_is_loaded(const struct deployment *deployment);

/* Return true if its first generation is still being started. */
bool deployment_is_starting(const struct deployment *deployment);

/* Return true if its file is gone: clients do not see it. */
bool deployment_is_removed(const struct deployment *deployment);

/* Return true if it has no worker. */
bool deployment_is_empty(const struct deployment *deployment);

/*
 * Return true if its file is gone, nothing is under way, and no version is there to go back
 * to, or ever was: it may be destroyed without loss.
 */
bool deployment_is_spent(const struct deployment *deployment);

/*
 * Return the loop's time at which its file was missed, if it is there only for a rollback;
 * else 0.
 */
uint64_t deployment_idle_since(const struct deployment *deployment);

void deployment_snapshot(const struct deployment *deployment, struct deployment_snapshot *out);

/* Return one of its generations, oldest first; index < snapshot.generations. */
const struct generation *deployment_generation(const struct deployment *deployment, unsigned index);

/*
 * Return what the current generation declares for clients, or NULL if there is none. Valid
 * until the loop goes on: a swap may replace it.
 */
const struct card *deployment_card(const struct deployment *deployment);

/* ---- runs ---- */

/* Return 0 if a run may start or wait here; -EAGAIN: the queue is full; -ENODEV: it cannot serve.
 */
int deployment_admit(struct deployment *deployment);

/* Return why it takes no runs, in words for clients; NULL if it does. */
const char *deployment_reason(const struct deployment *deployment);

/* Start the run, which deployment_admit() admitted, as soon as a worker has room. */
void deployment_submit(struct deployment *deployment, struct run *run);

/* ---- swaps; the reply may be NULL ---- */

/*
 * Swap if the file, which is so now, is another than at the last swap, and reply when that
 * is done: return true. Otherwise return false.
 */
bool deployment_notice(struct deployment *deployment, const struct watch_file *now,
                       const struct reply *reply);

/* The same, also if the settings have changed or the plugin is refused. now NULL: unknown. */
bool deployment_refresh(struct deployment *deployment, const struct watch_file *now,
                        const struct reply *reply);

/* The file is gone: stop serving, at the first call since it was there. */
void deployment_miss(struct deployment *deployment);

/* Try again if the plugin is refused. */
void deployment_retry(struct deployment *deployment);

/* Swap to the file as it is now. */
void deployment_reload(struct deployment *deployment, const struct reply *reply);

/*
 * Swap to the version that this generation served, or, if it is 0, to the one before the
 * version that serves. The plugin is then pinned: it stays with that version, over
 * restarts too, until it is reloaded or another file is put into the folder.
 */
void deployment_rollback(struct deployment *deployment, uint64_t generation,
                         const struct reply *reply);

/* Take no runs, over restarts too, until the next reload or another file. */
void deployment_drain(struct deployment *deployment);

/* Let all workers quit, for good. */
void deployment_stop(struct deployment *deployment);

#endif
