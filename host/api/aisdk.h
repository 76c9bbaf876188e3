/* Chats of the AI SDK, and how they are told that a request is refused. */
#ifndef API_AISDK_H
#define API_AISDK_H

#include "http/problem.h"

struct api;
struct http_request;

/* The detail alone, as text: the client shows it as the error's message. */
extern const struct problem_shape aisdk_problems;

/* POST /agents/{agent}/ai-sdk: a run, or the answer to a run's question. */
void api_aisdk(const struct api *api, struct http_request *request, const char *const *names);

/* GET /agents/{agent}/ai-sdk/{chat}/stream: the chat's live run from its start, or 204. */
void api_aisdk_resume(const struct api *api, struct http_request *request,
                      const char *const *names);

#endif
