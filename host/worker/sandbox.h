/* What this process, and so the plugin in it, may reach. */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include "worker/instance.h"

struct cJSON;

/*
 * Confine this process for good, as the front's confinement says (fleet/confinement.h); NULL
 * is none, for authors. Call while the process has one thread, before the plugin
 * is loaded. -errno and a refusal if something cannot be done: the plugin must
 * then not be loaded.
 */
int sandbox_enter(const struct cJSON *confinement, struct refusal *refusal);

#endif
