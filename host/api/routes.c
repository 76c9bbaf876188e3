/*
 * How a request gets to its handler. When its headers are there, api_admit() looks
 * at all of them, in this order; the first that is wrong is the answer:
 *
 *     framing    one length
 *     access     the host's name, a page's origin (access.c)
 *     route      404 for a path without one, 405 for a method that it does not take
 *     token      access.c; not for open routes
 *
 * Only then, and only if the route takes a body, is the body read; api_handle() runs when
 * all of it is there. So a stranger's connection holds its headers and nothing else.
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

enum { OPEN = 1, BODY = 2 };

static const struct route {
    const char *method;
    const char *before; /* the path is this, */
    const char *after;  /* then, unless NULL, a name and this */
    void (*handle)(const struct api *api, struct http_request *request, const char *name);
    int flags; /* OPEN: it needs no token. BODY: it takes a body. */
} routes[] = {
    {"POST", "/agents/", "/runs", api_runs_start, BODY},
    {"GET", "/agents", NULL, handle_agents, 0},
    {"GET", "/runs/", "", api_runs_show, 0},
    {"GET", "/runs/", "/events", api_runs_events, 0},
    {"POST", "/runs/", "/cancel", api_runs_cancel, 0},
    {"POST", "/runs/", "/input", api_runs_input, BODY},
    {"GET", "/healthz", NULL, handle_health, OPEN},
    {"GET", "/readyz", NULL, handle_ready, OPEN},
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

#define NAME_MAX_SIZE 256

/* Return the route of the path, or NULL; name gets the name in the path. */
static const struct route *route_find(const char *path, char name[NAME_MAX_SIZE])
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (route_matches(&routes[i], path, name, NAME_MAX_SIZE))
            return &routes[i];
    }
    return NULL;
}

static enum http_admission api_admit(void *data, struct http_request *request)
{
    const struct api *api = data;
    const struct route *route;
    const char *subject;
    char name[NAME_MAX_SIZE];

    if (is_framed_twice(request)) {
        problem_reply(request, 400, "send Content-Length or Transfer-Encoding, not both");
        return HTTP_ANSWERED;
    }
    if (!access_check_page(api->access, request))
        return HTTP_ANSWERED;
    route = route_find(http_path(request), name);
    if (route == NULL) {
        problem_reply(request, 404,
                      "there is nothing at this path; GET /agents lists the agents, and "
                      "POST /agents/{agent}/runs starts a run");
        return HTTP_ANSWERED;
    }
    if (!method_matches(route, http_method(request))) {
        reply_not_allowed(request, route);
        return HTTP_ANSWERED;
    }
    subject = route->flags & OPEN ? "" : access_check_token(api->access, request);
    if (subject == NULL)
        return HTTP_ANSWERED;
    http_set_subject(request, subject);
    return route->flags & BODY ? HTTP_WITH_BODY : HTTP_WITHOUT_BODY;
}

static void api_handle(void *data, struct http_request *request)
{
    char name[NAME_MAX_SIZE];

    route_find(http_path(request), name)->handle(data, request, name);
}

const struct http_handler api_handler = {.admit = api_admit, .handle = api_handle};
