/* A request: its head, its client and its body. It lives until it is answered; see answer.h. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct http_request;

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

/* Return true if the client speaks TLS, to this server or to a trusted proxy. */
bool http_is_secure(const struct http_request *request);

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

#endif
