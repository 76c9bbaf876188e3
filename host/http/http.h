/*
 * HTTP: libmicrohttpd on the front's loop, without threads. It hands over
 * whole requests (request.h) and takes their answers (answer.h).
 */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
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

#endif
