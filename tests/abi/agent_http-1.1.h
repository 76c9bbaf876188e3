/*
 * agent_http.h - requests to other servers, from inside an agent.
 *
 * Straight-line code: a call that waits parks the fiber, or blocks the thread,
 * while the worker's loop goes on; it returns at once when the run is
 * cancelled, and the connection to the server is closed.
 *
 *     struct agent_http_request request = {.url = "https://example.org/"};
 *     struct agent_http *http;
 *     const char *data;
 *     long length;
 *
 *     if (agent_http_open(&request, &http) < 0)
 *         return run_fail("http", "no request");
 *     if (agent_http_status(http) == 200)
 *         while ((length = agent_http_read(http, &data)) > 0)
 *             use(data, length);
 *     agent_http_close(http);
 *
 * It is HTTP/1.1, or HTTP/2 if you ask for that. Connections are kept and reused,
 * the server's certificate is verified, gzip is undone, and the environment's
 * proxies (http_proxy, https_proxy, no_proxy) and SSL_CERT_FILE are heeded. Up to
 * five redirects of a GET request without a body are followed; they get its
 * headers, but for Authorization and Cookie if they lead to another host. All of
 * it is libcurl's work.
 *
 * A response that is not read waits: 256 KiB of it in the worker's memory, the
 * rest at the server. Over HTTP/2, exchanges share a connection, and up to 32 MiB
 * of each may wait in memory: it is for responses that are read as they come. An
 * exchange may be handed from task to task of its run, but only one at a time may
 * wait for it.
 *
 * Tags and conventions are those of agent.h; needs ABI 1.1.
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
 * Starts the request and returns at once; all that it points to is copied. The
 * exchange is the caller's until agent_http_close(); what is still open when the
 * run ends is closed then. What is sent besides the given headers is Host,
 * User-Agent, Accept, Accept-Encoding and the body's length. -EINVAL the URL is
 * not a valid one of http or https, a header is not "Name: value", or HEAD has a
 * body; -ECANCELED. [run]
 */
static inline int agent_http_open(const struct agent_http_request *request,
                                  struct agent_http **http)
{
    return agent_host_table ? agent_host_table->http_open(request, http) : -ENXIO;
}

/*
 * Waits for the response's status and headers: the status, 100 to 599, or
 *     -ECANCELED     the run was cancelled
 *     -EHOSTUNREACH  the host, or the proxy's, has no address
 *     -ECONNREFUSED  no connection to it
 *     -ETIMEDOUT     a time of the request's was over
 *     -ECONNRESET    the connection ended before the response did
 *     -EPROTO        what came is no HTTP, or TLS failed, or too many redirects
 *     -EMSGSIZE      more than max_bytes of body
 *     -EBUSY         another task waits for this exchange
 * agent_http_error() has it in words. [run]
 */
static inline int agent_http_status(struct agent_http *http)
{
    return agent_host_table ? agent_host_table->http_status(http) : -ENXIO;
}

/*
 * The value of a header of the response, by its name in any case; NULL if there
 * is none, or no response yet. Lives until agent_http_close(). [run]
 */
static inline const char *agent_http_header(struct agent_http *http, const char *name)
{
    return agent_host_table ? agent_host_table->http_header(http, name) : NULL;
}

/*
 * Waits for the next piece of the body: its length, at *data; 0 at its end; or an
 * error as above. Not terminated; lives until the next call for this exchange. [run]
 */
static inline long agent_http_read(struct agent_http *http, const char **data)
{
    return agent_host_table ? agent_host_table->http_read(http, data) : -ENXIO;
}

/* What went wrong, in words; "" if nothing did. Lives until agent_http_close(). [run] */
static inline const char *agent_http_error(struct agent_http *http)
{
    return agent_host_table ? agent_host_table->http_error(http) : "";
}

/*
 * Ends the exchange; if its response is not whole, also its connection. A call of
 * another task that waits for it returns -ECANCELED. NULL is fine. [run]
 */
static inline void agent_http_close(struct agent_http *http)
{
    if (agent_host_table && http)
        agent_host_table->http_close(http);
}

/*
 * The whole body of an exchange, terminated, in memory that the caller frees;
 * NULL if an error came first, for which *status is negative. *status is that of
 * the response otherwise. [run]
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
