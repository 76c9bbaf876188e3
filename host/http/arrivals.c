#include "http/arrivals.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/networks.h"
#include "http/deadlines.h"
#include "http/proxy_header.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

struct arrival {
    struct deadline deadline; /* first */
    struct arrivals *arrivals;
    int fd;
    uv_poll_t poll;
    struct sockaddr_storage peer;
    size_t length; /* of the header, as far as it is here */
    size_t wanted; /* its length, as far as it is known */
    unsigned char header[PROXY_HEADER_MAX];
    TAILQ_ENTRY(arrival) in_arrivals; /* in arrivals->all */
};

struct arrivals {
    uv_loop_t *loop;
    struct deadlines *deadlines;
    void (*arrived)(void *data, int fd, const struct sockaddr_storage *client);
    void *data;
    TAILQ_HEAD(, arrival) all;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void arrival_remove(struct arrival *arrival)
{
    deadline_clear(arrival->arrivals->deadlines, &arrival->deadline);
    TAILQ_REMOVE(&arrival->arrivals->all, arrival, in_arrivals);
    uv_close((uv_handle_t *)&arrival->poll, on_closed);
}

static void arrival_refuse(struct arrival *arrival, const char *why)
{
    char address[INET6_ADDRSTRLEN];

    network_format((struct sockaddr *)&arrival->peer, address);
    log_warn("connection closed: %s; the proxy must send the PROXY protocol, version 2 proxy=%s",
             why, address);
    arrival_remove(arrival);
    close(arrival->fd);
    arrival->arrivals->arrived(arrival->arrivals->data, -1, NULL);
}

static void arrival_pass(struct arrival *arrival)
{
    struct sockaddr_storage client = arrival->peer;

    if (proxy_header_read(arrival->header, arrival->length, &client) < 0) {
        arrival_refuse(arrival, "its header is too short for the addresses");
        return;
    }
    arrival_remove(arrival);
    arrival->arrivals->arrived(arrival->arrivals->data, arrival->fd, &client);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct arrival *arrival = poll->data;

    (void)status;
    (void)events;
    for (;;) {
        ssize_t length = recv(arrival->fd, arrival->header + arrival->length,
                              arrival->wanted - arrival->length, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            arrival_refuse(arrival, "it ended before its header did");
            return;
        }
        arrival->length += (size_t)length;
        if (arrival->length < arrival->wanted)
            continue;
        if (arrival->length == PROXY_HEADER_MIN) {
            ssize_t wanted = proxy_header_length(arrival->header);
            if (wanted < 0) {
                arrival_refuse(arrival, "it has no header that is known here");
                return;
            }
            arrival->wanted = (size_t)wanted;
        }
        if (arrival->length == arrival->wanted) {
            arrival_pass(arrival);
            return;
        }
    }
}

static void on_late(struct deadline *deadline)
{
    arrival_refuse((struct arrival *)deadline, "its header did not come in time");
}

struct arrivals *arrivals_create(uv_loop_t *loop, unsigned timeout_s,
                                 void (*arrived)(void *data, int fd,
                                                 const struct sockaddr_storage *client),
                                 void *data)
{
    struct arrivals *arrivals = mem_alloc(sizeof *arrivals);

    arrivals->loop = loop;
    arrivals->deadlines = deadlines_create(loop, timeout_s, on_late);
    arrivals->arrived = arrived;
    arrivals->data = data;
    TAILQ_INIT(&arrivals->all);
    return arrivals;
}

void arrivals_add(struct arrivals *arrivals, int fd, const struct sockaddr_storage *peer)
{
    struct arrival *arrival = mem_alloc(sizeof *arrival);

    arrival->arrivals = arrivals;
    arrival->fd = fd;
    arrival->peer = *peer;
    arrival->wanted = PROXY_HEADER_MIN;
    TAILQ_INSERT_TAIL(&arrivals->all, arrival, in_arrivals);
    deadline_set(arrivals->deadlines, &arrival->deadline);
    uv_poll_init(arrivals->loop, &arrival->poll, fd);
    arrival->poll.data = arrival;
    uv_poll_start(&arrival->poll, UV_READABLE, on_readable);
}

void arrivals_destroy(struct arrivals *arrivals)
{
    struct arrival *arrival;

    while ((arrival = TAILQ_FIRST(&arrivals->all))) {
        arrival_remove(arrival);
        close(arrival->fd);
    }
    deadlines_destroy(arrivals->deadlines);
    free(arrivals);
}
