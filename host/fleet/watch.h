/*
 * Watches a folder's plugin files (*.so, not hidden) and tells of each that
 * appeared, changed or went away, once it has been left alone for a moment: so
 * a file that is being written is told of when its writer pauses.
 */
#ifndef FLEET_WATCH_H
#define FLEET_WATCH_H

#include <stdbool.h>
#include <uv.h>

struct watch;

/* Whether it is the name of a plugin's file. */
bool watch_is_plugin(const char *name);

/* file: its path, folder/name; valid until the callback returns. -errno */
int watch_open(uv_loop_t *loop, const char *folder, void (*changed)(void *data, const char *file),
               void *data, struct watch **out);

/* NULL is fine. */
void watch_close(struct watch *watch);

#endif
