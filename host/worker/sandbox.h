/* The files and addresses that this process, and so the plugin in it, may reach. */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include "worker/instance.h"

struct wire_frame;

/*
 * Confine this process for good, as the front's OPEN says (fleet/confinement.h); without
 * "confined", which is for authors, not at all. The file that the plugin is loaded from may be
 * read. Call while the process has one thread, before the plugin is loaded. -errno and a refusal if
 * something cannot be done: the plugin must then not be loaded.
 */
int sandbox_enter(const struct wire_frame *open, const char *plugin, struct refusal *refusal);

#endif
