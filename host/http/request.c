/*
 * A request's way through libmicrohttpd, which calls request_on_target() when the
 * first line is there, then request_on_access() once when the headers are there, once
 * for each piece of the body, and once more after it:
 *
 *     first line   taken apart (target.h); libmicrohttpd gets an empty query
 *     headers      a request that others may see otherwise is refused
 *                  (framing.h); the handler's admit() lets it in, or replies
 *     body         kept up to max_body, if admit() wants one; else the request
 *                  goes on at once, and its connection closes without a look at it
 *     the end      the handler's handle(), after which the request is
 *
 *         replied      its response is queued at once
 *         waiting      request_on_access() is called once more and suspends its
 *                      connection (conn.h); the answer resumes the connection, and
 *                      request_on_access() is called again to queue the response
 *         opening      it will stream: its response gets a reader (answer.c)
 *
 * inside.h has the states and what leads from one to another.
 */
#include "http/request.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/networks.h"
#include "http/forwarded.h"
#include "http/framing.h"
#include "http/inside.h"
#include "http/problem.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- what it says ---- */

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

bool http_is_secure(const struct http_request *request)
{
    const char *scheme = request->client ? http_header(request, "X-Forwarded-Proto") : NULL;

    return request->http->is_tls || (scheme && strcasecmp(scheme, "https") == 0);
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

/* ---- what is kept for it ---- */

bool request_take(struct http_request *request, size_t *charge, size_t bytes)
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

void http_drop_body(struct http_request *request)
{
    buf_finish(&request->body);
    request_give(request, &request->body_charge);
}

/* ---- its way ---- */

static struct http_peer *connection_peer(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/*
 * Called with the target as it was sent. In front of libmicrohttpd's parsing of
 * the query, of which 0.9.75 never answers a request that has many parameters,
 * the query is cut off: the text is libmicrohttpd's buffer.
 */
void *request_on_target(void *data, const char *text, struct MHD_Connection *connection)
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

    problem_write(request, &(struct problem){.status = status, .detail = detail}, &body);
    buf_printf(&answer,
               "HTTP/1.1 %u %s\r\nConnection: close\r\n"
               "Content-Type: %s\r\nCache-Control: no-store\r\n",
               status, phrase, problem_type(request));
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
        http_drop_body(request);
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
 * connection. So an unwanted body is never kept.
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
    peer_set_stall(request->peer, http->stall_s);
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

mhd_result request_on_access(void *data, struct MHD_Connection *connection, const char *path,
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

void request_on_completed(void *data, struct MHD_Connection *connection, void **request_slot,
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
        request->peer->answered = true;
        request_tell_left(request);
        deadline_set(http->deadlines, &request->peer->deadline);
        TAILQ_REMOVE(&http->requests, request, in_http);
        http->open--;
    }
    request_drop_answer(request);
    http_drop_body(request);
    request_give(request, &request->answer_charge);
    free(request->room);
    free(request->client);
    free(request->subject);
    free(request->problem_id);
    free(request);
}
