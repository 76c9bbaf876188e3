/*
 * The driver of exchanges in a worker: libcurl's multi interface on the worker's
 * loop. Agents wait for a response as for anything else, and thousands need no
 * thread.
 *
 * Policy: a response that its agent does not read waits in memory up to
 * EXCHANGE_HIGH bytes; then the transfer pauses until they are read.
 */
#ifndef WORKER_HTTPCLIENT_H
#define WORKER_HTTPCLIENT_H

#include <uv.h>

struct http_client;
struct http_driver;
struct sched;

struct http_client *http_client_create(uv_loop_t *loop, struct sched *sched);

/* No job is live. NULL does nothing. */
void http_client_destroy(struct http_client *client);

/* Valid as long as the client. */
const struct http_driver *http_client_driver(const struct http_client *client);

/* Do what is queued. On the loop, at the end of each turn; not locked. */
void http_client_turn(struct http_client *client);

#endif
