/*
 * Watches the plugin files (*.so, not hidden) of a folder and tells of each
 * that appeared, changed or went away, after nobody has touched it for a moment.
 */
#ifndef FLEET_WATCH_H
#define FLEET_WATCH_H

#include <stdbool.h>
#include <uv.h>

struct watch;

/* Return true if a plugin file may be called so. */
bool watch_is_plugin(const char *name);

/* changed() gets the path, folder/name, valid until it returns. -errno */
int watch_open(uv_loop_t *loop, const char *folder, void (*changed)(void *data, const char *file),
               void *data, struct watch **out);

/* NULL is ignored. */
void watch_close(struct watch *watch);

#endif
