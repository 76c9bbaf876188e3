/*
 * HTTP: libmicrohttpd on the front's loop, without threads. It hands over
 * whole requests and takes a reply, a promise of one, or a stream.
 *
 * A request lives until it is replied to, its stream ends, or its client
 * leaves; left() tells its holder of the last.
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
struct listeners;

struct http_settings {
    struct listeners *listeners; /* http owns them */
    unsigned max_connections;
    unsigned max_connections_per_address; /* 0 is no limit */
    unsigned stall_s;                     /* see http_set_stall() */
    unsigned timeout_s; /* for a connection that neither sends nor receives anything */
    unsigned
        request_timeout_s; /* for a request to arrive whole, from when the connection is idle */
    size_t max_headers;    /* bytes that libmicrohttpd keeps of each connection */
    size_t max_body;       /* bytes */
    void *retrieve_certificate; /* GnuTLS's gnutls_certificate_retrieve_function2; NULL: no TLS */
};

enum http_admission {
    HTTP_ANSWERED,     /* the request was replied to */
    HTTP_WITHOUT_BODY, /* handle() needs no body */
    HTTP_WITH_BODY,    /* the body is kept for handle(), up to max_body */
};

struct http_handler {
    /*
     * The headers are there. Unless a body is wanted, a body that the client sends is
     * not read: the request is answered at once, and its connection closes.
     */
    enum http_admission (*admit)(void *data, struct http_request *request);
    /* The whole request is there, without a body that is too large: see http_body(). */
    void (*handle)(void *data, struct http_request *request);
    /*
     * Charge the request's client for bytes that are kept for it: a body, or an answer
     * until it is sent. False if there is no room. NULL: nobody counts.
     */
    bool (*take)(void *data, const struct http_request *request, size_t bytes);
    void (*give)(void *data, const struct http_request *request, size_t bytes);
    /* Reply, in short, to a request for which take() had no room. */
    void (*refuse)(void *data, struct http_request *request);
};

/* -errno */
int http_create(uv_loop_t *loop, const struct http_settings *settings,
                const struct http_handler *handler, void *data, struct http **out);

/*
 * Whose word on their clients' addresses counts, as networks_create() reads it:
 * X-Forwarded-For, Forwarded and the PROXY protocol.
 */
void http_set_proxies(struct http *http, const char *proxies);

/* Return the version of libmicrohttpd. */
const char *http_library(void);

/* Accept no more connections. */
void http_quiesce(struct http *http);

/*
 * Seconds for which a client's machine may give no sign of life, or take nothing of
 * what is sent to it; then its connection ends, as if it left. Holds for open
 * connections too.
 */
void http_set_stall(struct http *http, unsigned stall_s);

/* Return the number of requests that have not ended. */
size_t http_open_requests(const struct http *http);

/* Reset the connections of all open requests, as if their clients left. http may be NULL. */
void http_destroy(struct http *http);

/* ---- the request ---- */

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request); /* decoded but for %2F, see target.h */
const char *http_header(const struct http_request *request, const char *name); /* or NULL */
const char *http_query(const struct http_request *request, const char *name);  /* or NULL */

/*
 * Return the name of the query's parameter after this one, the first after NULL;
 * NULL after the last.
 */
const char *http_query_next(const struct http_request *request, const char *name);

/* Return the name by which the client asked for this server, with or without a port; NULL if it
 * gave none, which only HTTP/1.0 may do. */
const char *http_host(const struct http_request *request);

/* Numeric, without the port; that of a trusted proxy's client. "unix" for a unix socket's. */
const char *http_client_address(const struct http_request *request);

/* The subject of the client's token: "" until it is set. Copied. */
void http_set_subject(struct http_request *request, const char *subject);
const char *http_subject(const struct http_request *request);

/* Return the body; NULL if it exceeds max_body. */
const struct buf *http_body(const struct http_request *request);

/* Return the length that the client announced for its body; 0 if it announced none. */
size_t http_body_length(const struct http_request *request);

/* Free the body early: a request that waits keeps it otherwise. */
void http_drop_body(struct http_request *request);

/* ---- the answer: one of these, once ---- */

/* Add a header to the answer that follows, at most 12. The name is a literal; the value is copied.
 */
void http_add_header(struct http_request *request, const char *name, const char *value);

/*
 * Takes the body over. content_type NULL: an answer without a body, such as 204. If the
 * client has no room for a large body, it gets a refusal instead.
 */
void http_reply(struct http_request *request, unsigned status, const char *content_type,
                struct buf *body);

/* Reply as the handler refuses a request whose client has no room. */
void http_refuse(struct http_request *request);

/* Whoever holds a request until its answer is whole. */
struct http_stream_handler {
    void (*opened)(void *data);   /* bytes can be sent; the headers leave with the first of them */
    void (*writable)(void *data); /* after a short send: more can be sent */
    /*
     * The client sends no more. It may read on: if it has left, left() follows what is
     * sent next, so send something now. NULL: something will be sent soon.
     */
    void (*half_closed)(void *data);
    void (*left)(void *data); /* the client is gone, the request too */
};

/*
 * http_reply() or http_stream() follows later, unless left() is called first. Until
 * then only half_closed() and left() are called. Calling again replaces the handler
 * and its data.
 */
void http_wait(struct http_request *request, const struct http_stream_handler *handler, void *data);

/* Answer with status 200 and a body that is sent as it comes. */
void http_stream(struct http_request *request, const char *content_type,
                 const struct http_stream_handler *handler, void *data);

/*
 * From now on writable() and left() are called, also for what happened before: 0
 * or -errno. Until then nobody sees the client leave, and a stream that ends at
 * once costs less. May be called again.
 */
int http_stream_watch(struct http_request *request);

/* Send as conn_send() does; after the last bytes http_stream_end() must follow at once. */
int http_stream_send(struct http_request *request, const struct iovec *pieces, int count, bool last,
                     size_t *sent);

/*
 * Return how many bytes the socket has taken and the client's machine has not
 * acknowledged: the number falls as long as the client reads, however slowly.
 */
size_t http_stream_unsent(const struct http_request *request);

/*
 * Return true while the client's machine owes the answer to a probe for a sign of
 * life. What is sent then only puts off the end of a client that vanished.
 */
bool http_stream_is_unanswered(const struct http_request *request);

/* End a stream, after an http_stream_send() that sent everything. The request must not be used
 * afterwards. */
void http_stream_end(struct http_request *request);

/*
 * End the stream so that its client sees a reset and never takes it for whole.
 * left() is not called; the request must not be used afterwards.
 */
void http_stream_reset(struct http_request *request);

#endif
