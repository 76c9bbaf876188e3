/*
 * A request's way through libmicrohttpd, which calls on_target() when the first
 * line is there, then on_access() once when the headers are there, once for each
 * piece of the body, and once more after it:
 *
 *     first line   taken apart (target.h); libmicrohttpd gets an empty query
 *     headers      a request that others may see otherwise is refused
 *                  (framing.h); the handler's admit() lets it in, or replies
 *     body         kept up to max_body, if admit() wants one; else the request
 *                  goes on at once, and its connection closes without a look at it
 *     the end      the handler's handle(), after which the request is
 *
 *         replied      its response is queued at once
 *         waiting      on_access() is called once more and suspends its connection
 *                      (conn.h); the answer resumes it, and on_access() is called
 *                      again to queue the response
 *         opening      it will stream: its response gets a reader, on_read()
 *
 *     RECEIVING ──► HANDLING ──► REPLIED ◄──┐
 *                      │ │                  │ http_reply
 *                      │ └─────► WAITING ───┤
 *         http_stream  │                    │ http_stream
 *                      └───────► OPENING ◄──┘
 *                                   │ on_read: the headers are out
 *                                   ▼
 *                               STREAMING ──► ENDED    http_stream_end
 *                                   │
 *                                   └───────► RESET    http_stream_reset
 *
 * on_read() never reads: its first call suspends the connection, whose socket
 * is then written to directly; its second, after http_stream_end(), ends the
 * response. A reset is possible in every state of a stream.
 *
 * A stream leaves in few packets: its headers are corked until its first bytes
 * follow them, and bytes that the end follows are sent with MSG_MORE, or kept
 * corked, until libmicrohttpd's last chunk.
 *
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

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/networks.h"
#include "base/time.h"
#include "http/arrivals.h"
#include "http/conn.h"
#include "http/deadlines.h"
#include "http/forwarded.h"
#include "http/framing.h"
#include "http/lingers.h"
#include "http/listeners.h"
#include "http/problem.h"
#include "http/target.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
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

/* Block size of a stream's reader for libmicrohttpd; nothing is ever read through it. */
#define READER_BLOCK 64

#define HEADERS_MAX 12

/* The limit is ours; libmicrohttpd may count a connection for a little longer. */
#define CONNECTIONS_SLACK 16

/* Maximum seconds from the last sign of life to a keep-alive probe, and between two probes. */
#define PROBE_MAX       5
#define PROBE_AGAIN_MAX 2

/* The kernel waits this many ms longer than the front, which can tell more about a slow reader. */
#define TIMEOUT_AFTER 1000

/* An answer of at most this many bytes belongs to its connection; no client is charged for it. */
#define ANSWER_FREE 4096

#if MHD_VERSION >= 0x00097002
typedef enum MHD_Result mhd_result;
#else
typedef int mhd_result;
#endif

struct http {
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;         /* its epoll descriptor */
    uv_timer_t timer;       /* when it wants to run next */
    uv_idle_t turn;         /* active if that is at once */
    struct handles handles; /* those three, when they are closed */
    bool is_tls;
    struct listeners *listeners;
    struct arrivals *arrivals;     /* connections whose proxies have not said for whom */
    struct networks *proxies;      /* the trusted ones */
    TAILQ_HEAD(, http_peer) added; /* which libmicrohttpd has not started */
    size_t connections;            /* with arrivals */
    size_t max_connections;
    size_t handshakes;  /* connections that may be in one */
    unsigned vain_runs; /* in a row; nothing was begun, received or ended in them */
    size_t max_body;
    bool is_full; /* it was said that there are no more connections */
    unsigned stall_s;
    const struct http_handler *handler;
    void *data;
    struct deadlines *deadlines; /* of http_peer.deadline */
    struct lingers *lingers;
    TAILQ_HEAD(, http_request) requests;
    size_t open;
};

/* A connection, from its start to its end. */
struct http_peer {
    struct deadline deadline;          /* first; set while the connection owes a request */
    struct MHD_Connection *connection; /* NULL until it is started */
    int fd;
    TAILQ_ENTRY(http_peer) in_added; /* in http->added, until then */
    bool in_handshake;               /* TLS has not delivered a request yet */
    bool answered;                   /* a request was answered before */
    bool still_sends;                /* its last answer came before the end of its request */
    unsigned stall_s;                /* that its socket has */
    struct sockaddr_storage client;
    char address[INET6_ADDRSTRLEN]; /* the same as text */
};

/* Whether libmicrohttpd can be told to be strict and answer what it then refuses. */
static bool library_is_strict(void)
{
    return strcmp(MHD_get_version(), "1") >= 0;
}

enum request_state {
    REQUEST_ARRIVING, /* its headers are not there; it does not count as open */
    REQUEST_RECEIVING,
    REQUEST_HANDLING, /* its handler runs */
    REQUEST_WAITING,  /* for its answer */
    REQUEST_REPLIED,
    REQUEST_OPENING,   /* a stream whose headers are not out */
    REQUEST_STREAMING, /* its connection is suspended */
    REQUEST_ENDED,     /* the stream is whole */
    REQUEST_RESET,
};

struct http_request {
    struct conn *conn; /* first, with corked: each send of a stream looks at both */
    bool corked;       /* the headers leave with the stream's first bytes, or with all of it */
    struct http *http;
    struct http_peer *peer;
    struct MHD_Connection *connection;
    const char *method;
    char *room; /* the target points into it */
    struct target target;
    const char *bad_target;     /* what is wrong with it, or NULL */
    const char *version_expect; /* where the version should begin in libmicrohttpd's buffer */
    char *subject;
    char *client; /* address of a trusted proxy's client, else NULL */
    bool http_1_1;
    enum request_state state;
    bool too_large;
    bool crowded;    /* its client has no room for its body */
    uint64_t length; /* of its body, 0 if that is not known */
    size_t body_charge, answer_charge;
    struct buf body;
    struct MHD_Response *response; /* while its headers are being collected, and until queued */
    struct {
        const char *name;
        char *value;
    } headers[HEADERS_MAX];
    int header_count;
    unsigned status;
    const struct http_stream_handler
        *holder; /* who waits or streams; NULL: nobody, or it was told */
    void *data;
    TAILQ_ENTRY(http_request) in_http; /* in http->requests */
};

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

/*
 * Needed after a connection was resumed, because libmicrohttpd's timeout does
 * not count it, and after one was closed, because libmicrohttpd at its limit of
 * connections listens again only when it runs once more.
 */
static void http_run_soon(struct http *http)
{
    uv_idle_start(&http->turn, on_turn);
}

/* ---- answers ---- */

static const struct conn_handler conn_handler;

static void request_suspend(struct http_request *request, bool chunked)
{
    request->conn = conn_create(request->connection, chunked, &conn_handler, request);
}

static void request_resume(struct http_request *request)
{
    conn_resume(request->conn);
    request->conn = NULL;
    http_run_soon(request->http);
}

static void request_free_headers(struct http_request *request)
{
    while (request->header_count > 0) {
        request->header_count--;
        free(request->headers[request->header_count].value);
    }
}

static mhd_result request_queue(struct http_request *request)
{
    mhd_result result;

    for (int i = 0; i < request->header_count; i++)
        MHD_add_response_header(request->response, request->headers[i].name,
                                request->headers[i].value);
    request_free_headers(request);
    result = MHD_queue_response(request->connection, request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

void http_add_header(struct http_request *request, const char *name, const char *value)
{
    int at = request->header_count++;

    assert(at < HEADERS_MAX);
    request->headers[at].name = name;
    request->headers[at].value = mem_strdup(value);
}

/* Charge the request's client. */
static bool request_take(struct http_request *request, size_t *charge, size_t bytes)
{
    const struct http *http = request->http;

    if (http->handler->take && !http->handler->take(http->data, request, bytes))
        return false;
    *charge += bytes;
    return true;
}

static void request_give(struct http_request *request, size_t *charge)
{
    const struct http *http = request->http;

    if (*charge > 0 && http->handler->give)
        http->handler->give(http->data, request, *charge);
    *charge = 0;
}

static void request_drop_body(struct http_request *request)
{
    buf_finish(&request->body);
    request_give(request, &request->body_charge);
}

void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body)
{
    size_t length = buf_length(body);

    if (length > ANSWER_FREE && !request_take(request, &request->answer_charge, length)) {
        buf_finish(body);
        http_refuse(request);
        return;
    }
    request->response =
        MHD_create_response_from_buffer(length, buf_steal(body), MHD_RESPMEM_MUST_FREE);
    request->status = status;
    if (content_type)
        MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(request->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(request->response, "X-Content-Type-Options", "nosniff");
    request->holder = NULL;
    request->state = REQUEST_REPLIED;
    if (request->conn)
        request_resume(request);
}

void http_refuse(struct http_request *request)
{
    request->http->handler->refuse(request->http->data, request);
}

void http_wait(struct http_request *request, const struct http_stream_handler *handler, void *data)
{
    request->state = REQUEST_WAITING;
    request->holder = handler;
    request->data = data;
}

static ssize_t on_read(void *data, uint64_t position, char *to, size_t size)
{
    struct http_request *request = data;

    (void)position;
    (void)to;
    (void)size;
    if (request->state == REQUEST_ENDED)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (request->state != REQUEST_OPENING)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    request->state = REQUEST_STREAMING;
    request_suspend(request, request->http_1_1);
    request->holder->opened(request->data);
    return 0;
}

static void request_cork(struct http_request *request, bool corked)
{
    int on = corked;

    setsockopt(conn_socket(request->connection), IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    request->corked = corked;
}

void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data)
{
    request->response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READER_BLOCK, on_read, request, NULL);
    request->status = MHD_HTTP_OK;
    MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(request->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(request->response, "X-Accel-Buffering", "no");
    request->state = REQUEST_OPENING;
    request->holder = handler;
    request->data = data;
    if (request->peer->answered) /* libmicrohttpd flushes a connection's first headers anyway */
        request_cork(request, true);
    if (request->conn) /* it waited */
        request_resume(request);
}

int http_stream_watch(struct http_request *request)
{
    int status = conn_watch(request->conn, request->http->loop);

    if (status < 0)
        log_error("cannot watch a connection: %s", uv_strerror(status));
    return status;
}

int http_stream_send(struct http_request *request, const struct iovec *pieces, int count, bool last,
                     size_t *sent)
{
    int status = conn_send(request->conn, pieces, count, last, sent);

    /* After a short send, writable() comes only when the bytes that the cork or MSG_MORE holds are
     * out. */
    if ((request->corked && !last) || (last && status == -EAGAIN))
        request_cork(request, false);
    return status;
}

size_t http_stream_unsent(const struct http_request *request)
{
    return request->conn ? conn_unsent(request->conn) : 0;
}

bool http_stream_is_unanswered(const struct http_request *request)
{
    return request->conn && conn_is_unanswered(request->conn);
}

void http_stream_end(struct http_request *request)
{
    request->state = REQUEST_ENDED;
    request->holder = NULL;
    request_resume(request);
}

/*
 * connect() to AF_UNSPEC dissolves a TCP connection, which resets it at once.
 * Nothing that libmicrohttpd writes when it closes the socket, such as an end of
 * the TLS session, gets out.
 */
static void request_reset(struct http_request *request)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    connect(conn_socket(request->connection), &nobody, sizeof nobody);
    request->state = REQUEST_RESET;
    if (request->conn)
        request_resume(request);
}

void http_stream_reset(struct http_request *request)
{
    request->holder = NULL;
    request_reset(request);
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

static void request_set_stall(struct http_request *request)
{
    struct http_peer *peer = request->peer;
    unsigned stall_s = request->http->stall_s;

    if (peer->stall_s != stall_s)
        set_stall(conn_socket(request->connection), stall_s);
    peer->stall_s = stall_s;
}

void http_set_stall(struct http *http, unsigned stall_s)
{
    struct http_request *request;

    http->stall_s = stall_s;
    listeners_each(http->listeners, set_stall, stall_s);
    TAILQ_FOREACH(request, &http->requests, in_http)
        request_set_stall(request);
}

/* Tell whoever holds the request, once. */
static void request_tell_left(struct http_request *request)
{
    const struct http_stream_handler *holder = request->holder;

    request->holder = NULL;
    if (holder)
        holder->left(request->data);
}

static void on_left(void *data)
{
    struct http_request *request = data;

    if (conn_error(request->conn) == -ETIMEDOUT)
        log_info("a client that vanished is disconnected client=%s path=%s",
                 http_client_address(request), request->target.path);
    request_tell_left(request);
    request_reset(request);
}

static void on_half_closed(void *data)
{
    struct http_request *request = data;

    if (request->holder->half_closed)
        request->holder->half_closed(request->data);
}

static void on_writable(void *data)
{
    struct http_request *request = data;

    request->holder->writable(request->data);
}

static const struct conn_handler conn_handler = {
    .writable = on_writable, .half_closed = on_half_closed, .left = on_left};

/* ---- requests ---- */

const char *http_method(const struct http_request *request)
{
    return request->method;
}

const char *http_path(const struct http_request *request)
{
    return request->target.path;
}

const char *http_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_host(const struct http_request *request)
{
    return request->target.authority ? request->target.authority
                                     : http_header(request, MHD_HTTP_HEADER_HOST);
}

const char *http_query_next(const struct http_request *request, const char *name)
{
    return target_next(&request->target, name);
}

const char *http_query(const struct http_request *request, const char *name)
{
    return target_find(&request->target, name);
}

const char *http_client_address(const struct http_request *request)
{
    return request->client ? request->client : request->peer->address;
}

void http_set_subject(struct http_request *request, const char *subject)
{
    mem_set(&request->subject, subject);
}

const char *http_subject(const struct http_request *request)
{
    return request->subject ? request->subject : "";
}

const struct buf *http_body(const struct http_request *request)
{
    return request->too_large ? NULL : &request->body;
}

size_t http_body_length(const struct http_request *request)
{
    return (size_t)request->length;
}

void http_drop_body(struct http_request *request)
{
    request_drop_body(request);
}

static struct http_peer *connection_peer(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void peer_end_handshake(struct http *http, struct http_peer *peer)
{
    http->handshakes -= peer->in_handshake;
    peer->in_handshake = false;
}

/*
 * Called with the target as it was sent. In front of libmicrohttpd's parsing of
 * the query, of which 0.9.75 never answers a request that has many parameters,
 * the query is cut off: the text is libmicrohttpd's buffer.
 */
static void *on_target(void *data, const char *text, struct MHD_Connection *connection)
{
    struct http_request *request = mem_alloc(sizeof *request);
    char *query = strchr(text, '?');

    request->http = data;
    request->peer = connection_peer(connection);
    request->connection = connection;
    request->room = mem_alloc(TARGET_ROOM(strlen(text)));
    request->bad_target = target_parse(text, request->room, &request->target);
    request->version_expect = text + strlen(text) + strlen(" ");
    if (query)
        query[1] = '\0';
    return request;
}

/* The path is taken from on_target(). */
static size_t on_unescape(void *data, struct MHD_Connection *connection, char *text)
{
    (void)data;
    (void)connection;
    return strlen(text);
}

/* Answer before the body; the connection closes. */
static mhd_result request_refuse(struct http_request *request, unsigned status, const char *detail)
{
    log_debug("request refused client=%s status=%u: %s", http_client_address(request), status,
              detail);
    http_add_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    problem_reply(request, status, detail);
    request->peer->still_sends = true;
    return request_queue(request);
}

/*
 * The body cannot be kept, and libmicrohttpd takes no answer before its end. So the
 * answer is written past it, and the connection closes.
 */
static mhd_result request_cut_off(struct http_request *request, unsigned status, const char *phrase,
                                  const char *detail)
{
    struct buf body = {0}, answer = {0};

    problem_document(&body, status, detail);
    buf_printf(&answer,
               "HTTP/1.1 %u %s\r\nConnection: close\r\n"
               "Content-Type: " PROBLEM_TYPE "\r\nCache-Control: no-store\r\n",
               status, phrase);
    if (status != MHD_HTTP_CONTENT_TOO_LARGE)
        buf_puts(&answer, "Retry-After: 1\r\n");
    for (int i = 0; i < request->header_count; i++)
        buf_printf(&answer, "%s: %s\r\n", request->headers[i].name, request->headers[i].value);
    buf_printf(&answer, "Content-Length: %zu\r\n\r\n%.*s", buf_length(&body),
               (int)buf_length(&body), buf_data(&body));
    conn_say(request->connection, buf_data(&answer), buf_length(&answer));
    request->peer->still_sends = true;
    buf_finish(&body);
    buf_finish(&answer);
    return MHD_NO;
}

/* Keep the next piece of the body. A body that cannot be kept whole is not read to its end. */
static mhd_result request_receive(struct http_request *request, const char *data, size_t length)
{
    size_t max_body = request->http->max_body;
    size_t had = buf_length(&request->body), size = had + length;
    size_t wanted = had == 0 && request->length > length ? (size_t)request->length : length;

    if (size > max_body) {
        char detail[96];

        snprintf(detail, sizeof detail, "the body has more than %zu bytes, the limit of this host",
                 max_body);
        return request_cut_off(request, MHD_HTTP_CONTENT_TOO_LARGE, "Content Too Large", detail);
    }
    if (size > request->body_charge &&
        !request_take(request, &request->body_charge, size - request->body_charge))
        return request_cut_off(request, MHD_HTTP_TOO_MANY_REQUESTS, "Too Many Requests",
                               "the body has no room in your share of the server's log_budget");
    if (!buf_try_reserve(&request->body, wanted))
        return request_cut_off(request, MHD_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable",
                               "the server has no memory for the body; try again later");
    buf_append(&request->body, data, length);
    return MHD_YES;
}

static mhd_result request_park(struct http_request *request)
{
    request_suspend(request, false);
    if (http_stream_watch(request) == 0)
        return MHD_YES;
    request_resume(request);
    return MHD_NO;
}

/*
 * The whole request is there, or nobody wants the rest.
 *
 * libmicrohttpd goes on with a resumed connection where it stopped, which is in its
 * reading, and takes the FIN of a half-closed one for the client's end. So a request
 * that waits is parked when libmicrohttpd asks once more for an answer: then it has
 * noted that nothing is to be read. Before the body it would read on meanwhile.
 */
static mhd_result request_handle(struct http_request *request, bool before_body)
{
    deadline_clear(request->http->deadlines, &request->peer->deadline);
    request->state = REQUEST_HANDLING;
    if (request->crowded)
        http_refuse(request);
    else
        request->http->handler->handle(request->http->data, request);
    if (request->state != REQUEST_WAITING) {
        request_drop_body(request);
        return request_queue(request);
    }
    if (before_body)
        return request_park(request);
    http_run_soon(request->http);
    return MHD_YES;
}

static bool request_has_body(const struct http_request *request)
{
    const char *length = http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return http_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
           (length && strcmp(length, "0") != 0);
}

/*
 * After a reply before the body, libmicrohttpd does not read the body but closes the
 * connection. So nothing that nobody asked for is ever kept.
 */
static mhd_result request_admit(struct http_request *request)
{
    struct http *http = request->http;
    enum http_admission admission = http->handler->admit(http->data, request);

    if (!request_has_body(request))
        return MHD_YES;
    if (admission == HTTP_WITH_BODY && !request->too_large)
        request->crowded = !request_take(request, &request->body_charge, request->length);
    if (admission == HTTP_WITH_BODY && !request->too_large && !request->crowded)
        return MHD_YES;
    http_add_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    request->peer->still_sends = true;
    return admission == HTTP_ANSWERED ? request_queue(request) : request_handle(request, true);
}

/* A walk over the headers. */
struct walk {
    struct framing framing;
    const char *next; /* where the next line should begin in libmicrohttpd's buffer */
    bool gap;         /* it does not */
};

static mhd_result on_header(void *data, enum MHD_ValueKind kind, const char *name,
                            const char *value)
{
    struct walk *walk = data;

    (void)kind;
    framing_add(&walk->framing, name, value ? value : "");
    walk->gap |= name != walk->next;
    if (value) {
        char *end = strchr(value, '\0');
        walk->next = end + strlen("\r\n");
        while (end > value && strchr(" \t", end[-1])) /* 0.9.75 leaves them */
            *--end = '\0';
    }
    return MHD_YES;
}

/*
 * libmicrohttpd before 1.0 ends a head at a line that begins with NUL or a
 * colon, cuts a value at NUL, and puts a folded line at the end of the name. It
 * parses in place, so that in a head that it understood whole, each line begins
 * where the line before ends.
 */
static bool head_is_whole(struct http_request *request, const struct walk *walk, const char *method,
                          const char *version)
{
    const union MHD_ConnectionInfo *info;

    if (library_is_strict())
        return true;
    info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return version == request->version_expect && !walk->gap &&
           walk->next + strlen("\r\n") == method + info->header_size;
}

static void join(struct buf *values, const char *value)
{
    if (buf_length(values) > 0)
        buf_puts(values, ",");
    buf_puts(values, value);
}

static mhd_result on_forwarded(void *data, enum MHD_ValueKind kind, const char *name,
                               const char *value)
{
    struct buf *values = data; /* of X-Forwarded-For, of Forwarded */

    (void)kind;
    if (strcasecmp(name, "X-Forwarded-For") == 0)
        join(&values[0], value);
    else if (strcasecmp(name, "Forwarded") == 0)
        join(&values[1], value);
    return MHD_YES;
}

/*
 * Ask a trusted proxy's headers who its client is. A proxy sets one of the two
 * and may pass the client's own other one on: if they disagree, neither counts.
 */
static void request_find_client(struct http_request *request)
{
    struct sockaddr_storage plain = request->peer->client, rfc = plain;
    char address[INET6_ADDRSTRLEN], other[INET6_ADDRSTRLEN];
    struct buf values[2] = {{0}, {0}};
    char *texts[2];

    if (!networks_contain(request->http->proxies, (struct sockaddr *)&plain))
        return;
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_forwarded, values);
    for (int i = 0; i < 2; i++)
        texts[i] = buf_length(&values[i]) > 0 ? buf_steal(&values[i]) : NULL;
    forwarded_for(texts[0], request->http->proxies, &plain);
    forwarded_by_rfc(texts[1], request->http->proxies, &rfc);
    network_format((struct sockaddr *)(texts[0] ? &plain : &rfc), address);
    network_format((struct sockaddr *)(texts[1] ? &rfc : &plain), other);
    if (strcmp(address, other) == 0)
        request->client = mem_strdup(address);
    free(texts[0]);
    free(texts[1]);
}

/* The headers are there. */
static mhd_result request_begin(struct http_request *request, const char *method,
                                const char *version)
{
    struct http *http = request->http;
    struct walk walk = {.next = version + strlen(version) + strlen("\r\n")};
    const struct framing_fault *fault;

    request->state = REQUEST_RECEIVING;
    request->method = method;
    request->http_1_1 = strcmp(version, MHD_HTTP_VERSION_1_1) >= 0;
    peer_end_handshake(http, request->peer);
    TAILQ_INSERT_TAIL(&http->requests, request, in_http);
    http->open++;
    request_set_stall(request);
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, on_header, &walk);
    if (!head_is_whole(request, &walk, method, version))
        return request_refuse(request, MHD_HTTP_BAD_REQUEST,
                              "the head has a NUL, a line without a name, a folded line, or a line "
                              "that does not end with CR LF");
    request_find_client(request);
    fault = framing_fault(&walk.framing, request->http_1_1);
    if (fault)
        return request_refuse(request, fault->status, fault->detail);
    if (request->bad_target)
        return request_refuse(request, MHD_HTTP_BAD_REQUEST, request->bad_target);
    if (walk.framing.length)
        request->length = strtoull(walk.framing.length, NULL, 10);
    request->too_large = request->length > http->max_body;
    return request_admit(request);
}

static mhd_result on_access(void *data, struct MHD_Connection *connection, const char *path,
                            const char *method, const char *version, const char *upload,
                            size_t *upload_size, void **request_slot)
{
    struct http_request *request = *request_slot;
    struct http *http = data;

    (void)connection;
    (void)path;
    http->vain_runs = 0;
    if (request->state == REQUEST_ARRIVING)
        return request_begin(request, method, version);
    if (*upload_size > 0) {
        size_t length = *upload_size;
        *upload_size = 0;
        return request_receive(request, upload, length);
    }
    if (request->state == REQUEST_REPLIED || request->state == REQUEST_OPENING)
        return request_queue(request);
    if (request->state == REQUEST_WAITING)
        return request_park(request);
    if (request->state != REQUEST_RECEIVING) /* the client left while it waited */
        return MHD_NO;
    return request_handle(request, false);
}

static void on_completed(void *data, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode code)
{
    struct http *http = data;
    struct http_request *request = *request_slot;

    (void)connection;
    (void)code;
    http->vain_runs = 0;
    if (request == NULL)
        return;
    *request_slot = NULL;
    if (request->state != REQUEST_ARRIVING) {
        if (request->corked)
            request_cork(request, false);
        request->peer->answered = true;
        request_tell_left(request);
        deadline_set(http->deadlines, &request->peer->deadline);
        TAILQ_REMOVE(&http->requests, request, in_http);
        http->open--;
    }
    request_free_headers(request);
    if (request->response)
        MHD_destroy_response(request->response);
    request_drop_body(request);
    request_give(request, &request->answer_charge);
    free(request->room);
    free(request->client);
    free(request->subject);
    free(request);
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

/* What libmicrohttpd refuses by itself never becomes a request. */
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
 * libmicrohttpd counts connections by the address that it is told. What trusted
 * proxies open is for many clients, so it is told an address that it does not
 * count; the peers of unix sockets are one.
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

/* What libmicrohttpd has not started when it ran, it has closed. */
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
        flags | (http->is_tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_access, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_CONNECTION_LIMIT,
        settings->max_connections + CONNECTIONS_SLACK, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        settings->max_connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT, settings->timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, settings->max_headers, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, http, MHD_OPTION_UNESCAPE_CALLBACK, on_unescape,
        NULL, MHD_OPTION_ARRAY, http->is_tls ? tls : none, MHD_OPTION_STRICT_FOR_CLIENT,
        library_is_strict(), MHD_OPTION_END);
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
