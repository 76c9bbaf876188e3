/*
 * How a request gets to its handler: when its headers are there, api_admit()
 * checks its framing and asks access.c who the client is; when all of it is
 * there, api_handle() looks for the route. A path without a route is answered
 * with 404, a method that the path does not take with 405.
 *
 * To add a route: a line in routes[], its handler in the file of its noun, the
 * list in routes.h, and docs/http.md.
 */
#include "api/routes.h"

#include "api/access.h"
#include "api/admission.h"
#include "api/api.h"
#include "api/runs.h"
#include "base/buf.h"
#include "fleet/registry.h"
#include "http/problem.h"

#include <stdio.h>
#include <string.h>

static void reply_json(struct http_request *request, unsigned status, struct buf *body)
{
    buf_puts(body, "\n");
    http_reply(request, status, "application/json", body);
}

static void handle_agents(const struct api *api, struct http_request *request, const char *name)
{
    struct buf body = {0};

    (void)name;
    api->report_agents(api->registry, &body);
    reply_json(request, 200, &body);
}

static void handle_health(const struct api *api, struct http_request *request, const char *name)
{
    struct buf body = {0};

    (void)api;
    (void)name;
    buf_puts(&body, "{\"status\":\"ok\"}");
    reply_json(request, 200, &body);
}

static void handle_ready(const struct api *api, struct http_request *request, const char *name)
{
    if (*api->stopping)
        admission_refuse(request, ADMISSION_stopping, NULL);
    else if (!registry_is_settled(api->registry))
        problem_reply_busy(request, 503, "the server is still starting its plugins");
    else
        handle_health(api, request, name);
}

/* ---- routing ---- */

static const struct route {
    const char *method;
    const char *before; /* the path is this, */
    const char *after;  /* then, unless NULL, a name and this */
    void (*handle)(const struct api *api, struct http_request *request, const char *name);
} routes[] = {
    {"POST", "/agents/", "/runs", api_runs_start},  {"GET", "/agents", NULL, handle_agents},
    {"GET", "/runs/", "", api_runs_show},           {"GET", "/runs/", "/events", api_runs_events},
    {"POST", "/runs/", "/cancel", api_runs_cancel}, {"POST", "/runs/", "/input", api_runs_input},
    {"GET", "/healthz", NULL, handle_health},       {"GET", "/readyz", NULL, handle_ready},
};

/* Return true if the path is this route's; name gets the part between before and after. */
static bool route_matches(const struct route *route, const char *path, char *name, size_t size)
{
    size_t before = strlen(route->before), length;

    if (route->after == NULL)
        return strcmp(path, route->before) == 0;
    if (strncmp(path, route->before, before) != 0)
        return false;
    length = strcspn(path + before, "/");
    if (length == 0 || length >= size || strcmp(path + before + length, route->after) != 0)
        return false;
    memcpy(name, path + before, length);
    name[length] = '\0';
    return true;
}

static bool method_matches(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static void reply_not_allowed(struct http_request *request, const struct route *route)
{
    char detail[64];

    http_add_header(request, "Allow", strcmp(route->method, "GET") == 0 ? "GET, HEAD" : "POST");
    snprintf(detail, sizeof detail, "send %s to this path", route->method);
    problem_reply(request, 405, detail);
}

/* With two lengths, a proxy and this server may see different requests (RFC 9112, 6.3). */
static bool is_framed_twice(const struct http_request *request)
{
    return http_header(request, "Content-Length") && http_header(request, "Transfer-Encoding");
}

static bool api_admit(void *data, struct http_request *request)
{
    const struct api *api = data;
    const char *subject;

    if (is_framed_twice(request)) {
        http_add_header(request, "Connection", "close");
        problem_reply(request, 400, "send Content-Length or Transfer-Encoding, not both");
        return false;
    }
    subject = access_check(api->access, request);
    if (subject)
        http_set_subject(request, subject);
    return subject != NULL;
}

static void api_handle(void *data, struct http_request *request)
{
    char name[256];

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!route_matches(&routes[i], http_path(request), name, sizeof name))
            continue;
        if (method_matches(&routes[i], http_method(request)))
            routes[i].handle(data, request, name);
        else
            reply_not_allowed(request, &routes[i]);
        return;
    }
    problem_reply(request, 404,
                  "there is nothing at this path; GET /agents lists the agents, and "
                  "POST /agents/{agent}/runs starts a run");
}

const struct http_handler api_handler = {.admit = api_admit, .handle = api_handle};
