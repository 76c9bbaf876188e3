/*
 * Requests on libcurl's multi interface and the worker's loop. A transfer is an
 * exchange as libcurl sees it; it belongs to the loop:
 *
 *     queued ──► begun ──► finished ──► abandoned, when the agent has closed it
 *       ▲          │
 *       └──────────┘ held up, and read again
 *
 * Agents never call libcurl. Their wishes are queued, and done at the end of the
 * turn. libcurl calls back from within calls that are made without the lock, so a
 * callback takes the lock for the data of the exchange. Such a callback never
 * ends a transfer.
 *
 * HTTP/1.1, and a connection for each exchange at a time, unless its agent asks for
 * HTTP/2. With HTTP/2 libcurl takes up to 32 MiB of a paused response, and a
 * connection that fails takes many runs along. No exchange waits to learn whether
 * another one's connection can be shared (CURLOPT_PIPEWAIT): that connection may
 * answer late, and libcurl then lets only one of those that wait go on.
 *
 * The memory that a server may cost: EXCHANGE_HIGH and one write of libcurl's
 * (16 KiB) that are unread, as much again that is being read, the headers, and
 * the content of 16 KiB of gzip, which libcurl keeps while it is paused.
 */
#include "worker/httpclient.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/curl.h"
#include "worker/exchange.h"
#include "worker/sched.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Transfers that are begun, resumed or ended in one turn of the loop. */
#define TURN_MAX 256

/* Set before the first transfer begins; then all callbacks of libcurl's have it. */
static const struct curl *curl;

#define MAX_REDIRECTS 5
#define UPLOAD_BUFFER (16 * 1024) /* the least that libcurl takes */

struct http_client {
    uv_loop_t *loop;
    struct sched *sched;
    struct http_driver driver;
    CURLM *multi; /* made when it is needed first */
    uv_timer_t timer;
    STAILQ_HEAD(, transfer) queue; /* that want something of the loop; locked */
};

/* A socket of libcurl's, as long as libcurl has it. */
struct curl_socket {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct transfer {
    struct http_client *client;
    struct agent_http *exchange;
    CURL *easy;
    struct curl_slist *fields;
    struct curl_slist *foreign_fields; /* instead, once a redirect led to another origin */
    uv_timer_t *idle;                  /* runs while the transfer does */
    uint64_t began_at;                 /* of clock_now() */
    uint64_t active_at;
    curl_off_t sent;
    char reason[CURL_ERROR_SIZE]; /* libcurl's, for an error */
    bool queued;                  /* locked */
    STAILQ_ENTRY(transfer) in_queue;
};

/* ---- libcurl on the loop ---- */

static void on_finished(struct http_client *client);

/*
 * An error of the socket is libcurl's to find, by reading or writing: so it sees that a
 * connection which was kept has died, and sends the request again on a new one. Told of
 * the error, it would give up.
 */
static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct curl_socket *socket = poll->data;
    struct http_client *client = socket->client;
    int flags = (status < 0 || events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (status < 0 || events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    int running;

    curl->multi_socket_action(client->multi, socket->fd, flags, &running);
    on_finished(client);
}

static void on_socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static struct curl_socket *socket_create(struct http_client *client, curl_socket_t fd)
{
    struct curl_socket *socket = mem_alloc(sizeof *socket);
    int status = uv_poll_init(client->loop, &socket->poll, fd);

    if (status < 0)
        log_fatal("a socket cannot be watched: %s", uv_strerror(status));
    socket->poll.data = socket;
    socket->client = client;
    socket->fd = fd;
    curl->multi_assign(client->multi, fd, socket);
    return socket;
}

/* libcurl wants to know when the socket is ready for this. */
static int on_watch(CURL *easy, curl_socket_t fd, int what, void *data, void *assigned)
{
    struct http_client *client = data;
    struct curl_socket *socket = assigned;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        curl->multi_assign(client->multi, fd, NULL);
        if (socket)
            uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
        return 0;
    }
    if (socket == NULL)
        socket = socket_create(client, fd);
    uv_poll_start(&socket->poll, events, on_socket_ready);
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct http_client *client = timer->data;
    int running;

    curl->multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    on_finished(client);
}

static int on_timeout_changed(CURLM *multi, long timeout_ms, void *data)
{
    struct http_client *client = data;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void client_open_multi(struct http_client *client)
{
    if (client->multi)
        return;
    curl->global_init(CURL_GLOBAL_DEFAULT);
    client->multi = curl->multi_init();
    if (client->multi == NULL)
        log_fatal("libcurl does not start");
    curl->multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
    curl->multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl->multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_changed);
    curl->multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
}

/* ---- what comes ---- */

static bool follows_redirects(const struct exchange_request *request)
{
    return request->body == NULL && strcmp(request->method, "GET") == 0;
}

/* Return true if both URLs have the same scheme, host and port. */
static bool is_same_origin(CURLU *a, CURLU *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    bool same = true;

    for (size_t i = 0; same && i < sizeof parts / sizeof *parts; i++) {
        char *of_a = NULL, *of_b = NULL;
        same = curl->url_get(a, parts[i], &of_a, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl->url_get(b, parts[i], &of_b, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               strcasecmp(of_a, of_b) == 0;
        curl->free(of_a);
        curl->free(of_b);
    }
    return same;
}

/*
 * Whoever is at another origin gets none of the agent's headers: any of them may be a
 * secret. That holds for all redirects that follow.
 */
static void transfer_follow(struct transfer *transfer, const char *location)
{
    const struct exchange_request *request = exchange_request(transfer->exchange);
    CURLU *from = curl->url(), *to = curl->url();
    char *here = NULL;
    bool same;

    curl->easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &here);
    same = curl->url_set(from, CURLUPART_URL, request->url, 0) == CURLUE_OK &&
           curl->url_set(to, CURLUPART_URL, here, 0) == CURLUE_OK &&
           curl->url_set(to, CURLUPART_URL, location, 0) == CURLUE_OK && is_same_origin(from, to);
    curl->url_cleanup(from);
    curl->url_cleanup(to);
    if (same || transfer->foreign_fields)
        return;
    transfer->foreign_fields = curl->slist_append(NULL, "Expect:");
    curl->easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->foreign_fields);
}

/* The head is whole; another follows if it is an interim response's, or a redirect's. Locked. */
static void transfer_take_status(struct transfer *transfer)
{
    const struct exchange_request *request = exchange_request(transfer->exchange);
    const char *location;
    long status = 0;

    sched_assert_locked(transfer->client->sched);
    curl->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    location = exchange_find_header(transfer->exchange, "Location");
    if (status < 200)
        return;
    if (follows_redirects(request) && status >= 300 && status < 400 && location && *location) {
        transfer_follow(transfer, location);
        return;
    }
    exchange_set_status(transfer->exchange, (int)status);
}

/* Take a header's line, the status line before the first, or the empty line after the last.
 * Locked. */
static bool transfer_take_line(struct transfer *transfer, const char *line, size_t length)
{
    sched_assert_locked(transfer->client->sched);
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    if (length == 0) {
        transfer_take_status(transfer);
        return true;
    }
    while (line[length - 1] == ' ' || line[length - 1] == '\t') {
        if (--length == 0)
            return true;
    }
    if (length > 5 && strncmp(line, "HTTP/", 5) == 0)
        exchange_drop_headers(transfer->exchange);
    return exchange_add_header(transfer->exchange, line, length);
}

static void transfer_note_activity(struct transfer *transfer)
{
    transfer->active_at = clock_now();
}

static size_t on_header(char *line, size_t one, size_t length, void *data)
{
    struct transfer *transfer = data;
    struct agent_http *exchange = transfer->exchange;
    bool taken = true;

    (void)one;
    transfer_note_activity(transfer);
    sched_lock(transfer->client->sched);
    if (!exchange_is_closed(exchange) && exchange_get_status(exchange) == 0) /* else a trailer */
        taken = transfer_take_line(transfer, line, length);
    sched_unlock(transfer->client->sched);
    return taken ? length : 0;
}

static size_t on_data(char *data, size_t one, size_t length, void *user)
{
    struct transfer *transfer = user;
    int status;

    (void)one;
    transfer_note_activity(transfer);
    sched_lock(transfer->client->sched);
    status = exchange_add_data(transfer->exchange, data, length);
    sched_unlock(transfer->client->sched);
    return status == 0 ? length : status == -EAGAIN ? CURL_WRITEFUNC_PAUSE : 0;
}

static int error_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    default:
        return -EPROTO;
    }
}

static void transfer_finish(struct transfer *transfer, CURLcode code)
{
    const char *reason = transfer->reason[0] ? transfer->reason : curl->easy_strerror(code);
    struct agent_http *exchange = transfer->exchange;

    uv_timer_stop(transfer->idle);
    sched_lock(transfer->client->sched);
    if (code != CURLE_OK)
        exchange_fail(exchange, error_of(code), "%s", reason);
    else if (exchange_get_status(exchange) == 0)
        exchange_fail(exchange, -ECONNRESET, "the connection ended within the headers");
    exchange_end(exchange);
    sched_unlock(transfer->client->sched);
}

static void on_finished(struct http_client *client)
{
    struct transfer *transfer;
    CURLMsg *message;
    int left;

    while ((message = curl->multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        transfer_finish(transfer, message->data.result);
    }
}

/* ---- time ---- */

static uint64_t transfer_idle_end(const struct transfer *transfer)
{
    return transfer->active_at + exchange_request(transfer->exchange)->idle_timeout_ms * CLOCK_MS;
}

/*
 * Return whether the transfer may go on: the idle time is not over. It does not
 * run while connecting, which has a limit of its own, nor while the agent does
 * not read.
 */
static bool transfer_may_go_on(struct transfer *transfer)
{
    curl_off_t connected_us = 0, sent = 0;
    uint64_t connected_at;
    bool held_up;

    curl->easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    curl->easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    sched_lock(transfer->client->sched);
    held_up = exchange_is_held_up(transfer->exchange);
    sched_unlock(transfer->client->sched);
    if (connected_us == 0 || sent != transfer->sent || held_up)
        transfer_note_activity(transfer);
    transfer->sent = sent;
    connected_at = transfer->began_at + (uint64_t)connected_us * 1000;
    if (connected_at > transfer->active_at)
        transfer->active_at = connected_at;
    return clock_now() < transfer_idle_end(transfer);
}

/* The time is over, unless something came since the timer was started. */
static void on_idle(uv_timer_t *timer)
{
    struct transfer *transfer = timer->data;

    if (transfer_may_go_on(transfer)) {
        uv_timer_start(timer, on_idle,
                       transfer_idle_end(transfer) / CLOCK_MS + 1 - uv_now(timer->loop), 0);
        return;
    }
    curl->multi_remove_handle(transfer->client->multi, transfer->easy);
    snprintf(transfer->reason, sizeof transfer->reason, "nothing came for %u ms",
             (unsigned)exchange_request(transfer->exchange)->idle_timeout_ms);
    transfer_finish(transfer, CURLE_OPERATION_TIMEDOUT);
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void transfer_start_idle(struct transfer *transfer)
{
    transfer->began_at = transfer->active_at = clock_now();
    transfer->idle = mem_alloc(sizeof *transfer->idle);
    transfer->idle->data = transfer;
    uv_timer_init(transfer->client->loop, transfer->idle);
    uv_timer_start(transfer->idle, on_idle, exchange_request(transfer->exchange)->idle_timeout_ms,
                   0);
}

/* ---- what the loop does for an agent ---- */

/* libcurl takes "Name:" for a header that is not to be sent, and "Name;" for one without a value.
 */
static void transfer_add_field(struct transfer *transfer, const char *field)
{
    size_t length = strcspn(field, ":");
    char *bare = NULL;

    if (field[length + 1 + strspn(field + length + 1, " \t")] == '\0') {
        bare = mem_copy(field, length + 1);
        bare[length] = ';';
    }
    transfer->fields = curl->slist_append(transfer->fields, bare ? bare : field);
    free(bare);
}

/* Keep libcurl from adding this header, unless the agent has it. */
static void transfer_omit_field(struct transfer *transfer, const char *name)
{
    size_t length = strlen(name) - 1;

    for (const struct curl_slist *field = transfer->fields; field; field = field->next) {
        if (strncasecmp(field->data, name, length) == 0 &&
            (field->data[length] == ':' || field->data[length] == ';'))
            return;
    }
    transfer->fields = curl->slist_append(transfer->fields, name);
}

/* Return whether requests of this method say how long their body is even if they have none. */
static bool has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void transfer_set_request(struct transfer *transfer)
{
    const struct exchange_request *request = exchange_request(transfer->exchange);
    bool is_head = strcmp(request->method, "HEAD") == 0;
    CURL *easy = transfer->easy;

    for (char **header = request->headers; *header; header++)
        transfer_add_field(transfer, *header);
    transfer_omit_field(transfer, "Expect:");
    transfer_omit_field(transfer, "Content-Type:");
    curl->easy_setopt(easy, CURLOPT_URL, request->url);
    curl->easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->fields);
    if (request->body || has_body(request->method)) {
        curl->easy_setopt(easy, CURLOPT_POST, 1L);
        curl->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl->easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
    } else if (is_head) {
        curl->easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (follows_redirects(request)) {
        curl->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl->easy_setopt(easy, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    }
    if (!is_head)
        curl->easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void transfer_set_transport(struct transfer *transfer)
{
    const struct exchange_request *request = exchange_request(transfer->exchange);
    const char *authorities = getenv("SSL_CERT_FILE");
    CURL *easy = transfer->easy;

    curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    curl->easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl->easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl->easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700 /* else the loop may wait for a resolver's thread */
    curl->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    if (authorities && *authorities)
        curl->easy_setopt(easy, CURLOPT_CAINFO, authorities);
    curl->easy_setopt(easy, CURLOPT_HTTP_VERSION,
                      (long)(request->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl->easy_setopt(easy, CURLOPT_ACCEPT_ENCODING,
                      "gzip, deflate"); /* others expand without bound */
    curl->easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    /* libcurl 8 keeps a request in a buffer of this size as long as the exchange lasts. */
    curl->easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    curl->easy_setopt(easy, CURLOPT_USERAGENT, "sluice/" PACKAGE_VERSION);
    curl->easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl->easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl->easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
}

static void transfer_begin(struct transfer *transfer)
{
    const char *reason;

    if (curl == NULL && (curl = curl_load(&reason)) == NULL) {
        sched_lock(transfer->client->sched);
        exchange_fail(transfer->exchange, -EPROTO, "%s", reason);
        exchange_end(transfer->exchange);
        sched_unlock(transfer->client->sched);
        return;
    }
    client_open_multi(transfer->client);
    transfer->easy = curl->easy_init();
    if (transfer->easy == NULL)
        log_fatal("libcurl has no memory");
    transfer_set_request(transfer);
    transfer_set_transport(transfer);
    transfer_start_idle(transfer);
    curl->multi_add_handle(transfer->client->multi, transfer->easy);
}

static void transfer_resume(struct transfer *transfer)
{
    transfer_note_activity(transfer);
    curl->easy_pause(transfer->easy, CURLPAUSE_CONT);
}

static void transfer_abandon(struct transfer *transfer)
{
    struct http_client *client = transfer->client;

    if (transfer->easy) {
        curl->multi_remove_handle(client->multi, transfer->easy);
        curl->easy_cleanup(transfer->easy);
        uv_close((uv_handle_t *)transfer->idle, on_idle_closed);
        curl->slist_free_all(transfer->fields);
        curl->slist_free_all(transfer->foreign_fields);
    }
    sched_lock(client->sched);
    exchange_unref(transfer->exchange);
    sched_unlock(client->sched);
    free(transfer);
}

/* Return the next that wants something, and whether its exchange is closed. */
static struct transfer *client_pop(struct http_client *client, bool *closed)
{
    struct transfer *transfer;

    sched_lock(client->sched);
    transfer = STAILQ_FIRST(&client->queue);
    if (transfer) {
        STAILQ_REMOVE_HEAD(&client->queue, in_queue);
        transfer->queued = false;
        *closed = exchange_is_closed(transfer->exchange);
    }
    sched_unlock(client->sched);
    return transfer;
}

/* The rest waits for the next turn: connecting takes the kernel long when ports are scarce. */
void http_client_turn(struct http_client *client)
{
    struct transfer *transfer;
    bool closed;

    for (int i = 0; i < TURN_MAX && (transfer = client_pop(client, &closed)); i++) {
        if (closed)
            transfer_abandon(transfer);
        else if (transfer->easy == NULL)
            transfer_begin(transfer);
        else
            transfer_resume(transfer);
    }
    if (client->multi)
        on_finished(client);
    sched_lock(client->sched);
    if (!STAILQ_EMPTY(&client->queue))
        sched_poke(client->sched);
    sched_unlock(client->sched);
}

/* Queue what the agent wants. Any thread; locked. */
static void client_attend(void *data, struct agent_http *exchange)
{
    struct http_client *client = data;
    struct transfer *transfer = exchange_transfer(exchange);

    sched_assert_locked(client->sched);
    if (transfer == NULL) {
        transfer = mem_alloc(sizeof *transfer);
        transfer->client = client;
        transfer->exchange = exchange;
        exchange_set_transfer(exchange, transfer);
    }
    if (transfer->queued)
        return;
    transfer->queued = true;
    STAILQ_INSERT_TAIL(&client->queue, transfer, in_queue);
    sched_poke(client->sched);
}

/* ---- the whole ---- */

struct http_client *http_client_create(uv_loop_t *loop, struct sched *sched)
{
    struct http_client *client = mem_alloc(sizeof *client);

    client->loop = loop;
    client->sched = sched;
    client->driver = (struct http_driver){.attend = client_attend, .data = client};
    STAILQ_INIT(&client->queue);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    return client;
}

const struct http_driver *http_client_driver(const struct http_client *client)
{
    return &client->driver;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void http_client_destroy(struct http_client *client)
{
    if (client == NULL)
        return;
    while (!STAILQ_EMPTY(&client->queue))
        http_client_turn(client);
    if (client->multi) {
        curl->multi_cleanup(client->multi);
        curl->global_cleanup();
    }
    uv_close((uv_handle_t *)&client->timer, on_closed);
}
