#include "api/routes.h"

#include "api/body.h"
#include "api/position.h"
#include "api/start.h"
#include "http/problem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void reply_json(struct http_request *request, unsigned status, struct buf *body)
{
    buf_puts(body, "\n");
    http_reply(request, status, "application/json", body);
}

static void reply_run(struct http_request *request, unsigned status, const struct run *run)
{
    struct buf body = {0};

    run_describe(run, &body);
    reply_json(request, status, &body);
}

struct run *api_find_run(const struct api *api, struct http_request *request, const char *id)
{
    struct run *run = runs_find(api->runs, id);

    if (run && strcmp(run_subject(run), http_subject(request)) == 0)
        return run;
    problem_reply(request, 404,
                  "there is no such run, or it ended so long ago that it is forgotten");
    return NULL;
}

/* ---- GET ---- */

static void handle_agents(const struct api *api, struct http_request *request, const char *name)
{
    struct buf body = {0};

    (void)name;
    registry_describe(api->registry, &body);
    reply_json(request, 200, &body);
}

static void handle_run(const struct api *api, struct http_request *request, const char *id)
{
    const struct run *run = api_find_run(api, request, id);

    if (run)
        reply_run(request, 200, run);
}

/* Upon a 204, a browser's EventSource does not reconnect any more. */
static void reply_events(const struct api *api, struct http_request *request, struct run *run,
                         uint64_t after)
{
    struct buf nothing = {0};

    if (run_has_ended(run) && after == run_log(run)->last)
        http_reply(request, 204, NULL, &nothing);
    else if (strcmp(http_method(request), "HEAD") == 0)
        http_reply(request, 200, ENCODE_SSE_CONTENT_TYPE, &nothing);
    else
        stream_open(api->streams, request, run, after);
}

static void handle_events(const struct api *api, struct http_request *request, const char *id)
{
    struct run *run = api_find_run(api, request, id);
    uint64_t after;

    if (run && position_in_run(request, run, &after))
        reply_events(api, request, run, after);
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
    if (api->stopping)
        problem_reply_busy(request, 503, "the server is stopping");
    else if (!registry_is_settled(api->registry))
        problem_reply_busy(request, 503, "the server is still starting its plugins");
    else
        handle_health(api, request, name);
}

/* ---- POST ---- */

static void handle_cancel(const struct api *api, struct http_request *request, const char *id)
{
    struct run *run = api_find_run(api, request, id);

    if (run == NULL)
        return;
    run_cancel(run);
    reply_run(request, run_has_ended(run) ? 200 : 202, run);
}

static void handle_input(const struct api *api, struct http_request *request, const char *id)
{
    struct run *run = api_find_run(api, request, id);
    const struct buf *body = http_body(request);
    int status;

    if (run == NULL || !body_check(request, api->config->max_body))
        return;
    status = run_give_input(run, buf_data(body), buf_length(body));
    if (status == 0)
        reply_run(request, 202, run);
    else if (status == -EAGAIN)
        problem_reply_busy(request, 429,
                           "the agent has not taken the inputs that it was sent before");
    else
        problem_reply(request, 409,
                      run_has_ended(run) ? "the run has ended; it takes no input any more"
                                         : "the run is queued; it takes input once it has begun");
}

/* ---- routing ---- */

static const struct route {
    const char *method;
    const char *before; /* the path is before, a name if after is not NULL, after */
    const char *after;
    void (*handle)(const struct api *api, struct http_request *request, const char *name);
} routes[] = {
    {"POST", "/agents/", "/runs", start_handle},
    {"GET", "/agents", NULL, handle_agents},
    {"GET", "/runs/", "", handle_run},
    {"GET", "/runs/", "/events", handle_events},
    {"POST", "/runs/", "/cancel", handle_cancel},
    {"POST", "/runs/", "/input", handle_input},
    {"GET", "/healthz", NULL, handle_health},
    {"GET", "/readyz", NULL, handle_ready},
};

/* Whether the path is this route's; name is what stands in its middle. */
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

/* Two lengths mean two requests to two servers on a way (RFC 9112, 6.3). */
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
