#include "http/lingers.h"

#include "base/handles.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that are thrown away in one turn of the loop. */
#define TURN_BYTES (256 * 1024)

struct lingering {
    struct lingers *lingers;
    int fd;
    uv_poll_t poll;
    uv_timer_t timer;
    struct handles handles;
    size_t bytes; /* thrown away */
    TAILQ_ENTRY(lingering) in_all;
};

struct lingers {
    uv_loop_t *loop;
    unsigned count;
    TAILQ_HEAD(, lingering) all;
};

static void linger_close(struct lingering *linger)
{
    TAILQ_REMOVE(&linger->lingers->all, linger, in_all);
    linger->lingers->count--;
    uv_poll_stop(&linger->poll);
    close(linger->fd);
    handles_close(&linger->handles, free, linger, &linger->poll, &linger->timer, NULL);
}

static void on_timer(uv_timer_t *timer)
{
    linger_close(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    static char waste[TURN_BYTES];
    struct lingering *linger = poll->data;
    ssize_t got = status < 0 ? 0 : recv(linger->fd, waste, sizeof waste, MSG_DONTWAIT);

    (void)events;
    if (got > 0)
        linger->bytes += (size_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        linger->bytes = LINGER_BYTES;
    if (linger->bytes >= LINGER_BYTES)
        linger_close(linger);
}

void lingers_add(struct lingers *lingers, int fd)
{
    struct lingering *linger;
    int copy;

    if (lingers->count == LINGERS_MAX || (copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0)
        return;
    linger = mem_alloc(sizeof *linger);
    if (uv_poll_init(lingers->loop, &linger->poll, copy) < 0) {
        close(copy);
        free(linger);
        return;
    }
    shutdown(copy, SHUT_WR);
    linger->lingers = lingers;
    linger->fd = copy;
    uv_timer_init(lingers->loop, &linger->timer);
    linger->poll.data = linger->timer.data = linger;
    uv_poll_start(&linger->poll, UV_READABLE, on_readable);
    uv_timer_start(&linger->timer, on_timer, LINGER_MS, 0);
    TAILQ_INSERT_TAIL(&lingers->all, linger, in_all);
    lingers->count++;
}

struct lingers *lingers_create(uv_loop_t *loop)
{
    struct lingers *lingers = mem_alloc(sizeof *lingers);

    lingers->loop = loop;
    TAILQ_INIT(&lingers->all);
    return lingers;
}

void lingers_destroy(struct lingers *lingers)
{
    while (!TAILQ_EMPTY(&lingers->all))
        linger_close(TAILQ_FIRST(&lingers->all));
    free(lingers);
}
