/*
 * The front opens the workers' program once, when it starts, so that both ends of a link are of
 * one build even after the files were replaced:
 *
 *   1. make a socket pair for the link, and what its output needs, close-on-exec at
 *      both ends;
 *   2. start `sluice worker FILE` (the file only tells ps(1) which plugin it
 *      is) with the descriptors of wire/worker_fds.h and no others, no handler,
 *      ignored or blocked signal of the front's;
 *   3. close the worker's ends; its death then closes the last ones.
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

#include "base/sibling.h"
#include "base/why.h"
#include "wire/worker_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* The worker's ends of its link, pipe and socket; the latter two may be standard error and -1. */
struct worker_ends {
    int link, out, log;
};

/* The workers' program; -1 before spawn_prepare(). */
static int binary = -1;

int spawn_prepare(struct why *why)
{
    char *path = sibling_path("sluice", why);
    int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;

    if (path == NULL)
        return -ENOENT;
    if (fd < 0)
        why_set(why, 0, "%s: %s", path, strerror(errno));
    free(path);
    if (fd < 0)
        return -ENOENT;
    binary = fcntl(fd, F_DUPFD_CLOEXEC, WORKER_FD_COUNT);
    close(fd);
    return binary < 0 ? why_set(why, -errno, "no descriptor is left") : 0;
}

int spawn_check(void)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", binary);
    return access(path, X_OK) < 0 ? -errno : 0;
}

static int spawn_binary(pid_t *pid, const struct spawn_settings *settings,
                        const struct worker_ends *ends)
{
    char *args[] = {"sluice", "worker", (char *)image_file(settings->image), PACKAGE_VERSION, NULL};
    char program[32];
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
    /* Upward: a number may be overwritten when it was the source of one before, never of one after:
     * sources are above 2, the log's and the binary's above all. */
    posix_spawn_file_actions_adddup2(&files, ends->link, WORKER_FD_SOCKET);
    posix_spawn_file_actions_adddup2(&files, ends->out, WORKER_FD_OUT);
    posix_spawn_file_actions_adddup2(&files, ends->out, WORKER_FD_ERROR);
    posix_spawn_file_actions_adddup2(&files, image_fd(settings->image), WORKER_FD_IMAGE);
    if (ends->log >= 0)
        posix_spawn_file_actions_adddup2(&files, ends->log, WORKER_FD_LOG);
    else
        posix_spawn_file_actions_addclose(&files, WORKER_FD_LOG);
    posix_spawn_file_actions_adddup2(&files, binary, WORKER_FD_BINARY);
    posix_spawn_file_actions_addclosefrom_np(&files, WORKER_FD_COUNT);
    snprintf(program, sizeof program, "/proc/self/fd/%d", WORKER_FD_BINARY);
    status = posix_spawn(pid, program, &files, &attributes, args,
                         settings->env ? settings->env : environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return -status;
}

/* Make a socket pair, the second of which is above all numbers of wire/worker_fds.h. */
static int pair_make(int type, int *first, int *second)
{
    int pair[2], raised;

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    raised = fcntl(pair[1], F_DUPFD_CLOEXEC, WORKER_FD_COUNT);
    if (raised < 0)
        raised = -errno;
    close(pair[1]);
    if (raised < 0) {
        close(pair[0]);
        return raised;
    }
    *first = pair[0];
    *second = raised;
    return 0;
}

/* Close what was made of both sides' ends. */
static void ends_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] > STDERR_FILENO)
            close(fds[i]);
    }
}

/* Make the ends of both sides, or none of them. */
static int ends_make(bool is_overheard, struct spawn_ends *front, struct worker_ends *worker)
{
    int status, pipe[2];

    *front = (struct spawn_ends){-1, -1, -1};
    *worker = (struct worker_ends){-1, STDERR_FILENO, -1};
    if ((status = pair_make(SOCK_STREAM, &front->link, &worker->link)) < 0 || !is_overheard)
        return status;
    if ((status = pair_make(SOCK_SEQPACKET, &front->log, &worker->log)) < 0)
        goto close_link;
    if (pipe2(pipe, O_CLOEXEC) < 0) {
        status = -errno;
        goto close_log;
    }
    front->out = pipe[0];
    worker->out = pipe[1];
    return 0;

close_log:
    close(front->log);
    close(worker->log);
close_link:
    close(front->link);
    close(worker->link);
    return status;
}

int spawn_worker(uv_loop_t *loop, struct child *child, const struct spawn_settings *settings,
                 struct spawn_ends *ends)
{
    struct worker_ends worker;
    int status;

    child->pid = 0;
    child->is_reaped = false;
    child->exits.data = child;
    uv_signal_init(loop, &child->exits);
    /* Before there is a process: no exit goes unnoticed. */
    if ((status = uv_signal_start(&child->exits, on_child_signal, SIGCHLD)) < 0 ||
        (status = ends_make(settings->is_overheard, ends, &worker)) < 0)
        return status;
    status = spawn_binary(&child->pid, settings, &worker);
    ends_close((int[]){worker.link, worker.out, worker.log}, 3);
    if (status < 0) {
        child->pid = 0;
        ends_close((int[]){ends->link, ends->out, ends->log}, 3);
    }
    return status;
}

void child_kill(const struct child *child)
{
    if (!child->is_reaped)
        kill(-child->pid, SIGKILL);
}
