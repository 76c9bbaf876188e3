/*
 * POST /agents/{agent}/runs: starts a run, or goes on with the one that the
 * request is about.
 *
 *     Last-Event-ID: RUN.N     reads that run on, behind its event N
 *     Idempotency-Key: KEY     the first request with it starts a run, later ones
 *                              read that run
 *     ?mode=                   stream (default), wait or detach
 *     ?on_disconnect=          cancel, continue, or seconds
 *     ?deadline=               seconds, at most the plugin's
 */
#ifndef API_START_H
#define API_START_H

#include "api/routes.h"

void start_handle(const struct api *api, struct http_request *request, const char *agent);

#endif
