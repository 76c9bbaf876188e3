/*
 * The plugins of the plugin folder and what serves them: which generation is
 * current, which runs wait for it, when a worker that died is replaced.
 *
 * A plugin has one of these states:
 *     starting   its first worker is being started; runs wait in its queue
 *     serving    runs start at once
 *     restarting its worker died; a new one is being started, or will be after
 *                a pause that doubles with each death in a row; runs wait
 *     refused    it could not be started; the reason is kept
 *
 * Policy: at most REGISTRY_QUEUE_MAX runs wait for one plugin.
 */
#ifndef FRONT_REGISTRY_H
#define FRONT_REGISTRY_H

#include "front/config.h"
#include "front/run.h"

#define REGISTRY_QUEUE_MAX 4096

struct registry;

/* settled: each plugin is serving or refused for the first time. */
struct registry *registry_create(uv_loop_t *loop, const struct config *config,
                                 void (*settled)(void *data), void *data);

/* Starts all plugins of the folder. -errno if it cannot be read. */
int registry_open(struct registry *registry, const char *folder);

/* Tells all workers to leave; stopped() is called when none is left. */
void registry_stop(struct registry *registry, void (*stopped)(void *data));

/* After stopped(). */
void registry_destroy(struct registry *registry);

bool registry_is_settled(const struct registry *registry);

/* Appends the answer to GET /agents. */
void registry_describe(const struct registry *registry, struct buf *json);

/*
 * Whether the agent takes a run now: 0; -ENOENT no such agent; -EAGAIN its
 * queue is full; -ENODEV it was refused. The reason, for people, unless 0.
 */
int registry_admit(const struct registry *registry, const char *agent, char *reason, size_t size);

/* Starts the run, which registry_admit() admitted, as soon as its agent can. */
void registry_submit(struct registry *registry, struct run *run);

#endif
