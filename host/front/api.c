#include "front/api.h"

#include "common/json.h"
#include "front/collect.h"
#include "front/problem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void reply_json(struct http_request *request, struct buf *body)
{
    buf_puts(body, "\n");
    http_reply(request, 200, "application/json", body);
}

/* ---- what an agent may know of the request ---- */

/* W3C Trace Context, 3.2: version, trace id, parent id, flags; neither id all zero, no version ff.
 */
static bool traceparent_is_valid(const char *value)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

    if (strlen(value) != strlen(form))
        return false;
    for (size_t i = 0; form[i]; i++) {
        if (form[i] == '-' ? value[i] != '-' : !strchr("0123456789abcdef", value[i]))
            return false;
    }
    return strncmp(value, "ff", 2) != 0 && strspn(value + 3, "0") < 32 &&
           strspn(value + 36, "0") < 16;
}

static void add_header(struct buf *pairs, const struct http_request *request, const char *name)
{
    const char *value = http_header(request, name);
    char key[160];

    if (value == NULL || json_escaped_length(value, strlen(value)) < 0)
        return;
    snprintf(key, sizeof key, "request.header.%s", name);
    for (char *p = key; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    wire_append_pair(pairs, key, value);
}

static void add_headers(struct buf *pairs, const struct http_request *request, const char *names)
{
    const char *blanks = ", \t";
    char name[128];

    for (names += strspn(names, blanks); *names; names += strspn(names, blanks)) {
        size_t length = strcspn(names, blanks);
        if (length < sizeof name) {
            memcpy(name, names, length);
            name[length] = '\0';
            add_header(pairs, request, name);
        }
        names += length;
    }
}

static void collect_pairs(const struct api *api, const struct http_request *request,
                          struct buf *pairs)
{
    const struct buf *body = http_body(request);
    const char *traceparent = http_header(request, "traceparent");

    buf_append(pairs, "input", sizeof "input");
    buf_append(pairs, buf_data(body), buf_length(body));
    buf_append(pairs, "", 1);
    if (traceparent && traceparent_is_valid(traceparent))
        wire_append_pair(pairs, "traceparent", traceparent);
    add_headers(pairs, request, api->config->forward_headers);
}

/* ---- POST /agents/{agent}/runs ---- */

/*
 * A web page of any origin can make its reader's browser post a form or plain
 * text anywhere, but not JSON: so only JSON is taken.
 */
static bool is_json(const char *content_type)
{
    static const char json[] = "application/json";
    size_t length = strlen(json);

    return content_type && strncasecmp(content_type, json, length) == 0 &&
           (content_type[length] == '\0' || strchr("; \t", content_type[length]));
}

/* Whether the request's body can be an input; replies if not. */
static bool check_body(const struct api *api, struct http_request *request)
{
    const struct buf *body = http_body(request);
    char detail[160];

    if (body == NULL) {
        snprintf(detail, sizeof detail, "the body has more than %zu bytes, the limit of this host",
                 api->config->max_body);
        problem_reply(request, 413, detail);
        return false;
    }
    if (!is_json(http_header(request, "Content-Type"))) {
        problem_reply(request, 415, "send the input as JSON, with Content-Type: application/json");
        return false;
    }
    if (buf_length(body) == 0 || json_check(buf_data(body), buf_length(body)) < 0) {
        problem_reply(request, 400,
                      "the body is not JSON; send one JSON value in UTF-8, such as {}");
        return false;
    }
    return true;
}

/* Whether a run of the agent can start or wait for its start; replies if not. */
static bool check_room(const struct api *api, struct http_request *request, const char *agent)
{
    char reason[1536];
    int status;

    if (api->stopping) {
        problem_reply_busy(request, 503, "the server is stopping");
        return false;
    }
    status = registry_admit(api->registry, agent, reason, sizeof reason);
    if (status == -ENOENT) {
        problem_reply(request, 404, reason);
    } else if (status < 0) {
        problem_reply_busy(request, 503, reason);
    } else if (runs_live(api->runs) >= api->config->max_runs) {
        problem_reply_busy(request, 503,
                           "the server has as many live runs as it allows; try again later");
        status = -EAGAIN;
    }
    return status == 0;
}

static void start_run(const struct api *api, struct http_request *request, const char *agent,
                      bool wait)
{
    struct buf pairs = {0};
    char location[16 + RUN_ID_LENGTH];
    struct run *run;

    collect_pairs(api, request, &pairs);
    if (run_create(api->runs, agent, &pairs, &run) < 0) {
        buf_finish(&pairs);
        problem_reply(request, 500, "the server cannot make a run id");
        return;
    }
    snprintf(location, sizeof location, "/runs/%s", run_id(run));
    http_add_header(request, "Location", location);
    if (wait)
        collect_open(request, run);
    else
        stream_open(api->streams, request, run);
    registry_submit(api->registry, run);
    run_unref(run);
}

static void handle_start(const struct api *api, struct http_request *request, const char *agent)
{
    const char *mode = http_query(request, "mode");
    bool wait = mode && strcmp(mode, "wait") == 0;

    if (mode && !wait && strcmp(mode, "stream") != 0) {
        problem_reply(request, 400, "mode is 'stream' or 'wait'");
        return;
    }
    if (check_body(api, request) && check_room(api, request, agent))
        start_run(api, request, agent, wait);
}

/* ---- GET ---- */

static void handle_agents(const struct api *api, struct http_request *request, const char *name)
{
    struct buf body = {0};

    (void)name;
    registry_describe(api->registry, &body);
    reply_json(request, &body);
}

static void handle_run(const struct api *api, struct http_request *request, const char *id)
{
    const struct run *run = runs_find(api->runs, id);
    struct buf body = {0};

    if (run == NULL) {
        problem_reply(request, 404,
                      "there is no such run, or it ended so long ago that it is "
                      "forgotten");
        return;
    }
    run_describe(run, &body);
    reply_json(request, &body);
}

static void handle_health(const struct api *api, struct http_request *request, const char *name)
{
    struct buf body = {0};

    (void)api;
    (void)name;
    buf_puts(&body, "{\"status\":\"ok\"}");
    reply_json(request, &body);
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

/* ---- routing ---- */

static const struct route {
    const char *method;
    const char *before; /* the path is before, a name if after is not NULL, after */
    const char *after;
    void (*handle)(const struct api *api, struct http_request *request, const char *name);
} routes[] = {
    {"POST", "/agents/", "/runs", handle_start}, {"GET", "/agents", NULL, handle_agents},
    {"GET", "/runs/", "", handle_run},           {"GET", "/healthz", NULL, handle_health},
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

void api_handle(void *data, struct http_request *request)
{
    const struct api *api = data;
    const char *subject = access_check(api->access, request);
    char name[256];

    if (subject == NULL)
        return;
    http_set_subject(request, subject);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!route_matches(&routes[i], http_path(request), name, sizeof name))
            continue;
        if (method_matches(&routes[i], http_method(request)))
            routes[i].handle(api, request, name);
        else
            reply_not_allowed(request, &routes[i]);
        return;
    }
    problem_reply(request, 404,
                  "there is nothing at this path; GET /agents lists the agents, and "
                  "POST /agents/{agent}/runs starts a run");
}
