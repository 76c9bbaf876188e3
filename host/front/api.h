/*
 * The routes: what each request means. Errors are problem documents (RFC 9457).
 *
 *     POST /agents/{agent}/runs   start a run; ?mode=stream (default) or wait
 *     GET  /agents                the agents
 *     GET  /runs/{id}             one run's state
 *     GET  /healthz               the front lives
 *     GET  /readyz                every plugin is settled, and the front is not stopping
 */
#ifndef FRONT_API_H
#define FRONT_API_H

#include "front/access.h"
#include "front/config.h"
#include "front/http.h"
#include "front/registry.h"
#include "front/run.h"
#include "front/stream.h"

/* What requests are about; owned by front.c. */
struct api {
    const struct config *config;
    struct access *access;
    struct runs *runs;
    struct registry *registry;
    struct streams *streams;
    bool stopping; /* no run starts any more */
};

/* An http_handler; data is the struct api. */
void api_handle(void *data, struct http_request *request);

#endif
