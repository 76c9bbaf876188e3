/*
 * The routes: what each request means. Errors are problem documents (RFC 9457).
 *
 *     POST /agents/{agent}/runs   start a run, or read one on
 *     GET  /agents                the agents
 *     GET  /runs/{id}             a run's state
 *     GET  /runs/{id}/events      a run's stream, from the start or after an event
 *     POST /runs/{id}/cancel      ask a run to stop
 *     POST /runs/{id}/input       say something to a run's agent
 *     *    /mcp                   MCP: POST calls a tool, GET resumes, DELETE ends a session
 *     GET  /healthz               the front lives
 *     GET  /readyz                every plugin is settled, and the front is not stopping
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "http/http.h"

/* Its data is a struct api. */
extern const struct http_handler api_handler;

#endif
