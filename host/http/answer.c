/*
 * A stream's response has a reader, on_read(), which never reads: its first call
 * suspends the connection, whose socket is then written to directly; its second, after
 * http_stream_end(), ends the response. A reset is possible in every state of a stream.
 *
 * A stream leaves in few packets: its headers are corked until its first bytes
 * follow them, and bytes that the end follows are sent with MSG_MORE, or kept
 * corked, until libmicrohttpd's last chunk.
 */
#include "http/answer.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/inside.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>

/* Block size of a stream's reader for libmicrohttpd; nothing is ever read through it. */
#define READER_BLOCK 64

/* An answer of at most this many bytes belongs to its connection; no client is charged for it. */
#define ANSWER_FREE 4096

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

mhd_result request_queue(struct http_request *request)
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

static bool has_header(const struct http_request *request, const char *name)
{
    for (int i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, name) == 0)
            return true;
    }
    return false;
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
    if (!has_header(request, MHD_HTTP_HEADER_CACHE_CONTROL))
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
void request_reset(struct http_request *request)
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

mhd_result request_park(struct http_request *request)
{
    request_suspend(request, false);
    if (http_stream_watch(request) == 0)
        return MHD_YES;
    request_resume(request);
    return MHD_NO;
}

/* ---- what its connection tells ---- */

void request_tell_left(struct http_request *request)
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

/* ---- its end ---- */

void request_drop_answer(struct http_request *request)
{
    if (request->corked)
        request_cork(request, false);
    request_free_headers(request);
    if (request->response)
        MHD_destroy_response(request->response);
}
