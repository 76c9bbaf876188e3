/*
 * The fields of an exchange that both sides use are guarded by the scheduler's
 * lock. libcurl calls back on the loop, from within calls that are made without
 * the lock; what would end a transfer is never done in such a callback, but
 * queued.
 *
 * HTTP/1.1, and a connection for each exchange at a time, unless its agent asks
 * for HTTP/2: libcurl takes up to 32 MiB of a response then that is paused, and
 * what happens to one connection happens to many runs.
 *
 * What a server may cost: EXCHANGE_HIGH and one write of libcurl's (16 KiB)
 * that are not read, once more as much that is being read, MAX_HEADERS, and what
 * 16 KiB of gzip become, which libcurl keeps while it is paused.
 */
#include "worker/httpclient.h"

#include "agent.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/http_request.h"
#include "worker/job.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EXCHANGE_HIGH (256u * 1024)

/* Exchanges that are begun, resumed or ended in one turn of the loop. */
#define TURN_MAX 256

#define MAX_HEADERS   (64u * 1024)
#define MAX_REDIRECTS 5
#define UPLOAD_BUFFER (16 * 1024) /* the least that libcurl takes */

struct http_client {
    uv_loop_t *loop;
    struct sched *sched;
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
    unsigned refs;       /* the loop's, and that of the call that waits */
    struct job *job;     /* NULL when it is closed */
    struct task *waiter; /* NULL if none waits */
    struct curl_slist *fields;
    char *url, *method, *body;
    size_t body_length;
    uint32_t connect_timeout_ms, idle_timeout_ms, timeout_ms;
    size_t max_bytes;
    bool http2;
    CURL *easy;        /* the loop's, as is what follows, up to head */
    uv_timer_t *idle;  /* runs while the transfer does */
    uint64_t began_at; /* of the clock */
    uint64_t active_at;
    curl_off_t sent;
    size_t received;
    char reason[CURL_ERROR_SIZE]; /* libcurl's, for an error */
    struct buf head;              /* the response's header lines, each terminated */
    int status;                   /* of the response; 0 while its headers are not whole */
    struct buf data;              /* that the agent has not read */
    struct buf piece;             /* the agent's: what it has read last */
    bool paused;
    bool queued;
    bool done;
    int error; /* negative errno; 0 if all is well */
    char message[CURL_ERROR_SIZE];
    STAILQ_ENTRY(agent_http) in_queue; /* in client->queue */
    TAILQ_ENTRY(agent_http) in_job;    /* in exchanges->list */
};

void exchanges_init(struct exchanges *exchanges)
{
    TAILQ_INIT(&exchanges->list);
}

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
        sched_wake(exchange->client->sched, &exchange->waiter->waiter);
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

/* A value in the head; NULL if there is none. Locked. */
static const char *exchange_find(const struct agent_http *exchange, const char *name)
{
    const char *line = buf_data(&exchange->head), *end = line + buf_length(&exchange->head);
    size_t length = strlen(name);

    for (; line < end; line += strlen(line) + 1) {
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

static bool follows_redirects(const struct agent_http *exchange)
{
    return exchange->body == NULL && strcmp(exchange->method, "GET") == 0;
}

/* Whether libcurl goes on to another URL. */
static bool is_followed(const struct agent_http *exchange, long status)
{
    const char *location = exchange_find(exchange, "Location");

    return follows_redirects(exchange) && status >= 300 && status < 400 && location && *location;
}

/* The head is whole; another follows if it is an interim response's, or a redirect's. Locked. */
static void exchange_take_status(struct agent_http *exchange)
{
    long status = 0;

    curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200 || is_followed(exchange, status))
        return;
    exchange->status = (int)status;
    exchange_wake(exchange);
}

/* A header's line, the status line before the first, or the empty line behind the last. Locked. */
static bool exchange_take_line(struct agent_http *exchange, const char *line, size_t length)
{
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    if (length == 0) {
        exchange_take_status(exchange);
        return true;
    }
    while (line[length - 1] == ' ' || line[length - 1] == '\t') {
        if (--length == 0)
            return true;
    }
    if (length > 5 && strncmp(line, "HTTP/", 5) == 0)
        buf_consume(&exchange->head, buf_length(&exchange->head));
    if (buf_length(&exchange->head) + length > MAX_HEADERS)
        return false;
    buf_append(&exchange->head, line, length);
    buf_append(&exchange->head, "", 1);
    return true;
}

static void exchange_note_activity(struct agent_http *exchange)
{
    exchange->active_at = clock_now();
}

static size_t on_header(char *line, size_t one, size_t length, void *data)
{
    struct agent_http *exchange = data;
    bool taken = true;

    (void)one;
    exchange_note_activity(exchange);
    sched_lock(exchange->client->sched);
    if (exchange->job && exchange->status == 0) /* else they are trailers */
        taken = exchange_take_line(exchange, line, length);
    if (!taken)
        exchange_fail(exchange, -EPROTO, "the response has more than %u bytes of headers",
                      MAX_HEADERS);
    sched_unlock(exchange->client->sched);
    return taken ? length : 0;
}

/* Locked. */
static size_t exchange_take(struct agent_http *exchange, const char *data, size_t length)
{
    if (exchange->job == NULL)
        return 0;
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
    exchange_note_activity(exchange);
    sched_lock(exchange->client->sched);
    taken = exchange_take(exchange, data, length);
    sched_unlock(exchange->client->sched);
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
    const char *reason = exchange->reason[0] ? exchange->reason : curl_easy_strerror(code);

    uv_timer_stop(exchange->idle);
    sched_lock(exchange->client->sched);
    if (code != CURLE_OK)
        exchange_fail(exchange, error_of(code), "%s", reason);
    else if (exchange->status == 0)
        exchange_fail(exchange, -ECONNRESET, "the connection ended within the headers");
    exchange->done = true;
    exchange_wake(exchange);
    sched_unlock(exchange->client->sched);
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

/* ---- time ---- */

static uint64_t exchange_idle_end(const struct agent_http *exchange)
{
    return exchange->active_at + exchange->idle_timeout_ms * CLOCK_MS;
}

static bool exchange_is_paused(struct agent_http *exchange)
{
    bool paused;

    sched_lock(exchange->client->sched);
    paused = exchange->paused;
    sched_unlock(exchange->client->sched);
    return paused;
}

/* Connecting has a time limit of its own, and so has an agent that does not read none. */
static bool exchange_may_rest(struct agent_http *exchange)
{
    curl_off_t connected_us = 0, sent = 0;
    uint64_t connected_at;

    curl_easy_getinfo(exchange->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
    curl_easy_getinfo(exchange->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (connected_us == 0 || sent != exchange->sent || exchange_is_paused(exchange))
        exchange_note_activity(exchange);
    exchange->sent = sent;
    connected_at = exchange->began_at + (uint64_t)connected_us * 1000;
    if (connected_at > exchange->active_at)
        exchange->active_at = connected_at;
    return clock_now() < exchange_idle_end(exchange);
}

/* It fires when the time would be over if nothing had come since it was started. */
static void on_idle(uv_timer_t *timer)
{
    struct agent_http *exchange = timer->data;

    if (exchange_may_rest(exchange)) {
        uv_timer_start(timer, on_idle,
                       exchange_idle_end(exchange) / CLOCK_MS + 1 - uv_now(timer->loop), 0);
        return;
    }
    curl_multi_remove_handle(exchange->client->multi, exchange->easy);
    snprintf(exchange->reason, sizeof exchange->reason, "nothing came for %u ms",
             (unsigned)exchange->idle_timeout_ms);
    exchange_finish(exchange, CURLE_OPERATION_TIMEDOUT);
}

static void on_idle_closed(uv_handle_t *handle)
{
    free(handle);
}

static void exchange_start_idle(struct agent_http *exchange)
{
    exchange->began_at = exchange->active_at = clock_now();
    exchange->idle = mem_alloc(sizeof *exchange->idle);
    exchange->idle->data = exchange;
    uv_timer_init(exchange->client->loop, exchange->idle);
    uv_timer_start(exchange->idle, on_idle, exchange->idle_timeout_ms, 0);
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
    } else if (follows_redirects(exchange)) {
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
}

static void exchange_set_protocols(struct agent_http *exchange)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(exchange->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(exchange->easy, CURLOPT_REDIR_PROTOCOLS,
                     (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700 /* else the loop may wait for a resolver's thread */
    curl_easy_setopt(exchange->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static void exchange_set_transport(struct agent_http *exchange)
{
    const char *authorities = getenv("SSL_CERT_FILE");
    CURL *easy = exchange->easy;

    if (authorities && *authorities)
        curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long)(exchange->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, (long)exchange->http2);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING,
                     "gzip, deflate"); /* others expand without bound */
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    /* libcurl 8 keeps a request in a buffer of this size as long as the exchange lasts. */
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "sluice/" PACKAGE_VERSION);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->reason);
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
    exchange_set_protocols(exchange);
    exchange_set_transport(exchange);
    exchange_start_idle(exchange);
    curl_multi_add_handle(exchange->client->multi, exchange->easy);
}

/* Locked; and the loop's is gone. */
static void exchange_unref(struct agent_http *exchange)
{
    if (--exchange->refs > 0)
        return;
    curl_slist_free_all(exchange->fields);
    free(exchange->url);
    free(exchange->method);
    free(exchange->body);
    buf_finish(&exchange->head);
    buf_finish(&exchange->data);
    buf_finish(&exchange->piece);
    free(exchange);
}

/* Ends the transfer. */
static void exchange_abandon(struct agent_http *exchange)
{
    struct http_client *client = exchange->client;

    if (exchange->easy) {
        curl_multi_remove_handle(client->multi, exchange->easy);
        curl_easy_cleanup(exchange->easy);
        uv_close((uv_handle_t *)exchange->idle, on_idle_closed);
    }
    sched_lock(client->sched);
    exchange_unref(exchange);
    sched_unlock(client->sched);
}

static void exchange_resume(struct agent_http *exchange)
{
    exchange_note_activity(exchange);
    curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
}

/* The next that wants something, and whether it is closed. */
static struct agent_http *client_pop(struct http_client *client, bool *closed)
{
    struct agent_http *exchange;

    sched_lock(client->sched);
    exchange = STAILQ_FIRST(&client->queue);
    if (exchange) {
        STAILQ_REMOVE_HEAD(&client->queue, in_queue);
        exchange->queued = false;
        *closed = exchange->job == NULL;
    }
    sched_unlock(client->sched);
    return exchange;
}

/* What is left waits for the next turn: connecting takes the kernel long when ports are scarce. */
void http_client_turn(struct http_client *client)
{
    struct agent_http *exchange;
    bool closed;

    for (int i = 0; i < TURN_MAX && (exchange = client_pop(client, &closed)); i++) {
        if (closed)
            exchange_abandon(exchange);
        else if (exchange->easy == NULL)
            exchange_begin(exchange);
        else
            exchange_resume(exchange);
    }
    if (client->multi)
        on_finished(client);
    sched_lock(client->sched);
    if (!STAILQ_EMPTY(&client->queue))
        sched_poke(client->sched);
    sched_unlock(client->sched);
}

/* Locked. */
static void exchange_queue(struct agent_http *exchange)
{
    if (exchange->queued)
        return;
    exchange->queued = true;
    STAILQ_INSERT_TAIL(&exchange->client->queue, exchange, in_queue);
    sched_poke(exchange->client->sched);
}

/* ---- the agent's side ---- */

/* libcurl takes "Name:" for one that is not to be sent, and "Name;" for one without a value. */
static void exchange_add_field(struct agent_http *exchange, const char *field)
{
    size_t length = strcspn(field, ":");
    char *bare = NULL;

    if (field[length + 1 + strspn(field + length + 1, " \t")] == '\0') {
        bare = mem_copy(field, length + 1);
        bare[length] = ';';
    }
    exchange->fields = curl_slist_append(exchange->fields, bare ? bare : field);
    free(bare);
}

/* Takes out what libcurl would add, unless the agent has it. */
static void exchange_omit_field(struct agent_http *exchange, const char *name)
{
    size_t length = strlen(name) - 1;

    for (const struct curl_slist *field = exchange->fields; field; field = field->next) {
        if (strncasecmp(field->data, name, length) == 0 &&
            (field->data[length] == ':' || field->data[length] == ';'))
            return;
    }
    exchange->fields = curl_slist_append(exchange->fields, name);
}

static void exchange_set_fields(struct agent_http *exchange, const char *const *fields)
{
    for (; fields && *fields; fields++)
        exchange_add_field(exchange, *fields);
    exchange_omit_field(exchange, "Expect:");
    exchange_omit_field(exchange, "Content-Type:");
}

/* Methods whose requests say how long their body is even if they have none. */
static bool has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void exchange_set_body(struct agent_http *exchange, const struct agent_http_request *request)
{
    if (request->body) {
        exchange->body_length = http_request_body_length(request);
        exchange->body = mem_copy(request->body, exchange->body_length);
    } else if (has_body(exchange->method)) {
        exchange->body = mem_strdup("");
    }
}

static uint32_t number_or(uint32_t number, uint32_t other)
{
    return number ? number : other;
}

static struct agent_http *exchange_create(struct http_client *client,
                                          const struct agent_http_request *request)
{
    struct agent_http *exchange = mem_alloc(sizeof *exchange);

    exchange->client = client;
    exchange->refs = 1;
    exchange->url = mem_strdup(request->url);
    exchange->method = mem_strdup(http_request_method(request));
    exchange_set_body(exchange, request);
    exchange_set_fields(exchange, request->headers);
    exchange->connect_timeout_ms =
        number_or(request->connect_timeout_ms, HTTP_REQUEST_CONNECT_TIMEOUT_MS);
    exchange->idle_timeout_ms = number_or(request->idle_timeout_ms, HTTP_REQUEST_IDLE_TIMEOUT_MS);
    exchange->http2 = request->http2 != 0;
    exchange->timeout_ms = request->timeout_ms;
    exchange->max_bytes = request->max_bytes ? request->max_bytes : HTTP_REQUEST_MAX_BYTES;
    return exchange;
}

int exchange_open(struct task *task, const struct agent_http_request *request,
                  struct agent_http **out)
{
    struct agent_http *exchange;
    struct job *job = task->job;
    struct sched *sched = job_sched(job); /* outlives the client, for a thread that is late */
    bool stopped;

    if (!http_request_is_valid(request))
        return -EINVAL;
    exchange = exchange_create(job_host(job)->http, request);
    sched_lock(sched);
    stopped = job_is_stopped(job);
    if (stopped) {
        exchange_unref(exchange);
    } else {
        exchange->job = job;
        TAILQ_INSERT_TAIL(&job_exchanges(job)->list, exchange, in_job);
        exchange_queue(exchange);
        *out = exchange;
    }
    sched_unlock(sched);
    return stopped ? -ECANCELED : 0;
}

static bool has_status(const struct agent_http *exchange)
{
    return exchange->status != 0 || exchange->done;
}

static bool has_data(const struct agent_http *exchange)
{
    return buf_length(&exchange->data) > 0 || exchange->done;
}

/*
 * Waits for this: 0; -ECANCELED if the run is to stop; -EBUSY if another call
 * waits. The agent may close the exchange meanwhile; -ECANCELED then. Locked.
 */
static int exchange_await(struct agent_http *exchange, struct task *task,
                          bool (*has)(const struct agent_http *exchange))
{
    bool closed = false;

    if (exchange->waiter && !job_is_stopped(task->job))
        return -EBUSY;
    while (!job_is_stopped(task->job) && !closed && !has(exchange)) {
        exchange->waiter = task;
        exchange->refs++;
        job_wait(task, NEVER);
        exchange->waiter = NULL;
        closed = exchange->job == NULL;
        exchange_unref(exchange);
    }
    return closed || job_is_stopped(task->job) ? -ECANCELED : 0;
}

int exchange_status(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);
    int status;

    sched_lock(sched);
    status = exchange_await(exchange, task, has_status);
    if (status == 0)
        status = exchange->status ? exchange->status : exchange->error;
    sched_unlock(sched);
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
    struct sched *sched = job_sched(task->job);
    long length;

    sched_lock(sched);
    length = exchange_await(exchange, task, has_data);
    if (length == 0)
        length = exchange_take_piece(exchange, data);
    sched_unlock(sched);
    return length;
}

/* The head does not change any more once there is a status. */
const char *exchange_header(struct agent_http *exchange, struct task *task, const char *name)
{
    struct sched *sched = job_sched(task->job);
    const char *value = NULL;

    sched_lock(sched);
    if (!job_is_over(task->job) && exchange->status)
        value = exchange_find(exchange, name);
    sched_unlock(sched);
    return value;
}

/* Nor does the message once there is an error. */
const char *exchange_error(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);
    const char *message;

    sched_lock(sched);
    message = !job_is_over(task->job) && exchange->error ? exchange->message : "";
    sched_unlock(sched);
    return message;
}

/* Locked. */
static void exchange_leave(struct agent_http *exchange)
{
    TAILQ_REMOVE(&job_exchanges(exchange->job)->list, exchange, in_job);
    exchange->job = NULL;
    exchange_wake(exchange);
    exchange_queue(exchange);
}

void exchange_close(struct agent_http *exchange, struct task *task)
{
    struct sched *sched = job_sched(task->job);

    sched_lock(sched);
    if (!job_is_over(task->job)) /* else it is closed */
        exchange_leave(exchange);
    sched_unlock(sched);
}

void exchanges_close_all(struct job *job)
{
    struct agent_http *exchange;

    while ((exchange = TAILQ_FIRST(&job_exchanges(job)->list)))
        exchange_leave(exchange);
}

/* ---- the whole ---- */

struct http_client *http_client_create(uv_loop_t *loop, struct sched *sched)
{
    struct http_client *client = mem_alloc(sizeof *client);

    client->loop = loop;
    client->sched = sched;
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
    while (!STAILQ_EMPTY(&client->queue))
        http_client_turn(client);
    if (client->multi) {
        curl_multi_cleanup(client->multi);
        curl_global_cleanup();
    }
    uv_close((uv_handle_t *)&client->timer, on_closed);
}
