/*
 * Requests that agents send, on libcurl's multi interface and the worker's
 * loop: agents wait for them as for anything else, and thousands need no thread.
 *
 * An exchange, one request and its response, is the agent's until it closes it,
 * or the run ends; the transfer is the loop's. What an agent wants done on the
 * loop (begin, go on, end) is queued, and done at the end of the turn.
 *
 * Policy: a response that its agent does not read waits in memory up to
 * EXCHANGE_HIGH bytes; then the transfer pauses until they are read.
 *
 * A thread that is bound to the run may come when the run is over: then its
 * exchanges are closed, and none of these calls looks at one.
 */
#ifndef WORKER_HTTPCLIENT_H
#define WORKER_HTTPCLIENT_H

#include "worker/sched.h"

#include <uv.h>

/* Part of a job: those that are not closed. Guarded by the scheduler's lock. */
struct exchanges {
    TAILQ_HEAD(, agent_http) list;
};

void exchanges_init(struct exchanges *exchanges);

struct http_client;
struct agent_http;
struct agent_http_request;
struct task;

struct http_client *http_client_create(uv_loop_t *loop, struct sched *sched);

/* When no job is live. NULL is fine. */
void http_client_destroy(struct http_client *client);

/* Does what is queued. On the loop, at the end of each turn; not locked. */
void http_client_turn(struct http_client *client);

/* The other side of agent_http.h, for the current task. Not locked. */
int exchange_open(struct task *task, const struct agent_http_request *request,
                  struct agent_http **out);
int exchange_status(struct agent_http *exchange, struct task *task);
const char *exchange_header(struct agent_http *exchange, struct task *task, const char *name);
long exchange_read(struct agent_http *exchange, struct task *task, const char **data);
const char *exchange_error(struct agent_http *exchange, struct task *task);
void exchange_close(struct agent_http *exchange, struct task *task);

/* Those that the run has left open. Locked. */
struct job;
void exchanges_close_all(struct job *job);

#endif
