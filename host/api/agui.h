/* POST /agents/{agent}/ag-ui: a run for a client of AG-UI, or the answer to a run's question. */
#ifndef API_AGUI_H
#define API_AGUI_H

struct api;
struct http_request;

void api_agui(const struct api *api, struct http_request *request, const char *const *names);

#endif
