/* How a worker process is started. */
#ifndef FLEET_SPAWN_H
#define FLEET_SPAWN_H

#include "fleet/image.h"

#include <uv.h>

/*
 * Start a worker on the image; exited() is called when it was reaped. *fd is
 * the front's end of its link. Return -errno; the caller must close the child's
 * handle if its type is UV_PROCESS, also after a failure.
 */
int spawn_worker(uv_loop_t *loop, uv_process_t *child, const struct image *image, uv_exit_cb exited,
                 int *fd);

#endif
