/* Work that may wait, for a disk or a network: done by a thread of libuv's pool, off the loop. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <uv.h>

/* As uv_queue_work(), on threads that take no signals: signals are the loop's. */
void pool_queue(uv_loop_t *loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done);

#endif
