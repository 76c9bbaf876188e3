/*
 * The routes: what each request means. Errors are problem documents (RFC 9457).
 *
 *     POST /agents/{agent}/runs   start a run; see start.h
 *     GET  /agents                the agents
 *     GET  /runs/{id}             one run's state
 *     GET  /runs/{id}/events      its stream, from the start or behind an event
 *     POST /runs/{id}/cancel      ask it to stop
 *     POST /runs/{id}/input       say something to its agent
 *     GET  /healthz               the front lives
 *     GET  /readyz                every plugin is settled, and the front is not stopping
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/access.h"
#include "api/stream.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/http.h"
#include "run/run.h"

/* What requests are about; owned by front.c. */
struct api {
    const struct config *config;
    struct access *access;
    struct runs *runs;
    struct registry *registry;
    struct streams *streams;
    bool stopping; /* no run starts any more */
};

/* The run, if it is the request's subject's to see; replies if there is none. */
struct run *api_find_run(const struct api *api, struct http_request *request, const char *id);

/* Its data is the struct api. */
extern const struct http_handler api_handler;

#endif
