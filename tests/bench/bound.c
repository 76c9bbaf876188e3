/*
 * bound: what the machine allows. One process, one epoll loop, and nothing that a server would need
 * beyond the system calls: no HTTP is parsed (a request is what ends with a blank line and so
 * many bytes of body), all answers are the same, an event is a template of which two numbers are
 * filled in.
 *
 *     bound --port P --mode tick --events N --interval-ms M --wake ms|event
 *     bound --port P --mode relay --url-port FP --events N --interval-us U --wake ms|event
 *     bound --port P --mode hub --events N --readers R
 *
 *     tick    each client's run has N events, one every M ms; with 0 all at once, as many in one
 *             send() as fit 64 KiB
 *     relay   each client's run is an answer of feed, of which each line is sent on
 *     hub     one run for R clients, which begins when all have asked for it; it goes on until its
 *             slowest reader is 1 MiB behind
 *
 * --wake says how often the loop wakes: `event` for each that falls due or arrives, at its own
 * microsecond; `ms` at most once a millisecond, for all together. The first is the least latency,
 * the second the least CPU time.
 *
 * All runs have the same interval, so those that fall due are a queue in order of their time: who
 * has been served goes to its end. What a client does not take at once is kept, and nothing is
 * made or read for it until it has taken that. A client that is gone takes its run along; it is
 * freed only behind the round of events in which that was noticed.
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
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH  256
#define BLOCK  (64 * 1024)
#define BLOCKS 16 /* 1 MiB */

#define HEAD                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
#define EVENT_BEGIN "61\r\nid: 0000000\nevent: token\ndata: "
#define EVENT       EVENT_BEGIN DATA_FORM "\n\n\r\n"
#define DONE        "29\r\nevent: done\ndata: {\"status\":\"finished\"}\n\n\r\n0\r\n\r\n"

#define ID_AT        8
#define DATA_AT      (sizeof EVENT_BEGIN - 1)
#define EVENT_LENGTH (sizeof EVENT - 1)
#define DONE_LENGTH  (sizeof DONE - 1)

_Static_assert(EVENT_LENGTH == 4 + 0x61 + 2, "the size of an event's chunk");
_Static_assert(DONE_LENGTH == 4 + 0x29 + 2 + 5, "the size of the last event's chunk");

enum mode { MODE_TICK, MODE_RELAY, MODE_HUB };

enum side { SIDE_LISTENER, SIDE_CLIENT, SIDE_FEED };

/* Where the answer of feed is. */
enum part { PART_HEAD, PART_SIZE, PART_DATA, PART_DATA_END };

struct client;

/* What an epoll event is about. */
struct end {
    enum side side;
    int fd;
    uint32_t events; /* that are waited for */
    struct client *client;
};

struct client {
    struct end down, up;
    TAILQ_ENTRY(client) link; /* due or hub.readers */
    SLIST_ENTRY(client) gone_link;
    bool queued, running, gone;
    uint32_t count; /* events of this run that were sent */
    uint64_t due_ns;
    struct peer peer;
    enum part part;
    uint32_t matched; /* bytes of the blank line, or of a chunk's end */
    size_t chunk_left;
    char line[DATA_LENGTH + 1];
    size_t line_length;
    uint64_t block; /* hub: the one that it reads */
    size_t block_at;
};

TAILQ_HEAD(clients, client);

static struct {
    enum mode mode;
    bool by_ms;
    long port, url_port, events, interval_ms, interval_us, readers;
} options;

static struct {
    struct end listener;
    int epoll;
    struct clients due;
    SLIST_HEAD(, client) gone;
    char out[BLOCK + DONE_LENGTH + EVENT_LENGTH];
    size_t out_length;
    char in[BLOCK];
} bound;

/* One run for all: blocks that are encoded once. */
static struct {
    struct clients readers;
    long asked;     /* readers of this run */
    long reading;   /* that have not read it all */
    uint64_t made;  /* blocks */
    uint32_t count; /* events in them */
    bool complete;
    size_t lengths[BLOCKS];
    char blocks[BLOCKS][BLOCK];
} hub;

/* ---- clients ---- */

static void watch(struct end *end, uint32_t events)
{
    if (end->events == events)
        return;
    end->events = events;
    net_watch(bound.epoll, EPOLL_CTL_MOD, end->fd, events, end);
}

static void client_unqueue(struct client *client)
{
    if (client->queued)
        TAILQ_REMOVE(options.mode == MODE_HUB ? &hub.readers : &bound.due, client, link);
    client->queued = false;
}

static void close_feed(struct client *client)
{
    net_reset(client->up.fd);
    client->up.fd = -1;
}

static void client_drop(struct client *client)
{
    if (client->gone)
        return;
    client->gone = true;
    if (options.mode == MODE_HUB && client->queued)
        hub.reading--;
    client_unqueue(client);
    close_feed(client);
    net_reset(client->down.fd);
    SLIST_INSERT_HEAD(&bound.gone, client, gone_link);
}

static void free_gone(void)
{
    struct client *client;

    while ((client = SLIST_FIRST(&bound.gone)) != NULL) {
        SLIST_REMOVE_HEAD(&bound.gone, gone_link);
        peer_finish(&client->peer);
        free(client);
    }
}

/* Waits for room if the client has not taken all, and for feed if it has. */
static void watch_both(struct client *client)
{
    bool stuck = client->peer.rest_length > 0;

    watch(&client->down, stuck ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (client->up.fd >= 0 && client->up.events != EPOLLOUT)
        watch(&client->up, stuck ? 0 : EPOLLIN);
}

static void client_send(struct client *client, const char *bytes, size_t length)
{
    if (peer_send(&client->peer, bytes, length) < 0)
        client_drop(client);
    else if (client->peer.rest_length > 0)
        watch_both(client);
}

/* ---- events ---- */

/* With the form of the data. */
static size_t write_frame(char *to, uint32_t n)
{
    memcpy(to, EVENT, EVENT_LENGTH);
    data_put_digits(to + ID_AT, DATA_N_DIGITS, n);
    return EVENT_LENGTH;
}

static size_t write_event(char *to, uint32_t n)
{
    size_t length = write_frame(to, n);

    data_fill(to + DATA_AT, n, net_now_ns() / 1000);
    return length;
}

static size_t write_line(char *to, uint32_t n, const char *line)
{
    size_t length = write_frame(to, n);

    memcpy(to + DATA_AT, line, DATA_LENGTH);
    return length;
}

static size_t write_done(char *to)
{
    memcpy(to, DONE, DONE_LENGTH);
    return DONE_LENGTH;
}

static void send_out(struct client *client)
{
    size_t length = bound.out_length;

    bound.out_length = 0;
    if (length > 0 && !client->gone)
        client_send(client, bound.out, length);
}

static bool is_last(uint32_t count)
{
    return count >= (uint32_t)options.events;
}

/* ---- tick ---- */

/* Nearly always at the end. */
static void queue_next(struct client *client, uint64_t due_ns)
{
    struct client *before = TAILQ_LAST(&bound.due, clients);

    while (before && before->due_ns > due_ns)
        before = TAILQ_PREV(before, clients, link);
    if (before)
        TAILQ_INSERT_AFTER(&bound.due, before, client, link);
    else
        TAILQ_INSERT_HEAD(&bound.due, client, link);
    client->due_ns = due_ns;
    client->queued = true;
}

/* One event, and the end if it was the last. */
static void tick(struct client *client)
{
    char *out = bound.out;

    client_unqueue(client);
    bound.out_length = write_event(out, ++client->count);
    if (is_last(client->count)) {
        client->running = false;
        bound.out_length += write_done(out + bound.out_length);
    } else {
        queue_next(client, client->due_ns + (uint64_t)options.interval_ms * NET_NS_PER_MS);
    }
    send_out(client);
}

/* As many events as the client takes. */
static void pump(struct client *client)
{
    while (client->running && client->peer.rest_length == 0 && !client->gone) {
        while (!is_last(client->count) && bound.out_length + EVENT_LENGTH <= BLOCK)
            bound.out_length += write_event(bound.out + bound.out_length, ++client->count);
        if (is_last(client->count)) {
            client->running = false;
            bound.out_length += write_done(bound.out + bound.out_length);
        }
        send_out(client);
    }
}

static void tick_begin(struct client *client)
{
    memcpy(bound.out, HEAD, sizeof HEAD - 1);
    bound.out_length = sizeof HEAD - 1;
    if (options.interval_ms == 0)
        return pump(client);
    queue_next(client, net_now_ns() + (uint64_t)options.interval_ms * NET_NS_PER_MS);
    send_out(client);
}

static void tick_due(void)
{
    struct client *client;

    while ((client = TAILQ_FIRST(&bound.due)) != NULL && client->due_ns <= net_now_ns())
        tick(client);
}

/* ---- relay ---- */

static void relay_line(struct client *client, const char *line)
{
    bound.out_length += write_line(bound.out + bound.out_length, ++client->count, line);
    if (bound.out_length + EVENT_LENGTH > BLOCK)
        send_out(client);
}

static void relay_end(struct client *client)
{
    bound.out_length += write_done(bound.out + bound.out_length);
    client->running = false;
    close_feed(client);
}

/* A chunk that is one line, as nearly all are. */
static size_t take_usual_chunk(struct client *client, const char *at, size_t length)
{
    const size_t usual = 4 + DATA_LENGTH + 1 + 2;

    if (client->part != PART_SIZE || client->chunk_left > 0 || client->line_length > 0 ||
        length < usual || memcmp(at, "41\r\n", 4) != 0 || at[4 + DATA_LENGTH] != '\n')
        return 0;
    relay_line(client, at + 4);
    return usual;
}

static void take_size(struct client *client, char byte)
{
    if (byte == '\n' && client->chunk_left == 0)
        relay_end(client);
    else if (byte == '\n')
        client->part = PART_DATA;
    else if (byte != '\r')
        client->chunk_left =
            client->chunk_left * 16 + (size_t)(byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10);
}

static void take_data(struct client *client, char byte)
{
    if (client->line_length < sizeof client->line)
        client->line[client->line_length++] = byte;
    if (byte == '\n') {
        relay_line(client, client->line);
        client->line_length = 0;
    }
    if (--client->chunk_left == 0) {
        client->part = PART_DATA_END;
        client->matched = 0;
    }
}

static void take_byte(struct client *client, char byte)
{
    switch (client->part) {
    case PART_HEAD:
        client->matched = byte == "\r\n\r\n"[client->matched] ? client->matched + 1 : byte == '\r';
        if (client->matched == 4)
            client->part = PART_SIZE;
        break;
    case PART_SIZE:
        take_size(client, byte);
        break;
    case PART_DATA:
        take_data(client, byte);
        break;
    case PART_DATA_END:
        if (++client->matched == 2)
            client->part = PART_SIZE;
        break;
    }
}

static void relay_read(struct client *client)
{
    ssize_t length = recv(client->up.fd, bound.in, sizeof bound.in, 0);

    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0)
        return client_drop(client);
    for (size_t at = 0; at < (size_t)length && client->running && !client->gone;) {
        size_t taken = take_usual_chunk(client, bound.in + at, (size_t)length - at);

        if (taken == 0)
            take_byte(client, bound.in[at++]);
        at += taken;
    }
    send_out(client);
}

static void relay_ask(struct client *client)
{
    char request[128];
    int length = snprintf(request, sizeof request,
                          "GET /?events=%ld&interval_us=%ld HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                          options.events, options.interval_us);
    long sent = net_send(client->up.fd, request, (size_t)length);

    if (sent < 0)
        return client_drop(client);
    watch(&client->up, sent == 0 ? EPOLLOUT : EPOLLIN);
}

static void relay_begin(struct client *client)
{
    client_send(client, HEAD, sizeof HEAD - 1);
    if (client->gone)
        return;
    client->part = PART_HEAD;
    client->matched = 0;
    client->up.fd = net_connect(0, (unsigned int)options.url_port);
    if (client->up.fd < 0)
        return client_drop(client);
    client->up.events = EPOLLOUT;
    net_watch(bound.epoll, EPOLL_CTL_ADD, client->up.fd, EPOLLOUT, &client->up);
    relay_ask(client);
}

/* ---- hub ---- */

static void hub_begin(struct client *client)
{
    client->block = client->block_at = 0;
    client->queued = true;
    TAILQ_INSERT_TAIL(&hub.readers, client, link);
    hub.asked++;
    hub.reading++;
    client_send(client, HEAD, sizeof HEAD - 1);
}

static uint64_t hub_slowest(void)
{
    uint64_t slowest = hub.made;
    struct client *client;

    TAILQ_FOREACH(client, &hub.readers, link)
        if (client->block < slowest)
            slowest = client->block;
    return slowest;
}

static bool hub_make(void)
{
    size_t slot = hub.made % BLOCKS, length = 0;

    if (hub.complete || hub.made - hub_slowest() == BLOCKS)
        return false;
    while (!is_last(hub.count) && length + EVENT_LENGTH + DONE_LENGTH <= BLOCK)
        length += write_event(hub.blocks[slot] + length, ++hub.count);
    hub.complete = is_last(hub.count);
    if (hub.complete)
        length += write_done(hub.blocks[slot] + length);
    hub.lengths[slot] = length;
    hub.made++;
    return true;
}

/* All that is made and that the reader takes. */
static void hub_serve(struct client *client)
{
    while (client->block < hub.made) {
        size_t slot = client->block % BLOCKS, left = hub.lengths[slot] - client->block_at;
        long sent = net_send(client->down.fd, hub.blocks[slot] + client->block_at, left);

        if (sent < 0)
            return client_drop(client);
        client->block_at += (size_t)sent;
        if ((size_t)sent < left)
            return watch(&client->down, EPOLLIN | EPOLLOUT);
        client->block++;
        client->block_at = 0;
    }
    if (!hub.complete)
        return;
    client->running = false;
    client_unqueue(client);
    hub.reading--;
}

static void hub_serve_all(void)
{
    struct client *client = TAILQ_FIRST(&hub.readers), *next;

    for (; client; client = next) {
        next = TAILQ_NEXT(client, link);
        if (client->down.events == EPOLLIN)
            hub_serve(client);
    }
}

/* Goes on until the slowest reader has no room. */
static void hub_run(void)
{
    if (hub.asked < options.readers)
        return;
    do
        hub_serve_all();
    while (hub.reading > 0 && hub_make());
    if (hub.reading > 0)
        return;
    hub.asked = 0;
    hub.made = 0;
    hub.count = 0;
    hub.complete = false;
}

/* ---- requests ---- */

static void client_begin(struct client *client)
{
    client->running = true;
    client->count = 0;
    client->line_length = client->chunk_left = 0;
    if (options.mode == MODE_TICK)
        tick_begin(client);
    else if (options.mode == MODE_RELAY)
        relay_begin(client);
    else
        hub_begin(client);
}

static void client_read(struct client *client)
{
    ssize_t length = recv(client->down.fd, bound.in, sizeof bound.in, 0);
    int error;

    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0 || client->running) /* gone, or it cannot wait */
        return client_drop(client);
    if (peer_request(&client->peer, bound.in, (size_t)length, &error))
        client_begin(client);
    else if (error < 0)
        client_drop(client);
}

static void client_writable(struct client *client)
{
    if (peer_flush(&client->peer) < 0)
        return client_drop(client);
    watch_both(client);
    if (options.mode == MODE_TICK && options.interval_ms == 0)
        pump(client);
}

static void accept_all(void)
{
    int fd;

    while ((fd = net_accept(bound.listener.fd)) >= 0) {
        struct client *client = calloc(1, sizeof *client);

        if (client == NULL)
            net_die("memory");
        client->peer.fd = fd;
        client->down = (struct end){SIDE_CLIENT, fd, EPOLLIN, client};
        client->up = (struct end){SIDE_FEED, -1, 0, client};
        net_watch(bound.epoll, EPOLL_CTL_ADD, fd, EPOLLIN, &client->down);
    }
}

/* ---- the loop ---- */

static void handle(struct end *end, uint32_t events)
{
    if (end->side == SIDE_LISTENER)
        return accept_all();
    if (end->client->gone || end->fd < 0)
        return;
    if (end->side == SIDE_FEED)
        return events & EPOLLIN || !(events & EPOLLOUT) ? relay_read(end->client)
                                                        : relay_ask(end->client);
    if (events & ~(uint32_t)EPOLLOUT)
        client_read(end->client);
    if (events & EPOLLOUT && !end->client->gone)
        client_writable(end->client);
}

static uint64_t next_ms(uint64_t ns)
{
    return (ns + NET_NS_PER_MS - 1) / NET_NS_PER_MS * NET_NS_PER_MS;
}

static uint64_t timeout_ns(void)
{
    const struct client *client = TAILQ_FIRST(&bound.due);
    uint64_t now = net_now_ns(), due;

    if (client == NULL)
        return UINT64_MAX;
    due = options.by_ms ? next_ms(client->due_ns) : client->due_ns;
    return due > now ? due - now : 0;
}

/* What arrives until then is read together. */
static void sleep_until_next_ms(void)
{
    uint64_t now = net_now_ns(), rest = next_ms(now) - now;
    const struct timespec pause = {.tv_nsec = (long)rest};

    nanosleep(&pause, NULL);
}

static int wait_for(struct epoll_event *events)
{
    if (options.by_ms && options.mode == MODE_RELAY)
        sleep_until_next_ms();
    return net_wait(bound.epoll, events, BATCH, timeout_ns());
}

static void turn(void)
{
    struct epoll_event events[BATCH];
    int count = wait_for(events);

    while (count > 0) {
        for (int i = 0; i < count; i++)
            handle(events[i].data.ptr, events[i].events);
        count = count == BATCH ? net_wait(bound.epoll, events, BATCH, 0) : 0;
    }
    tick_due();
    if (options.mode == MODE_HUB)
        hub_run();
    free_gone();
}

/* ---- the command line ---- */

static void read_options(int argc, char **argv)
{
    static const char *const modes[] = {
        [MODE_TICK] = "tick", [MODE_RELAY] = "relay", [MODE_HUB] = "hub"};
    const char *mode = "", *wake = "event";
    const struct option_row rows[] = {
        {"port", "where to listen; 0 is anywhere", &options.port, NULL},
        {"mode", "tick, relay or hub", NULL, &mode},
        {"events", "of each run", &options.events, NULL},
        {"interval-ms", "tick: between two events; 0", &options.interval_ms, NULL},
        {"url-port", "relay: where feed listens", &options.url_port, NULL},
        {"interval-us", "relay: what feed is asked for; 0", &options.interval_us, NULL},
        {"readers", "hub: of each run", &options.readers, NULL},
        {"wake", "ms or event; event", NULL, &wake},
        {NULL, NULL, NULL, NULL},
    };

    options_read(rows, argc, argv);
    options.by_ms = strcmp(wake, "ms") == 0;
    while (options.mode <= MODE_HUB && strcmp(mode, modes[options.mode]) != 0)
        options.mode++;
    if (options.mode > MODE_HUB || (!options.by_ms && strcmp(wake, "event") != 0) ||
        options.events < 1 || (options.mode == MODE_RELAY && options.url_port == 0) ||
        (options.mode == MODE_HUB && options.readers == 0))
        options_refuse(rows);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    net_raise_file_limit();
    prctl(PR_SET_TIMERSLACK, 1); /* ns */
    TAILQ_INIT(&bound.due);
    TAILQ_INIT(&hub.readers);
    bound.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bound.epoll < 0)
        net_die("epoll_create1");
    bound.listener = (struct end){SIDE_LISTENER, net_listen((unsigned int)options.port), 0, NULL};
    net_watch(bound.epoll, EPOLL_CTL_ADD, bound.listener.fd, EPOLLIN, &bound.listener);
    for (;;)
        turn();
}
