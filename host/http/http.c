/*
 * A client that vanished, with its machine or its network, sends nothing more. The
 * kernel finds out: each connection has TCP_USER_TIMEOUT, about the stall time, for which
 * what was sent may stay without an acknowledgement, and keep-alive probes while
 * there is nothing to acknowledge, with the same limit. Each is counted from its own
 * beginning. So what is sent to a machine that owes the answer to a probe puts off its
 * end: see http_stream_is_unanswered(). Connections inherit these options from the
 * listening socket; after a reload the open ones are set again, and idle ones with
 * their next request.
 *
 * libmicrohttpd's own timeout starts anew with each byte. So a connection that
 * owes a request has a deadline besides; when it is over, the socket is shut
 * down, and libmicrohttpd closes the connection.
 *
 * libmicrohttpd does TLS; GnuTLS is only handed through, and seen by conn.c.
 */
#include "http/http.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/networks.h"
#include "base/time.h"
#include "http/arrivals.h"
#include "http/inside.h"
#include "http/lingers.h"
#include "http/listeners.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Cap on unsent bytes in the kernel, so that a slow reader exerts backpressure early. */
#define UNSENT_MAX (64 * 1024)

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* Milliseconds between two runs while what seems to be ready is not; see http_pause(). */
#define PAUSE_MIN 1
#define PAUSE_MAX 100

/* Runs in a row that may come to nothing without a pause. */
#define VAIN_MAX 8

/* The limit is ours; libmicrohttpd may count a connection for a little longer. */
#define CONNECTIONS_SLACK 16

/* Maximum seconds from the last sign of life to a keep-alive probe, and between two probes. */
#define PROBE_MAX       5
#define PROBE_AGAIN_MAX 2

/* The kernel waits this many ms longer than the front, which can tell more about a slow reader. */
#define TIMEOUT_AFTER 1000

/* ---- the daemon on the loop ---- */

static void on_timer(uv_timer_t *timer);
static void on_turn(uv_idle_t *turn);

/*
 * libmicrohttpd believes that a TLS handshake that waits for its client can go
 * on at once, and would run without end. It believes the same of a chunk whose size
 * is longer than its buffer, and reads no further. The epoll descriptor sees what other
 * clients send anyway. So while there are handshakes, or several runs in a row led to
 * nothing, the next run is put off until such runs take only a fraction of the
 * time. The price: connections that really are ready go on somewhat later.
 */
static uint64_t http_pause(struct http *http, uint64_t took_ns)
{
    uint64_t pause = took_ns * 4 / CLOCK_MS;

    if (http->handshakes == 0 && http->vain_runs < VAIN_MAX) {
        http->vain_runs++;
        return 0;
    }
    return pause < PAUSE_MIN ? PAUSE_MIN : pause > PAUSE_MAX ? PAUSE_MAX : pause;
}

static void http_forget_added(struct http *http);

static void http_run(struct http *http)
{
    uint64_t begin = clock_now();
    MHD_UNSIGNED_LONG_LONG timeout;

    uv_idle_stop(&http->turn);
    uv_timer_stop(&http->timer);
    MHD_run(http->daemon);
    http_forget_added(http);
    if (uv_is_active((uv_handle_t *)&http->turn) ||
        MHD_get_timeout(http->daemon, &timeout) != MHD_YES)
        return;
    if (timeout == 0)
        timeout = http_pause(http, clock_now() - begin);
    if (timeout > 0)
        uv_timer_start(&http->timer, on_timer, timeout, 0);
    else
        uv_idle_start(&http->turn, on_turn);
}

static void on_turn(uv_idle_t *turn)
{
    http_run(turn->data);
}

static void on_timer(uv_timer_t *timer)
{
    http_run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    http_run(poll->data);
}

void http_run_soon(struct http *http)
{
    uv_idle_start(&http->turn, on_turn);
}

/* ---- clients that leave ---- */

static int at_least_one(unsigned seconds, unsigned most)
{
    return (int)(seconds > most ? most : seconds > 0 ? seconds : 1);
}

/* Set how long a client's machine may give no sign of life. A socket that is not TCP's needs none.
 */
static void set_stall(int fd, unsigned stall_s)
{
    int on = 1, timeout_ms = (int)stall_s * 1000 + TIMEOUT_AFTER;
    int idle_s = at_least_one(stall_s / 6, PROBE_MAX);
    int again_s = at_least_one(stall_s / 6, PROBE_AGAIN_MAX);

    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &again_s, sizeof again_s);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

void peer_set_stall(struct http_peer *peer, unsigned stall_s)
{
    if (peer->stall_s != stall_s)
        set_stall(conn_socket(peer->connection), stall_s);
    peer->stall_s = stall_s;
}

void http_set_stall(struct http *http, unsigned stall_s)
{
    struct http_request *request;

    http->stall_s = stall_s;
    listeners_each(http->listeners, set_stall, stall_s);
    TAILQ_FOREACH(request, &http->requests, in_http)
        peer_set_stall(request->peer, stall_s);
}

/* ---- connections ---- */

/* At the limit, further clients wait to be accepted; say so once each time. */
static void http_count(struct http *http, int change)
{
    http->connections += (size_t)change;
    listeners_pause(http->listeners, http->connections >= http->max_connections);
    if (http->connections >= http->max_connections && !http->is_full) {
        http->is_full = true;
        log_warn("there are as many connections as there may be, and further clients wait; "
                 "raise max_connections, or set max_connections_per_address connections=%zu",
                 http->connections);
    }
    if (http->connections < http->max_connections - http->max_connections / 8)
        http->is_full = false;
}

static struct http_peer *peer_create(struct http *http, int fd,
                                     const struct sockaddr_storage *client)
{
    struct http_peer *peer = mem_alloc(sizeof *peer);

    peer->fd = fd;
    peer->client = *client;
    network_format((const struct sockaddr *)client, peer->address);
    TAILQ_INSERT_TAIL(&http->added, peer, in_added);
    return peer;
}

/* libmicrohttpd did not take the connection, but closed it. */
static void peer_forget(struct http *http, struct http_peer *peer)
{
    TAILQ_REMOVE(&http->added, peer, in_added);
    free(peer);
    http_count(http, -1);
}

/* Called inside MHD_add_connection(), or with 1.0 by the next MHD_run(). */
static struct http_peer *peer_start(struct http *http, struct MHD_Connection *connection)
{
    int fd = conn_socket(connection);
    struct http_peer *peer = TAILQ_FIRST(&http->added);

    while (peer->fd != fd)
        peer = TAILQ_NEXT(peer, in_added);
    TAILQ_REMOVE(&http->added, peer, in_added);
    peer->connection = connection;
    peer->stall_s = http->stall_s;
    peer->in_handshake = http->is_tls;
    http->handshakes += peer->in_handshake;
    deadline_set(http->deadlines, &peer->deadline);
    return peer;
}

void peer_end_handshake(struct http *http, struct http_peer *peer)
{
    http->handshakes -= peer->in_handshake;
    peer->in_handshake = false;
}

/* A request that libmicrohttpd refuses by itself is never seen here. */
static void peer_destroy(struct http *http, struct http_peer *peer)
{
    if ((peer->still_sends || (!peer->answered && conn_has_unread(peer->connection))) &&
        http->lingers)
        lingers_add(http->lingers, conn_socket(peer->connection));
    peer_end_handshake(http, peer);
    deadline_clear(http->deadlines, &peer->deadline);
    free(peer);
    http_count(http, -1);
}

/*
 * libmicrohttpd counts connections by the address that it is told. Connections
 * of trusted proxies are for many clients, so libmicrohttpd is told an address
 * that it does not count; the peers of unix sockets are one.
 */
static void http_add(struct http *http, int fd, const struct sockaddr_storage *client)
{
    const struct sockaddr_in one = {.sin_family = AF_INET};
    const struct sockaddr_un none = {.sun_family = AF_UNIX};
    struct http_peer *peer;
    const struct sockaddr *counted = (const struct sockaddr *)client;
    socklen_t length = client->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof one;

    if (networks_contain(http->proxies, counted)) {
        counted = (const struct sockaddr *)&none;
        length = sizeof none;
    } else if (client->ss_family == AF_UNIX) {
        counted = (const struct sockaddr *)&one;
    }
    peer = peer_create(http, fd, client);
    if (MHD_add_connection(http->daemon, fd, counted, length) != MHD_YES)
        peer_forget(http, peer);
    http_run_soon(http);
}

/* A connection that libmicrohttpd has not started when it ran, it has closed. */
static void http_forget_added(struct http *http)
{
    while (!TAILQ_EMPTY(&http->added))
        peer_forget(http, TAILQ_FIRST(&http->added));
}

static void on_arrived(void *data, int fd, const struct sockaddr_storage *client)
{
    if (fd < 0)
        http_count(data, -1);
    else
        http_add(data, fd, client);
}

static void on_accepted(void *data, int fd, const struct sockaddr_storage *peer, bool proxied)
{
    struct http *http = data;
    char address[INET6_ADDRSTRLEN];

    http_count(http, 1);
    if (!proxied) {
        http_add(http, fd, peer);
    } else if (networks_contain(http->proxies, (const struct sockaddr *)peer)) {
        arrivals_add(http->arrivals, fd, peer);
    } else {
        network_format((const struct sockaddr *)peer, address);
        log_warn("connection closed: this address takes connections of trusted_proxies only "
                 "client=%s",
                 address);
        close(fd);
        http_count(http, -1);
    }
}

static void on_connection(void *data, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = data;

    http->vain_runs = 0;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = peer_start(http, connection);
    } else {
        peer_destroy(http, *slot);
        http_run_soon(http);
    }
}

static void on_late(struct deadline *deadline)
{
    const struct http_peer *peer = (const struct http_peer *)deadline;

    log_debug("request did not arrive in time client=%s", peer->address);
    shutdown(conn_socket(peer->connection), SHUT_RDWR);
}

/* ---- the whole ---- */

__attribute__((format(printf, 2, 0))) static void on_mhd_log(void *data, const char *format,
                                                             va_list args)
{
    (void)data;
    log_vline(LOG_DEBUG, format, args);
}

/* The path is taken from request_on_target(). */
static size_t on_unescape(void *data, struct MHD_Connection *connection, char *text)
{
    (void)data;
    (void)connection;
    return strlen(text);
}

/* Set options that all connections inherit. */
static void set_socket_options(int listen_fd, unsigned unused)
{
    int on = 1, unsent_max = UNSENT_MAX;

    (void)unused;
    setsockopt(listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(listen_fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof unsent_max);
}

static struct MHD_Daemon *start_daemon(struct http *http, const struct http_settings *settings)
{
    unsigned flags =
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, settings->retrieve_certificate},
        {MHD_OPTION_END, 0, NULL},
    };
    const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

    return MHD_start_daemon(
        flags | (http->is_tls ? MHD_USE_TLS : 0), 0, NULL, NULL, request_on_access, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_CONNECTION_LIMIT,
        settings->max_connections + CONNECTIONS_SLACK, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        settings->max_connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT, settings->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, settings->max_headers, MHD_OPTION_NOTIFY_COMPLETED,
        request_on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_URI_LOG_CALLBACK, request_on_target, http, MHD_OPTION_UNESCAPE_CALLBACK,
        on_unescape, NULL, MHD_OPTION_ARRAY, http->is_tls ? tls : none,
        MHD_OPTION_STRICT_FOR_CLIENT, library_is_strict(), MHD_OPTION_END);
}

int http_create(uv_loop_t *loop, const struct http_settings *settings,
                const struct http_handler *handler, void *data, struct http **out)
{
    struct http *http = mem_alloc(sizeof *http);
    const union MHD_DaemonInfo *info;

    http->loop = loop;
    http->is_tls = settings->retrieve_certificate != NULL;
    http->max_body = settings->max_body;
    http->max_connections = settings->max_connections;
    http->handler = handler;
    http->data = data;
    TAILQ_INIT(&http->requests);
    TAILQ_INIT(&http->added);
    http->listeners = settings->listeners;
    listeners_each(http->listeners, set_socket_options, 0);
    http->proxies = networks_create("");
    http_set_stall(http, settings->stall_s);
    http->daemon = start_daemon(http, settings);
    if (http->daemon == NULL) {
        networks_destroy(http->proxies);
        free(http);
        return -EIO;
    }
    http->deadlines = deadlines_create(loop, settings->request_timeout_s, on_late);
    http->lingers = lingers_create(loop);
    info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(loop, &http->poll, info->epoll_fd);
    uv_timer_init(loop, &http->timer);
    uv_idle_init(loop, &http->turn);
    http->poll.data = http->timer.data = http->turn.data = http;
    uv_poll_start(&http->poll, UV_READABLE, on_readable);
    http->arrivals = arrivals_create(loop, settings->request_timeout_s, on_arrived, http);
    listeners_start(http->listeners, loop, on_accepted, http);
    http_run_soon(http);
    *out = http;
    return 0;
}

const char *http_library(void)
{
    return MHD_get_version();
}

void http_set_proxies(struct http *http, const char *proxies)
{
    networks_destroy(http->proxies);
    http->proxies = networks_create(proxies);
}

void http_quiesce(struct http *http)
{
    listeners_close(http->listeners);
}

size_t http_open_requests(const struct http *http)
{
    return http->open;
}

/* libmicrohttpd aborts if it is stopped while a connection is suspended: they are resumed first. */
void http_destroy(struct http *http)
{
    struct http_request *request;

    if (http == NULL)
        return;
    TAILQ_FOREACH(request, &http->requests, in_http) {
        if (request->conn || request->state == REQUEST_OPENING) {
            request_tell_left(request);
            request_reset(request);
        }
    }
    arrivals_destroy(http->arrivals);
    handles_close(&http->handles, free, http, &http->poll, NULL);
    lingers_destroy(http->lingers);
    http->lingers = NULL;
    MHD_run(http->daemon);
    MHD_stop_daemon(http->daemon);
    http_forget_added(http);
    handles_close(&http->handles, free, http, &http->timer, &http->turn, NULL);
    deadlines_destroy(http->deadlines);
    listeners_destroy(http->listeners);
    networks_destroy(http->proxies);
}
