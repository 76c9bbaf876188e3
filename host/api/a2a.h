/*
 * A2A 1.0 for one agent: JSON-RPC and REST have the same methods. A run of the agent is a
 * task, whatever protocol it was started by; a client sees its own.
 *
 * A task goes on when its client leaves. A message with a task's id answers the question
 * that the message's metadata names as sluice/question, or else the one that is open for
 * longest; without a question it is an input like any other.
 */
#ifndef API_A2A_H
#define API_A2A_H

struct api;
struct http_request;

/* POST /agents/{agent}/a2a: JSON-RPC. */
void api_a2a_call(const struct api *api, struct http_request *request, const char *const *names);

/* Under /agents/{agent}/a2a/rest: */

/* POST /message:send */
void api_a2a_send(const struct api *api, struct http_request *request, const char *const *names);

/* POST /message:stream */
void api_a2a_stream(const struct api *api, struct http_request *request, const char *const *names);

/* GET /tasks */
void api_a2a_list(const struct api *api, struct http_request *request, const char *const *names);

/* GET /tasks/{id} */
void api_a2a_get(const struct api *api, struct http_request *request, const char *const *names);

/* POST /tasks/{id}:cancel */
void api_a2a_cancel(const struct api *api, struct http_request *request, const char *const *names);

/* POST or GET /tasks/{id}:subscribe */
void api_a2a_subscribe(const struct api *api, struct http_request *request,
                       const char *const *names);

/* Push notifications of a task: there are none. */
void api_a2a_push(const struct api *api, struct http_request *request, const char *const *names);

/* GET /extendedAgentCard: there is none. */
void api_a2a_extended(const struct api *api, struct http_request *request,
                      const char *const *names);

#endif
