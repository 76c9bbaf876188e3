/*
 * The fields of an exchange that both sides use are guarded by the outbox's
 * lock. libcurl calls back on the loop, from within calls that are made without
 * the lock.
 */
#include "worker/httpclient.h"

#include "agent.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/job.h"
#include "worker/request.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EXCHANGE_HIGH (256u * 1024)

#define MAX_HEADERS   (64u * 1024)
#define MAX_REDIRECTS 5

struct http_client {
    uv_loop_t *loop;
    struct outbox *outbox;
    CURLM *multi; /* made when it is needed first */
    uv_timer_t timer;
    STAILQ_HEAD(, agent_http) queue; /* that want something of the loop */
};

/* A socket of libcurl's, as long as libcurl has it. */
struct curl_socket {
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct agent_http {
    struct http_client *client;
    struct job *job;     /* NULL when it is closed */
    struct task *waiter; /* NULL if none waits */
    CURL *easy;          /* the loop's, as is what follows */
    struct curl_slist *fields;
    char *url, *method, *body;
    size_t body_length;
    uint32_t connect_timeout_ms, idle_timeout_ms, timeout_ms;
    size_t max_bytes;
    size_t received;
    struct buf head;  /* the response's header lines, each terminated */
    int status;       /* of the response; 0 while its headers are not whole */
    struct buf data;  /* that the agent has not read */
    struct buf piece; /* the agent's: what it has read last */
    bool paused;
    bool queued;
    bool done;
    int error; /* negative errno; 0 if all is well */
    char message[CURL_ERROR_SIZE + 64];
    STAILQ_ENTRY(agent_http) in_queue; /* in client->queue */
    TAILQ_ENTRY(agent_http) in_job;    /* in job->exchanges */
};

/* ---- libcurl on the loop ---- */

static void on_finished(struct http_client *client);

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct curl_socket *socket = poll->data;
    struct http_client *client = socket->client;
    int flags = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0);
    int running;

    curl_multi_socket_action(client->multi, socket->fd, flags, &running);
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
    curl_multi_assign(client->multi, fd, socket);
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
        curl_multi_assign(client->multi, fd, NULL);
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

    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
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
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->multi = curl_multi_init();
    if (client->multi == NULL)
        log_fatal("libcurl does not start");
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_changed);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
}

/* ---- what comes ---- */

static void exchange_wake(struct agent_http *exchange)
{
    if (exchange->waiter)
        task_wake(exchange->waiter);
}

/* Its first error counts. Locked. */
__attribute__((format(printf, 3, 4))) static void exchange_fail(struct agent_http *exchange,
                                                                int error, const char *format, ...)
{
    va_list args;

    if (exchange->error)
        return;
    exchange->error = error;
    va_start(args, format);
    vsnprintf(exchange->message, sizeof exchange->message, format, args);
    va_end(args);
}

/* Whether libcurl goes on to another URL. */
static bool is_followed(struct agent_http *exchange, long status)
{
    long follows = exchange->body == NULL && strcmp(exchange->method, "GET") == 0;

    return follows && status >= 300 && status < 400 && exchange_header(exchange, "Location");
}

/* A header's line, the status line before the first, or the empty line behind the last. Locked. */
static bool exchange_take_line(struct agent_http *exchange, const char *line, size_t length)
{
    long status = 0;

    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    if (length == 0) {
        curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && !is_followed(exchange, status))
            exchange->status = (int)status;
        exchange_wake(exchange);
        return true;
    }
    if (strncmp(line, "HTTP/", 5) == 0)
        buf_consume(&exchange->head, buf_length(&exchange->head));
    if (buf_length(&exchange->head) + length > MAX_HEADERS)
        return false;
    buf_append(&exchange->head, line, length);
    buf_append(&exchange->head, "", 1);
    return true;
}

static size_t on_header(char *line, size_t one, size_t length, void *data)
{
    struct agent_http *exchange = data;
    bool taken = true;

    (void)one;
    outbox_lock(exchange->client->outbox);
    if (exchange->job && exchange->status == 0) /* else they are trailers */
        taken = exchange_take_line(exchange, line, length);
    if (!taken)
        exchange_fail(exchange, -EPROTO, "the response has more than %u bytes of headers",
                      MAX_HEADERS);
    outbox_unlock(exchange->client->outbox);
    return taken ? length : 0;
}

/* Locked. */
static size_t exchange_take(struct agent_http *exchange, const char *data, size_t length)
{
    if (exchange->job == NULL)
        return 0;
    if (exchange->status == 0) /* of a redirect */
        return length;
    if (buf_length(&exchange->data) >= EXCHANGE_HIGH) {
        exchange->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    exchange->received += length;
    if (exchange->received > exchange->max_bytes) {
        exchange_fail(exchange, -EMSGSIZE, "the response has more than %zu bytes",
                      exchange->max_bytes);
        return 0;
    }
    buf_append(&exchange->data, data, length);
    exchange_wake(exchange);
    return length;
}

static size_t on_data(char *data, size_t one, size_t length, void *user)
{
    struct agent_http *exchange = user;
    size_t taken;

    (void)one;
    outbox_lock(exchange->client->outbox);
    taken = exchange_take(exchange, data, length);
    outbox_unlock(exchange->client->outbox);
    return taken;
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
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return -EINVAL;
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

static void exchange_finish(struct agent_http *exchange, CURLcode code)
{
    outbox_lock(exchange->client->outbox);
    if (code != CURLE_OK)
        exchange_fail(exchange, error_of(code), "%s", curl_easy_strerror(code));
    else if (exchange->status == 0)
        exchange_fail(exchange, -EPROTO, "the response has no status");
    exchange->done = true;
    exchange_wake(exchange);
    outbox_unlock(exchange->client->outbox);
}

static void on_finished(struct http_client *client)
{
    struct agent_http *exchange;
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
        exchange_finish(exchange, message->data.result);
    }
}

/* ---- what the loop does for an agent ---- */

static void exchange_set_request(struct agent_http *exchange)
{
    CURL *easy = exchange->easy;

    curl_easy_setopt(easy, CURLOPT_URL, exchange->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->fields);
    if (exchange->body) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body_length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->body);
    } else if (strcmp(exchange->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(exchange->method, "GET") == 0) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
    }
    if (strcmp(exchange->method, "HEAD") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, exchange->method);
}

static void exchange_set_limits(struct agent_http *exchange)
{
    CURL *easy = exchange->easy;

    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)exchange->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)exchange->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(
        easy, CURLOPT_LOW_SPEED_TIME,
        (long)(exchange->idle_timeout_ms / 1000 + (exchange->idle_timeout_ms % 1000 > 0)));
}

static void exchange_set_transport(struct agent_http *exchange)
{
    const char *authorities = getenv("SSL_CERT_FILE");
    CURL *easy = exchange->easy;

    if (authorities && *authorities)
        curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
}

static void exchange_begin(struct agent_http *exchange)
{
    client_open_multi(exchange->client);
    exchange->easy = curl_easy_init();
    if (exchange->easy == NULL)
        log_fatal("libcurl has no memory");
    exchange_set_request(exchange);
    exchange_set_limits(exchange);
    exchange_set_transport(exchange);
    curl_multi_add_handle(exchange->client->multi, exchange->easy);
}

static void exchange_destroy(struct agent_http *exchange)
{
    if (exchange->easy) {
        curl_multi_remove_handle(exchange->client->multi, exchange->easy);
        curl_easy_cleanup(exchange->easy);
    }
    curl_slist_free_all(exchange->fields);
    free(exchange->url);
    free(exchange->method);
    free(exchange->body);
    buf_finish(&exchange->head);
    buf_finish(&exchange->data);
    buf_finish(&exchange->piece);
    free(exchange);
}

/* The next that wants something, and whether it is closed. */
static struct agent_http *client_pop(struct http_client *client, bool *closed)
{
    struct agent_http *exchange;

    outbox_lock(client->outbox);
    exchange = STAILQ_FIRST(&client->queue);
    if (exchange) {
        STAILQ_REMOVE_HEAD(&client->queue, in_queue);
        exchange->queued = false;
        *closed = exchange->job == NULL;
    }
    outbox_unlock(client->outbox);
    return exchange;
}

void http_client_turn(struct http_client *client)
{
    struct agent_http *exchange;
    bool closed;

    while ((exchange = client_pop(client, &closed))) {
        if (closed)
            exchange_destroy(exchange);
        else if (exchange->easy == NULL)
            exchange_begin(exchange);
        else
            curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
    }
    if (client->multi)
        on_finished(client);
}

/* Locked. */
static void exchange_queue(struct agent_http *exchange)
{
    if (exchange->queued)
        return;
    exchange->queued = true;
    STAILQ_INSERT_TAIL(&exchange->client->queue, exchange, in_queue);
    outbox_poke(exchange->client->outbox);
}

/* ---- the agent's side ---- */

static uint32_t number_or(uint32_t number, uint32_t other)
{
    return number ? number : other;
}

static struct agent_http *exchange_create(struct http_client *client,
                                          const struct agent_http_request *request)
{
    struct agent_http *exchange = mem_alloc(sizeof *exchange);

    exchange->client = client;
    exchange->url = mem_strdup(request->url);
    exchange->method = mem_strdup(request_method(request));
    if (request->body) {
        exchange->body_length = request_body_length(request);
        exchange->body = mem_copy(request->body, exchange->body_length);
    }
    for (const char *const *field = request->headers; field && *field; field++)
        exchange->fields = curl_slist_append(exchange->fields, *field);
    exchange->connect_timeout_ms =
        number_or(request->connect_timeout_ms, REQUEST_CONNECT_TIMEOUT_MS);
    exchange->idle_timeout_ms = number_or(request->idle_timeout_ms, REQUEST_IDLE_TIMEOUT_MS);
    exchange->timeout_ms = request->timeout_ms;
    exchange->max_bytes = request->max_bytes ? request->max_bytes : REQUEST_MAX_BYTES;
    return exchange;
}

int exchange_open(struct http_client *client, struct task *task,
                  const struct agent_http_request *request, struct agent_http **out)
{
    struct agent_http *exchange;
    struct job *job = task->job;

    if (!request_is_valid(request))
        return -EINVAL;
    if (job_is_stopped(job))
        return -ECANCELED;
    exchange = exchange_create(client, request);
    outbox_lock(client->outbox);
    exchange->job = job;
    TAILQ_INSERT_TAIL(&job->exchanges, exchange, in_job);
    exchange_queue(exchange);
    outbox_unlock(client->outbox);
    *out = exchange;
    return 0;
}

/* Until something came. Locked. */
static void exchange_wait(struct agent_http *exchange, struct task *task)
{
    exchange->waiter = task;
    task_wait(task, FIBER_NO_TIMEOUT);
    exchange->waiter = NULL;
}

int exchange_status(struct agent_http *exchange, struct task *task)
{
    struct job *job = task->job;
    int status;

    outbox_lock(job->outbox);
    while (!job_is_stopped(job) && exchange->status == 0 && !exchange->done)
        exchange_wait(exchange, task);
    status = job_is_stopped(job)     ? -ECANCELED
             : exchange->status == 0 ? exchange->error
                                     : exchange->status;
    outbox_unlock(job->outbox);
    return status;
}

/* Locked. */
static long exchange_take_piece(struct agent_http *exchange, const char **data)
{
    buf_consume(&exchange->piece, buf_length(&exchange->piece));
    if (buf_length(&exchange->data) == 0)
        return exchange->error;
    buf_swap(&exchange->piece, &exchange->data);
    if (exchange->paused) {
        exchange->paused = false;
        exchange_queue(exchange);
    }
    *data = buf_data(&exchange->piece);
    return (long)buf_length(&exchange->piece);
}

long exchange_read(struct agent_http *exchange, struct task *task, const char **data)
{
    struct job *job = task->job;
    long length;

    outbox_lock(job->outbox);
    while (!job_is_stopped(job) && buf_length(&exchange->data) == 0 && !exchange->done)
        exchange_wait(exchange, task);
    length = job_is_stopped(job) ? -ECANCELED : exchange_take_piece(exchange, data);
    outbox_unlock(job->outbox);
    return length;
}

const char *exchange_header(struct agent_http *exchange, const char *name)
{
    const char *line = buf_data(&exchange->head), *end = line + buf_length(&exchange->head);
    size_t length = strlen(name);

    for (; line < end; line += strlen(line) + 1) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

const char *exchange_error(struct agent_http *exchange)
{
    return exchange->error ? exchange->message : "";
}

/* Locked. */
static void exchange_leave(struct agent_http *exchange)
{
    TAILQ_REMOVE(&exchange->job->exchanges, exchange, in_job);
    exchange->job = NULL;
    exchange_queue(exchange);
}

void exchange_close(struct agent_http *exchange)
{
    struct outbox *outbox = exchange->client->outbox;

    outbox_lock(outbox);
    exchange_leave(exchange);
    outbox_unlock(outbox);
}

void exchanges_close_all(struct job *job)
{
    struct agent_http *exchange;

    while ((exchange = TAILQ_FIRST(&job->exchanges)))
        exchange_leave(exchange);
}

/* ---- the whole ---- */

struct http_client *http_client_create(uv_loop_t *loop, struct outbox *outbox)
{
    struct http_client *client = mem_alloc(sizeof *client);

    client->loop = loop;
    client->outbox = outbox;
    STAILQ_INIT(&client->queue);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    return client;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void http_client_destroy(struct http_client *client)
{
    if (client == NULL)
        return;
    http_client_turn(client);
    if (client->multi) {
        curl_multi_cleanup(client->multi);
        curl_global_cleanup();
    }
    uv_close((uv_handle_t *)&client->timer, on_closed);
}
