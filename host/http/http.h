/*
 * HTTP: libmicrohttpd on the front's loop, without threads. It hands over
 * whole requests and takes a reply, a promise of one, or a stream.
 *
 * A request lives until it was replied to, its stream has ended, or its client
 * has left; whoever holds on to one is told of the last by left().
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

struct http;
struct http_request;

struct http_settings {
    int listen_fd; /* bound and listening; http owns it */
    unsigned max_connections;
    unsigned max_connections_per_address; /* 0 is no limit */
    unsigned timeout_s;         /* for a connection that neither sends nor is sent anything */
    unsigned request_timeout_s; /* for a request to be whole, since the connection was idle */
    size_t max_headers;         /* bytes: what libmicrohttpd keeps of each connection */
    size_t max_body;            /* bytes */
    void *retrieve_certificate; /* GnuTLS's gnutls_certificate_retrieve_function2; NULL: no TLS */
};

struct http_handler {
    /* The headers are there. False if the request was replied to, so that its body need not come.
     */
    bool (*admit)(void *data, struct http_request *request);
    /* The whole request, but for a body that is too large: see http_body(). */
    void (*handle)(void *data, struct http_request *request);
};

/* -errno */
int http_create(uv_loop_t *loop, const struct http_settings *settings,
                const struct http_handler *handler, void *data, struct http **out);

/* The version of libmicrohttpd. */
const char *http_library(void);

/* Takes no more connections. */
void http_quiesce(struct http *http);

/* Requests that are not ended. */
size_t http_open_requests(const struct http *http);

/* Resets the connections of all open requests, as if their clients left. NULL is fine. */
void http_destroy(struct http *http);

/* ---- the request ---- */

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request); /* without the query, decoded */
const char *http_header(const struct http_request *request, const char *name); /* or NULL */
const char *http_query(const struct http_request *request, const char *name);  /* or NULL */

/* Numeric, without the port. */
const char *http_client_address(const struct http_request *request);

/* Who asks; "" until it is set. Copied. */
void http_set_subject(struct http_request *request, const char *subject);
const char *http_subject(const struct http_request *request);

/* Its bytes; NULL if they were more than max_body. */
const struct buf *http_body(const struct http_request *request);

/* Free the body early: a request that waits keeps it otherwise. */
void http_drop_body(struct http_request *request);

/* ---- the answer: one of these, once ---- */

/* A header for the answer, one of at most 12; before it. */
void http_add_header(struct http_request *request, const char *name, const char *value);

/* Takes the body over. content_type NULL: an answer without one, such as 204. */
void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body);

/*
 * http_reply() or http_stream() follows later, unless left() is called first.
 * Calling again replaces left() and its data.
 */
void http_wait(struct http_request *request, void (*left)(void *data), void *data);

struct http_stream_handler {
    void (*opened)(void *data);   /* bytes can be sent; the headers leave with the first of them */
    void (*writable)(void *data); /* after a short send: more can be sent */
    void (*left)(void *data);     /* the client is gone, the request too */
};

/* An answer of status 200 whose body is sent as it comes. */
void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data);

/*
 * From now on writable() and left() are called, also for what happened before: 0
 * or -errno. Until then nobody sees the client leave, and less is to be done if
 * the stream ends at once. Again is fine.
 */
int http_stream_watch(struct http_request *request);

/* As parked_send(); behind the last http_stream_end() is to follow at once. */
int http_stream_send(struct http_request *request, const struct iovec *pieces, int count, bool last,
                     size_t *sent);

/*
 * Bytes that the socket has taken and the client's machine has not acknowledged:
 * they become fewer as long as the client reads, however slowly.
 */
size_t http_stream_unsent(const struct http_request *request);

/* The last http_stream_send() said that all is out; the request is not to be touched any more. */
void http_stream_end(struct http_request *request);

/*
 * Ends the stream so that its client sees a reset and never takes it for whole.
 * left() is not called; the request is not to be touched any more.
 */
void http_stream_reset(struct http_request *request);

#endif
