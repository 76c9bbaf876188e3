/* Checks of an agent's outgoing request, as agent.h declares it, and its defaults. */
#ifndef WORKER_HTTP_REQUEST_H
#define WORKER_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the request says 0. */
#define HTTP_REQUEST_CONNECT_TIMEOUT_MS UINT32_C(10000)
#define HTTP_REQUEST_IDLE_TIMEOUT_MS    UINT32_C(60000)
#define HTTP_REQUEST_MAX_BYTES          ((size_t)16 * 1024 * 1024)

struct agent_http_request;
struct buf;

/*
 * Return whether it has an http URL that libcurl takes, and headers that are headers. If not,
 * append why, unless that is NULL; without what may be secret: values of headers, user and
 * query of the URL.
 */
bool http_request_check(const struct agent_http_request *request, struct buf *why);

const char *http_request_method(const struct agent_http_request *request);

/* 0 without a body. */
size_t http_request_body_length(const struct agent_http_request *request);

#endif
