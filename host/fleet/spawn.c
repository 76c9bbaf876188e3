/*
 * The front re-executes its own binary, so that both ends of a link are of one
 * build even after the binary's file was replaced:
 *
 *   1. make a socket pair, close-on-exec at both ends;
 *   2. start `sluice worker FILE` (the file only tells ps(1) which plugin it
 *      is) with the descriptors of wire/worker_fds.h and no others, no handler,
 *      ignored or blocked signal of the front's;
 *   3. close the worker's end; its death then closes the last one.
 *
 * posix_spawn() copies neither the front's memory nor its page tables, so a start
 * takes the loop the same time however large the front is. fork(), and with it
 * uv_spawn(), takes longer with each mebibyte.
 *
 * The worker leads a session and a process group of its own: a terminal's Ctrl-C is
 * for the front alone, and what a plugin forks can be killed with it. The group's
 * number is the worker's pid, which is nobody else's until the worker is reaped.
 * So its end, which SIGCHLD announces, has this order:
 *
 *   1. look whether it has exited, and how, without reaping it;
 *   2. kill its process group;
 *   3. reap it, and tell the owner.
 */
#include "fleet/spawn.h"

#include "wire/worker_fds.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_child_signal(uv_signal_t *handle, int number)
{
    struct child *child = handle->data;
    siginfo_t info = {.si_pid = 0};

    (void)number;
    if (child->pid == 0 || child->is_reaped ||
        waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return;
    kill(-child->pid, SIGKILL);
    waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG);
    child->is_reaped = true;
    uv_signal_stop(&child->exits);
    if (info.si_code == CLD_EXITED)
        child->exited(child, info.si_status, 0);
    else
        child->exited(child, 0, info.si_status);
}

/* Start the binary; the descriptors given must be above those of wire/worker_fds.h but for 2. */
static int spawn_binary(pid_t *pid, const struct spawn_settings *settings, int socket)
{
    char *args[] = {"sluice", "worker", (char *)image_file(settings->image), NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int status;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_init(&files);
    /* The last one may overwrite a source of those before, which are done with it. */
    posix_spawn_file_actions_adddup2(&files, socket, WORKER_FD_SOCKET);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, WORKER_FD_OUT);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, WORKER_FD_LOG);
    posix_spawn_file_actions_adddup2(&files, image_fd(settings->image), WORKER_FD_IMAGE);
    posix_spawn_file_actions_addclosefrom_np(&files, WORKER_FD_COUNT);
    status = posix_spawn(pid, "/proc/self/exe", &files, &attributes, args,
                         settings->env ? settings->env : environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return -status;
}

int spawn_worker(uv_loop_t *loop, struct child *child, const struct spawn_settings *settings,
                 int *fd)
{
    int pair[2];
    int status;

    child->pid = 0;
    child->is_reaped = false;
    child->exits.data = child;
    uv_signal_init(loop, &child->exits);
    /* Before there is a process: no exit goes unnoticed. */
    if ((status = uv_signal_start(&child->exits, on_child_signal, SIGCHLD)) < 0)
        return status;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    status = spawn_binary(&child->pid, settings, pair[1]);
    close(pair[1]);
    if (status < 0) {
        child->pid = 0;
        close(pair[0]);
        return status;
    }
    *fd = pair[0];
    return 0;
}

void child_kill(const struct child *child)
{
    if (!child->is_reaped)
        kill(-child->pid, SIGKILL);
}
