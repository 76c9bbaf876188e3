/*
 * The routes of OpenAI's protocols, for whom agents are models. Each function answers the
 * request, at once or later; names are those in its path.
 */
#ifndef API_OPENAI_H
#define API_OPENAI_H

#include "http/problem.h"

struct api;
struct http_request;

/* POST /v1/chat/completions: start a run, and answer with its chunks or its completion. */
void api_openai_chat(const struct api *api, struct http_request *request, const char *const *names);

/* GET /v1/models, GET /v1/models/{id}: the agents that serve in one of these protocols. */
void api_openai_models(const struct api *api, struct http_request *request,
                       const char *const *names);
void api_openai_model(const struct api *api, struct http_request *request,
                      const char *const *names);

/* {"error":{"message","type","param","code"}} */
extern const struct problem_shape openai_problems;

/* Return the body's member `model`, which the caller frees; "" if there is none. */
char *openai_model(struct http_request *request);

#endif
