/*
 * feed: the model that wakes agents. It answers
 *
 *     GET /?events=N&interval_us=U
 *
 * with N lines, text/plain, chunked: each the data of one event, of the moment when it is sent, in
 * a chunk and a send() of its own. The first is due at a random moment within U µs from the
 * request, each other one U µs behind the one before it, whenever that was sent. The loop wakes for
 * each as it falls due, so that their receivers are woken one by one, as by a real upstream. With
 * U = 0 all lines come at once, as many in a send() as fit 64 KiB.
 *
 * What a client does not take is kept; until it has, it gets no more, and then what is overdue
 * follows. A connection is kept for further requests.
 *
 *     feed --port P
 */
#include "data.h"
#include "net.h"
#include "options.h"
#include "peer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define BATCH 256
#define BLOCK (64 * 1024)

#define HEAD                                          \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" \
    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LINE "41\r\n" DATA_FORM "\n\r\n"
#define LAST "0\r\n\r\n"

#define LINE_LENGTH (sizeof LINE - 1)
#define LAST_LENGTH (sizeof LAST - 1)

_Static_assert(LINE_LENGTH == 4 + 0x41 + 2, "the size of a line's chunk");

struct client {
    struct peer peer;
    bool gone;
    struct client *gone_next;
    size_t place; /* in the heap, from 1; 0 if it is not in it */
    uint64_t due_ns;
    uint64_t interval_ns;
    uint32_t count, events; /* lines sent, and altogether; they are equal between answers */
};

static struct {
    int epoll, listener;
    struct client **heap; /* from 1: the one that is due first */
    size_t waiting, places;
    struct client *gone;
    char out[BLOCK + LINE_LENGTH + LAST_LENGTH];
    char in[BLOCK];
} feed;

/* ---- who is due ---- */

static void heap_put(size_t place, struct client *client)
{
    feed.heap[place] = client;
    client->place = place;
}

static void heap_up(size_t place, struct client *client)
{
    for (; place > 1 && feed.heap[place / 2]->due_ns > client->due_ns; place /= 2)
        heap_put(place, feed.heap[place / 2]);
    heap_put(place, client);
}

static void heap_down(size_t place, struct client *client)
{
    size_t child;

    for (; (child = place * 2) <= feed.waiting; place = child) {
        if (child < feed.waiting && feed.heap[child + 1]->due_ns < feed.heap[child]->due_ns)
            child++;
        if (feed.heap[child]->due_ns >= client->due_ns)
            break;
        heap_put(place, feed.heap[child]);
    }
    heap_put(place, client);
}

static void heap_add(struct client *client)
{
    if (client->place > 0)
        return;
    if (feed.waiting + 2 > feed.places) {
        feed.places = feed.places * 2 + 64;
        feed.heap = realloc(feed.heap, feed.places * sizeof *feed.heap);
        if (feed.heap == NULL)
            net_die("memory");
    }
    heap_up(++feed.waiting, client);
}

static void heap_remove(struct client *client)
{
    size_t place = client->place;
    struct client *last;

    if (place == 0)
        return;
    client->place = 0;
    last = feed.heap[feed.waiting--];
    if (last == client)
        return;
    heap_up(place, last);
    heap_down(last->place, last);
}

/* ---- clients ---- */

static void client_drop(struct client *client)
{
    if (client->gone)
        return;
    client->gone = true;
    heap_remove(client);
    net_reset(client->peer.fd);
    client->gone_next = feed.gone;
    feed.gone = client;
}

static void free_gone(void)
{
    struct client *client;

    while ((client = feed.gone) != NULL) {
        feed.gone = client->gone_next;
        peer_finish(&client->peer);
        free(client);
    }
}

/* Due again, unless it has had all or must take something first. */
static void client_wait(struct client *client)
{
    if (client->peer.rest_length > 0)
        net_watch(feed.epoll, EPOLL_CTL_MOD, client->peer.fd, EPOLLIN | EPOLLOUT, client);
    else if (client->count < client->events)
        heap_add(client);
}

static void client_send(struct client *client, const char *bytes, size_t length)
{
    if (peer_send(&client->peer, bytes, length) < 0)
        client_drop(client);
}

static size_t write_line(char *to, uint32_t n)
{
    memcpy(to, LINE, LINE_LENGTH);
    data_fill(to + 4, n, net_now_ns() / 1000);
    return LINE_LENGTH;
}

/* Its next line, or a block of them if they are not spread over time. */
static void client_due(struct client *client)
{
    size_t length = 0, most = client->interval_ns > 0 ? LINE_LENGTH : BLOCK;

    heap_remove(client);
    while (client->count < client->events && length + LINE_LENGTH <= most)
        length += write_line(feed.out + length, ++client->count);
    if (client->count == client->events) {
        memcpy(feed.out + length, LAST, LAST_LENGTH);
        length += LAST_LENGTH;
    }
    client->due_ns += client->interval_ns;
    client_send(client, feed.out, length);
    if (!client->gone)
        client_wait(client);
}

/* The number behind this word of the request's first line; 0 if there is none. */
static unsigned long parameter(const char *request, const char *word)
{
    const char *end = strchr(request, '\r'), *at = strstr(request, word);

    return at && at < end ? strtoul(at + strlen(word), NULL, 10) : 0;
}

static void client_begin(struct client *client, const char *request)
{
    client->count = 0;
    client->events = (uint32_t)parameter(request, "events=");
    client->interval_ns = parameter(request, "interval_us=") * 1000;
    client->due_ns = net_monotonic_ns();
    if (client->interval_ns > 0)
        client->due_ns += (uint64_t)random() * 1000 % client->interval_ns;
    client_send(client, HEAD, sizeof HEAD - 1);
    if (!client->gone && client->events == 0)
        client_send(client, LAST, LAST_LENGTH);
    if (!client->gone)
        client_wait(client);
}

static void client_read(struct client *client)
{
    ssize_t length = recv(client->peer.fd, feed.in, sizeof feed.in - 1, 0);
    const char *request;
    int error;

    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0 || client->count < client->events) /* gone, or it cannot wait */
        return client_drop(client);
    feed.in[length] = '\0';
    request = peer_request(&client->peer, feed.in, (size_t)length, &error);
    if (request)
        client_begin(client, request);
    else if (error < 0)
        client_drop(client);
}

static void client_writable(struct client *client)
{
    if (peer_flush(&client->peer) < 0)
        return client_drop(client);
    if (client->peer.rest_length > 0)
        return;
    net_watch(feed.epoll, EPOLL_CTL_MOD, client->peer.fd, EPOLLIN, client);
    client_wait(client);
}

static void accept_all(void)
{
    int fd;

    while ((fd = net_accept(feed.listener)) >= 0) {
        struct client *client = calloc(1, sizeof *client);

        if (client == NULL)
            net_die("memory");
        client->peer.fd = fd;
        net_watch(feed.epoll, EPOLL_CTL_ADD, fd, EPOLLIN, client);
    }
}

/* ---- the loop ---- */

static void handle(struct client *client, uint32_t events)
{
    if (client == NULL)
        return accept_all();
    if (events & ~(uint32_t)EPOLLOUT)
        client_read(client);
    if (events & EPOLLOUT && !client->gone)
        client_writable(client);
}

static uint64_t timeout_ns(void)
{
    uint64_t now;

    if (feed.waiting == 0)
        return UINT64_MAX;
    now = net_monotonic_ns();
    return feed.heap[1]->due_ns > now ? feed.heap[1]->due_ns - now : 0;
}

static void turn(void)
{
    struct epoll_event events[BATCH];
    int count = net_wait(feed.epoll, events, BATCH, timeout_ns());

    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    for (int i = 0; i < BATCH && feed.waiting > 0; i++) {
        if (feed.heap[1]->due_ns > net_monotonic_ns())
            break;
        client_due(feed.heap[1]);
    }
    free_gone();
}

int main(int argc, char **argv)
{
    long port = 0;
    const struct option_row rows[] = {{"port", "where to listen; 0 is anywhere", &port, NULL},
                                      {NULL, NULL, NULL, NULL}};

    options_read(rows, argc, argv);
    net_raise_file_limit();
    prctl(PR_SET_TIMERSLACK, 1); /* ns */
    srandom((unsigned int)net_now_ns());
    feed.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (feed.epoll < 0)
        net_die("epoll_create1");
    feed.listener = net_listen((unsigned int)port);
    net_watch(feed.epoll, EPOLL_CTL_ADD, feed.listener, EPOLLIN, NULL);
    for (;;)
        turn();
}
