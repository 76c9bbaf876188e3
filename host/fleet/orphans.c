/*
 * Both front and worker are subreapers (prctl(2)): a process whose parent has ended
 * becomes a child of the next subreaper above it. So a daemon belongs to its worker
 * as long as that lives, and then to the front:
 *
 *     front ── worker ── (parent, ended)       front ── (worker, ended)
 *                 └───── daemon                  └───── daemon: an orphan
 *
 * Each SIGCHLD leads to a look at all children of the front. A child is killed if
 *
 *   - it is no worker of the registry,
 *   - it was not there before the plugins: who executes sluice may have children,
 *   - it cannot gain privileges. All that descends from a worker has this mark for good.
 *     What others left to the front, which in a container is often process 1, does
 *     not have it, unless the front has it, too: then the mark says nothing.
 *
 * The death of an orphan is a SIGCHLD again, so what it leaves is seen. A child that
 * has ended and is no worker is reaped, whoever started it.
 */
#include "fleet/orphans.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "fleet/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The front starts workers on this thread, and adopted processes are its children as well. */
#define CHILDREN "/proc/thread-self/children"

/* At the end: looks, with a pause between two. */
#define LAST_LOOKS    100
#define LAST_PAUSE_MS 1

struct orphans {
    uv_signal_t ended;
    const struct registry *registry;
    struct buf before; /* the children that were there at first, as text: " 17 18 " */
};

/* Append the pids of the children, each between blanks. Return -errno. */
static int read_children(struct buf *text)
{
    int fd = open(CHILDREN, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -errno;
    buf_puts(text, " ");
    while ((got = read(fd, buf_reserve(text, 4096), 4096)) > 0)
        buf_commit(text, (size_t)got);
    buf_append(text, "", 1);
    close(fd);
    return got < 0 ? -errno : 0;
}

static bool was_before(const struct orphans *orphans, pid_t pid)
{
    char word[16];

    snprintf(word, sizeof word, " %d ", (int)pid);
    return strstr(buf_data(&orphans->before), word) != NULL;
}

/* Return true if the process descends from a worker; name gets its name. */
static bool is_from_worker(pid_t pid, char name[16])
{
    char path[32], line[128];
    bool is_marked = false;
    FILE *status;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    status = fopen(path, "re");
    while (status && fgets(line, sizeof line, status)) {
        sscanf(line, "Name: %15[^\n]", name);
        is_marked |= strcmp(line, "NoNewPrivs:\t1\n") == 0;
    }
    if (status)
        fclose(status);
    return is_marked;
}

/* Reap and kill. Return how many live. */
static unsigned orphans_look(struct orphans *orphans)
{
    struct buf text = {0};
    unsigned live = 0;
    char *at;

    if (read_children(&text) < 0) {
        buf_finish(&text);
        return 0;
    }
    at = text.base + text.start;
    for (long pid; (pid = strtol(at, &at, 10)) > 0;) {
        siginfo_t info = {.si_pid = 0};
        char name[16] = "";
        if (registry_has_process(orphans->registry, (pid_t)pid) || process_is_lost((int)pid))
            continue;
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
        if (info.si_pid != 0 || was_before(orphans, (pid_t)pid) ||
            !is_from_worker((pid_t)pid, name) || kill((pid_t)pid, SIGKILL) < 0)
            continue;
        live++;
        log_plugin("process killed because its worker has ended pid=%ld command=%s", pid, name);
    }
    buf_finish(&text);
    return live;
}

static void on_ended(uv_signal_t *handle, int number)
{
    (void)number;
    orphans_look(handle->data);
}

struct orphans *orphans_open(uv_loop_t *loop, const struct registry *registry)
{
    struct orphans *orphans = mem_alloc(sizeof *orphans);
    int status;

    orphans->registry = registry;
    orphans->ended.data = orphans;
    uv_signal_init(loop, &orphans->ended);
    uv_unref((uv_handle_t *)&orphans->ended);
    status = read_children(&orphans->before);
    if (status < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        log_warn("what plugins start may outlive their workers: " CHILDREN ": %s",
                 strerror(status < 0 ? -status : errno));
    else
        uv_signal_start(&orphans->ended, on_ended, SIGCHLD);
    return orphans;
}

static void on_closed(uv_handle_t *handle)
{
    struct orphans *orphans = handle->data;

    buf_finish(&orphans->before);
    free(orphans);
}

void orphans_close(struct orphans *orphans)
{
    const struct timespec pause = {.tv_nsec = LAST_PAUSE_MS * 1000 * 1000};

    if (orphans == NULL)
        return;
    for (int i = 0; i < LAST_LOOKS && uv_is_active((uv_handle_t *)&orphans->ended) &&
                    orphans_look(orphans) > 0;
         i++)
        nanosleep(&pause, NULL);
    uv_close((uv_handle_t *)&orphans->ended, on_closed);
}
