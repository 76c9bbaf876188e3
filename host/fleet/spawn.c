/*
 * The front re-executes its own binary, so that both ends of a link are of one
 * build even after the binary's file was replaced:
 *
 *   1. make a socket pair, close-on-exec at both ends;
 *   2. start `sluice worker FILE` (the file only tells ps(1) which plugin it
 *      is) with the descriptors of wire/worker_fds.h and no others;
 *   3. close the worker's end; its death then closes the last one.
 *
 * The worker leads a process group of its own: a terminal's Ctrl-C is for the
 * front alone, and what a plugin forks can be killed with it.
 */
#include "fleet/spawn.h"

#include "wire/worker_fds.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int spawn_worker(uv_loop_t *loop, uv_process_t *child, const struct image *image, uv_exit_cb exited,
                 int *fd)
{
    uv_stdio_container_t stdio[WORKER_FD_COUNT] = {
        [WORKER_FD_SOCKET] = {.flags = UV_INHERIT_FD},
        [WORKER_FD_OUT] = {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        [WORKER_FD_LOG] = {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        [WORKER_FD_IMAGE] = {.flags = UV_INHERIT_FD, .data.fd = image_fd(image)},
    };
    char *args[] = {"sluice", "worker", (char *)image_file(image), NULL};
    uv_process_options_t options = {
        .file = "/proc/self/exe",
        .args = args,
        .flags = UV_PROCESS_DETACHED,
        .stdio = stdio,
        .stdio_count = WORKER_FD_COUNT,
        .exit_cb = exited,
    };
    int pair[2];
    int status;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    stdio[WORKER_FD_SOCKET].data.fd = pair[1];
    status = uv_spawn(loop, child, &options);
    close(pair[1]);
    if (status < 0) {
        close(pair[0]);
        return status;
    }
    *fd = pair[0];
    return 0;
}
