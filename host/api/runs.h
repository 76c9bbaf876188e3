/*
 * Requests about runs: start one, or find one and show, read, cancel or feed
 * it. Each function answers the request, at once or later; names are those in its path.
 */
#ifndef API_RUNS_H
#define API_RUNS_H

struct api;
struct http_request;

/* POST /agents/{agent}/runs: start a run, or read the one on that the request is about. */
void api_runs_start(const struct api *api, struct http_request *request, const char *const *names);

/* GET /runs/{id}: the run's state. */
void api_runs_show(const struct api *api, struct http_request *request, const char *const *names);

/* GET /runs/{id}/events: the run's stream, from the start or after an event. */
void api_runs_events(const struct api *api, struct http_request *request, const char *const *names);

/* POST /runs/{id}/cancel: ask the run to stop. */
void api_runs_cancel(const struct api *api, struct http_request *request, const char *const *names);

/* POST /runs/{id}/input: say something to the run's agent. */
void api_runs_input(const struct api *api, struct http_request *request, const char *const *names);

#endif
