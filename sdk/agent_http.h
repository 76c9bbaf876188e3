/* SPDX-License-Identifier: MIT */
/*
 * agent_http.h - requests to other servers, from inside an agent.
 *
 * Write straight-line code: a call that waits parks the fiber, or blocks the
 * thread, while the worker's loop goes on. When the run is cancelled, the call
 * returns at once and the connection to the server is closed.
 *
 *     struct agent_http_request request = {.url = "https://example.org/"};
 *     struct agent_http *http;
 *     const char *data;
 *     long length;
 *
 *     if (agent_http_open(&request, &http) < 0)
 *         return agent_run_fail("http", "no request");
 *     if (agent_http_status(http) == 200)
 *         while ((length = agent_http_read(http, &data)) > 0)
 *             use(data, length);
 *     agent_http_close(http);
 *
 * The host speaks HTTP/1.1, or HTTP/2 if the request asks for it. It keeps and
 * reuses connections, verifies the server's certificate, decodes gzip, and heeds
 * the proxies of the environment (http_proxy, https_proxy, no_proxy) and
 * SSL_CERT_FILE. It follows up to five redirects of a GET request without a body
 * and repeats the request's headers; another origin (scheme, host or port) gets
 * none of them. libcurl does all of this.
 *
 * A response that the agent does not read waits: 256 KiB of it in the worker's
 * memory, the rest at the server. Exchanges over HTTP/2 share a connection, and up
 * to 32 MiB of each may wait in memory: use HTTP/2 for responses that are read as
 * they arrive. Tasks of one run may pass an exchange on to each other, but only one
 * task at a time may wait for it.
 *
 * create() and selftest() may make all of these calls, too: a selftest() proves that the
 * server answers before the plugin gets a run.
 *
 * Tags and conventions are those of agent.h. Needs ABI 1.1.
 */
#ifndef SLUICE_AGENT_HTTP_H
#define SLUICE_AGENT_HTTP_H

#include "agent.h"

#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Start the request and return at once; everything it points to is copied. The
 * caller owns the exchange until agent_http_close(); the end of the run closes
 * exchanges that are still open. Besides the given headers, the host sends Host,
 * User-Agent, Accept, Accept-Encoding and the body's length. -EINVAL: the URL is not
 * a valid http or https URL, a header is not "Name: value", or a HEAD request has a
 * body; -ECANCELED. [run]
 */
static inline int agent_http_open(const struct agent_http_request *request,
                                  struct agent_http **http)
{
    return agent_host_table ? agent_host_table->http_open(request, http) : -ENXIO;
}

/*
 * Wait for the response's status and headers. Return the status, 100 to 599, or
 *     -ECANCELED     the run was cancelled
 *     -EHOSTUNREACH  the host, or the proxy, has no address
 *     -ECONNREFUSED  the host does not accept a connection
 *     -ETIMEDOUT     one of the request's timeouts has passed
 *     -ECONNRESET    the connection ended before the response did
 *     -EPROTO        the response is not HTTP, TLS failed, or too many redirects
 *     -EMSGSIZE      the body has more than max_bytes
 *     -EBUSY         another task waits for this exchange
 * agent_http_error() says it in words. [run]
 */
static inline int agent_http_status(struct agent_http *http)
{
    return agent_host_table ? agent_host_table->http_status(http) : -ENXIO;
}

/*
 * Return the value of a response header, by its name in any case, or NULL if there is
 * no such header or no response yet. It lives until agent_http_close(). [run]
 */
static inline const char *agent_http_header(struct agent_http *http, const char *name)
{
    return agent_host_table ? agent_host_table->http_header(http, name) : NULL;
}

/*
 * Wait for the next piece of the body. Set *data and return the piece's length, 0 at
 * the body's end, or an error as above. The piece does not end with NUL and lives
 * until the next call for this exchange. [run]
 */
static inline long agent_http_read(struct agent_http *http, const char **data)
{
    return agent_host_table ? agent_host_table->http_read(http, data) : -ENXIO;
}

/* Return in words what failed, or "". It lives until agent_http_close(). [run] */
static inline const char *agent_http_error(struct agent_http *http)
{
    return agent_host_table ? agent_host_table->http_error(http) : "";
}

/*
 * End the exchange, and its connection if the response is not complete; ignore NULL. If
 * another task waits for the exchange, its call returns -ECANCELED. [run]
 */
static inline void agent_http_close(struct agent_http *http)
{
    if (agent_host_table && http)
        agent_host_table->http_close(http);
}

/*
 * Wait for the whole body. Return it, ending with NUL, in memory that the caller frees,
 * and set *status to the response's status; or return NULL and set *status to an
 * error as above or -ENOMEM. [run]
 */
static inline char *agent_http_collect(struct agent_http *http, int *status)
{
    size_t length = 0, room = 0;
    char *body = NULL, *grown;
    const char *data;
    long got;

    *status = agent_http_status(http);
    if (*status < 0)
        return NULL;
    for (;;) {
        got = agent_http_read(http, &data);
        if (got < 0 || (size_t)got + length + 1 > room) {
            room = (size_t)(got > 0 ? got : 0) + 2 * length + 1;
            grown = got < 0 ? NULL : (char *)realloc(body, room);
            if (grown == NULL) {
                *status = got < 0 ? (int)got : -ENOMEM;
                free(body);
                return NULL;
            }
            body = grown;
        }
        if (got == 0) {
            body[length] = '\0';
            return body;
        }
        memcpy(body + length, data, (size_t)got);
        length += (size_t)got;
    }
}

#ifdef __cplusplus
}
#endif
#endif
