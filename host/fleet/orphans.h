/*
 * Orphans: what a plugin started and left behind when its worker ended, in whatever
 * session or process group. They are killed and reaped.
 */
#ifndef FLEET_ORPHANS_H
#define FLEET_ORPHANS_H

#include "fleet/registry.h"

struct orphans;

/* Make this process the parent of orphans. Whatever are its children now, stay untouched. */
struct orphans *orphans_open(uv_loop_t *loop, const struct registry *registry);

/* Kill those that are left; the loop must run once more. Call before the registry is destroyed. */
void orphans_close(struct orphans *orphans);

#endif
