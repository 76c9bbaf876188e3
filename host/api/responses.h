/*
 * The routes of OpenAI's Responses. Each function answers the request, at once or later; names
 * are those in its path. An id of a response names a run, which its subject alone can use.
 */
#ifndef API_RESPONSES_H
#define API_RESPONSES_H

struct api;
struct http_request;

/* POST /v1/responses: start a run, which may go on from the response of another. */
void api_responses_create(const struct api *api, struct http_request *request,
                          const char *const *names);

/* GET /v1/responses/{id}: the response as it is, or with stream=true its frames. */
void api_responses_show(const struct api *api, struct http_request *request,
                        const char *const *names);

/* POST /v1/responses/{id}/cancel: ask the run to stop. */
void api_responses_cancel(const struct api *api, struct http_request *request,
                          const char *const *names);

#endif
