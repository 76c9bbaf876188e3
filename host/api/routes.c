/*
 * How a request gets to its handler. When its headers are there, api_admit() looks
 * at all of them, in this order; the first that is wrong is the answer:
 *
 *     access     the host's name, a page's origin (access.c)
 *     route      404 for a path without one, 405 for a method that it does not take
 *     token      access.c; not for open routes
 *     query      400 for a parameter that the route does not have
 *
 * Only then, and only if the route takes a body, is the body read; api_handle() runs when
 * all of it is there. So a stranger's connection holds its headers and nothing else.
 *
 * Whatever is refused is worded as the path's protocol words errors (http/problem.h).
 *
 * To add a route: a line in routes[], its handler in the file of its noun or protocol, the
 * list in routes.h, and docs/http.md.
 */
#include "api/routes.h"

#include "api/a2a.h"
#include "api/a2a_problem.h"
#include "api/access.h"
#include "api/admission.h"
#include "api/agui.h"
#include "api/aisdk.h"
#include "api/api.h"
#include "api/card.h"
#include "api/mcp.h"
#include "api/mcp_exchange.h"
#include "api/openai.h"
#include "api/responses.h"
#include "api/runs.h"
#include "base/buf.h"
#include "base/why.h"
#include "config/setting.h"
#include "fleet/registry.h"
#include "fleet/states.h"
#include "http/answer.h"
#include "http/problem.h"
#include "http/request.h"
#include "run/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reply_json(struct http_request *request, unsigned status, struct buf *body)
{
    buf_puts(body, "\n");
    http_reply(request, status, "application/json", body);
}

static void handle_agents(const struct api *api, struct http_request *request,
                          const char *const *names)
{
    struct buf body = {0};

    (void)names;
    api->report_agents(api->registry, &body);
    reply_json(request, 200, &body);
}

static void handle_agent(const struct api *api, struct http_request *request,
                         const char *const *names)
{
    const struct deployment *deployment = registry_find(api->registry, names[0]);
    struct buf body = {0};

    if (deployment == NULL) {
        admission_refuse(request, ADMISSION_no_such_agent,
                         &(struct admission_facts){.agent = names[0]});
        return;
    }
    api->report_agent(deployment, &body);
    reply_json(request, 200, &body);
}

static void handle_health(const struct api *api, struct http_request *request,
                          const char *const *names)
{
    struct buf body = {0};

    (void)api;
    (void)names;
    buf_puts(&body, "{\"status\":\"ok\"}");
    reply_json(request, 200, &body);
}

/* Answer for one agent, by the name that clients use; it need not wait for the others. */
static void reply_agent_ready(const struct api *api, struct http_request *request, const char *name)
{
    const struct deployment *deployment = registry_find(api->registry, name);
    struct deployment_snapshot shot;
    struct buf body = {0};
    struct why why = {0};

    if (deployment == NULL && registry_is_settled(api->registry)) {
        admission_refuse(request, ADMISSION_no_such_agent,
                         &(struct admission_facts){.agent = name});
        return;
    }
    if (deployment)
        deployment_snapshot(deployment, &shot);
    if (deployment && shot.serves) {
        buf_printf(&body, "{\"status\":\"ok\",\"state\":\"%s\"}", shot.state);
        reply_json(request, 200, &body);
        return;
    }
    why_set(&why, 0, "the agent '%s' does not serve: it is %s", name,
            deployment ? shot.state : "starting");
    problem_reply_busy(request, &(struct problem){.status = 503, .detail = why_text(&why)});
    why_finish(&why);
}

/* How many agents are in each state, in the order in which the states are met. */
struct census {
    struct {
        const char *state;
        unsigned agents;
    } rows[DEPLOYMENT_STATE_COUNT];
    unsigned count;
    unsigned serving;
};

static void census_take(const struct registry *registry, struct census *census)
{
    for (unsigned i = 0; i < registry_count(registry); i++) {
        struct deployment_snapshot shot;
        unsigned at = 0;

        deployment_snapshot(registry_deployment(registry, i), &shot);
        while (at < census->count && census->rows[at].state != shot.state)
            at++;
        census->count += at == census->count;
        census->rows[at].state = shot.state;
        census->rows[at].agents++;
        census->serving += shot.serves;
    }
}

static void reply_some_serve(struct http_request *request, const struct census *census)
{
    struct buf body = {0};

    buf_puts(&body, "{\"status\":\"ok\",\"agents\":{");
    for (unsigned i = 0; i < census->count; i++)
        buf_printf(&body, "%s\"%s\":%u", i ? "," : "", census->rows[i].state,
                   census->rows[i].agents);
    buf_puts(&body, "}}");
    reply_json(request, 200, &body);
}

static void reply_none_serves(struct http_request *request, const struct census *census)
{
    struct buf detail = {0};
    char *text;

    buf_puts(&detail, "no agent serves");
    if (census->count == 0)
        buf_puts(&detail, ": there is none");
    for (unsigned i = 0; i < census->count; i++)
        buf_printf(&detail, "%s %u %s", i ? "," : ":", census->rows[i].agents,
                   census->rows[i].state);
    text = buf_steal(&detail);
    problem_reply_busy(request, &(struct problem){.status = 503, .detail = text});
    free(text);
}

/*
 * Ready means: a client that comes now can be served. Probes have no token, so they
 * are told how many agents are in each state, and no names.
 */
static void handle_ready(const struct api *api, struct http_request *request,
                         const char *const *names)
{
    const char *agent = http_query(request, "agent");
    struct census census = {.count = 0};

    (void)names;
    census_take(api->registry, &census);
    if (*api->stopping)
        admission_refuse(request, ADMISSION_stopping, NULL);
    else if (agent)
        reply_agent_ready(api, request, agent);
    else if (!registry_is_settled(api->registry))
        problem_reply_busy(
            request,
            &(struct problem){.status = 503, .detail = "the server is still starting its plugins"});
    else if (census.serving > 0)
        reply_some_serve(request, &census);
    else
        reply_none_serves(request, &census);
}

/* ---- routing ---- */

#define NAMES_MAX     3
#define NAME_MAX_SIZE 256

/* The names in a path, in their order. */
struct path_names {
    const char *at[NAMES_MAX];
    char text[NAMES_MAX][NAME_MAX_SIZE];
};

enum { OPEN = 1, BODY = 2 };

/* Of each request of A2A, and of those that begin a task. */
#define A2A_QUERY "A2A-Version on_disconnect deadline"
#define A2A_REST  "/agents/{}/a2a/rest"

static const struct route {
    const char *method;
    const char *path; /* {} stands for a name, which has no '/' */
    void (*handle)(const struct api *api, struct http_request *request, const char *const *names);
    int flags;                            /* OPEN: it needs no token. BODY: it takes a body. */
    const char *parameters;               /* of the query, separated by blanks; NULL: any */
    const struct problem_shape *problems; /* NULL: problem documents */
} routes[] = {
    {"POST", "/agents/{}/runs", api_runs_start, BODY,
     "mode as on_disconnect deadline last_event_id lastEventId", NULL},
    {"POST", "/agents/{}/ag-ui", api_agui, BODY, NULL, NULL},
    {"POST", "/agents/{}/ai-sdk", api_aisdk, BODY, NULL, &aisdk_problems},
    {"GET", "/agents/{}/ai-sdk/{}/stream", api_aisdk_resume, 0, NULL, &aisdk_problems},
    {"GET", "/agents", handle_agents, 0, "", NULL},
    {"GET", "/agents/{}", handle_agent, 0, "", NULL},
    {"GET", "/agents/{}/.well-known/agent-card.json", api_card_show, OPEN, NULL, NULL},
    {"GET", "/.well-known/agent-card.json", api_card_show_root, OPEN, NULL, NULL},
    {"POST", "/agents/{}/a2a", api_a2a_call, BODY, A2A_QUERY, &a2a_rpc_problems},
    {"POST", A2A_REST "/message:send", api_a2a_send, BODY, A2A_QUERY, &a2a_rest_problems},
    {"POST", A2A_REST "/message:stream", api_a2a_stream, BODY, A2A_QUERY, &a2a_rest_problems},
    {"GET", A2A_REST "/tasks", api_a2a_list, 0,
     "A2A-Version contextId status pageSize pageToken historyLength statusTimestampAfter "
     "includeArtifacts",
     &a2a_rest_problems},
    {"POST", A2A_REST "/tasks/{}:cancel", api_a2a_cancel, BODY, "A2A-Version", &a2a_rest_problems},
    {"POST", A2A_REST "/tasks/{}:subscribe", api_a2a_subscribe, BODY, "A2A-Version",
     &a2a_rest_problems},
    {"GET", A2A_REST "/tasks/{}:subscribe", api_a2a_subscribe, 0, "A2A-Version",
     &a2a_rest_problems},
    {"GET", A2A_REST "/tasks/{}", api_a2a_get, 0, "A2A-Version historyLength", &a2a_rest_problems},
    {"POST", A2A_REST "/tasks/{}/pushNotificationConfigs", api_a2a_push, BODY, NULL,
     &a2a_rest_problems},
    {"GET", A2A_REST "/tasks/{}/pushNotificationConfigs", api_a2a_push, 0, NULL,
     &a2a_rest_problems},
    {"GET", A2A_REST "/tasks/{}/pushNotificationConfigs/{}", api_a2a_push, 0, NULL,
     &a2a_rest_problems},
    {"DELETE", A2A_REST "/tasks/{}/pushNotificationConfigs/{}", api_a2a_push, 0, NULL,
     &a2a_rest_problems},
    {"GET", A2A_REST "/extendedAgentCard", api_a2a_extended, 0, NULL, &a2a_rest_problems},
    {"GET", "/runs/{}", api_runs_show, 0, "", NULL},
    {"GET", "/runs/{}/events", api_runs_events, 0,
     "after as protocol last_event_id lastEventId access_token", NULL},
    {"POST", "/runs/{}/cancel", api_runs_cancel, 0, "", NULL},
    {"POST", "/runs/{}/input", api_runs_input, BODY, "question", NULL},
    {"POST", "/v1/chat/completions", api_openai_chat, BODY, NULL, &openai_problems},
    {"GET", "/v1/models", api_openai_models, 0, NULL, &openai_problems},
    {"GET", "/v1/models/{}", api_openai_model, 0, NULL, &openai_problems},
    {"POST", "/mcp", api_mcp_post, BODY, "deadline", &mcp_problems},
    {"GET", "/mcp", api_mcp_get, 0, "", &mcp_problems},
    {"DELETE", "/mcp", api_mcp_delete, 0, "", &mcp_problems},
    {"POST", "/v1/responses", api_responses_create, BODY, NULL, &openai_problems},
    {"GET", "/v1/responses/{}", api_responses_show, 0, NULL, &openai_problems},
    {"POST", "/v1/responses/{}/cancel", api_responses_cancel, 0, NULL, &openai_problems},
    {"GET", "/healthz", handle_health, OPEN, "", NULL},
    {"GET", "/readyz", handle_ready, OPEN, "agent", NULL},
};

#define ROUTES (sizeof routes / sizeof *routes)

/* Prefixes under which also a path without a route is of a protocol. */
static const struct {
    const char *prefix;
    const struct problem_shape *problems;
} shapes[] = {
    {"/v1/", &openai_problems},
};

/* Return true if the path is of this pattern, and set its names. */
static bool path_matches(const char *pattern, const char *path, struct path_names *names)
{
    unsigned count = 0;

    for (; *pattern; pattern++) {
        size_t length = strcspn(path, "/");
        if (*pattern != '{') {
            if (*path++ != *pattern)
                return false;
            continue;
        }
        pattern++; /* a name ends at '/', or where the rest of the pattern begins: ":cancel" */
        if (pattern[1] && pattern[1] != '/') {
            size_t rest = strcspn(pattern + 1, "/");
            if (length <= rest || memcmp(path + length - rest, pattern + 1, rest) != 0)
                return false;
            length -= rest;
        }
        if (length == 0 || length >= NAME_MAX_SIZE)
            return false;
        memcpy(names->text[count], path, length);
        names->text[count][length] = '\0';
        names->at[count] = names->text[count];
        count++;
        path += length;
    }
    return *path == '\0';
}

static bool method_matches(const struct route *route, const char *method)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* The path has routes, but none for the request's method. */
static void reply_not_allowed(struct http_request *request)
{
    struct buf allow = {0}, detail = {0};
    struct path_names names;
    char *text;

    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_matches(routes[i].path, http_path(request), &names))
            continue;
        buf_printf(&allow, "%s%s", buf_length(&allow) ? ", " : "", routes[i].method);
        buf_printf(&detail, "%s%s", buf_length(&detail) ? " or " : "send ", routes[i].method);
        if (strcmp(routes[i].method, "GET") == 0)
            buf_puts(&allow, ", HEAD");
    }
    buf_puts(&detail, " to this path");
    text = buf_steal(&allow);
    http_add_header(request, "Allow", text);
    free(text);
    text = buf_steal(&detail);
    problem_reply(request, 405, text);
    free(text);
}

/* A misspelt parameter would be taken for its default. False if the request was answered. */
static bool check_parameters(const struct route *route, struct http_request *request)
{
    char detail[512];
    const char *name = NULL;

    while (route->parameters && (name = http_query_next(request, name))) {
        bool known = setting_has_word(route->parameters, name);
        if (known && http_query(request, name) == name + strlen(name) + 1)
            continue;
        snprintf(detail, sizeof detail, "%s '%.128s'%s%s",
                 known ? "send once the parameter" : "there is no parameter", name,
                 known                ? ""
                 : *route->parameters ? " of this path; there are "
                                      : " of this path; it has none",
                 known ? "" : route->parameters);
        problem_reply(request, 400, detail);
        return false;
    }
    return true;
}

/*
 * Return the request's route and set the names in its path; NULL if there is none. is_path:
 * there is one for another method.
 */
static const struct route *route_find(const struct http_request *request, struct path_names *names,
                                      bool *is_path)
{
    *is_path = false;
    for (size_t i = 0; i < ROUTES; i++) {
        if (!path_matches(routes[i].path, http_path(request), names))
            continue;
        *is_path = true;
        if (method_matches(&routes[i], http_method(request)))
            return &routes[i];
    }
    return NULL;
}

/* Errors are worded as the protocol of the path does, whatever is wrong with the request. */
static void set_problem_shape(struct http_request *request)
{
    const char *path = http_path(request);
    struct path_names names;

    for (size_t i = 0; i < ROUTES; i++) {
        if (routes[i].problems && path_matches(routes[i].path, path, &names)) {
            http_set_problem_shape(request, routes[i].problems, NULL);
            return;
        }
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strncmp(path, shapes[i].prefix, strlen(shapes[i].prefix)) == 0)
            http_set_problem_shape(request, shapes[i].problems, NULL);
    }
}

/* Return who is charged for the request. */
static const char *client_of(const struct http_request *request)
{
    return *http_subject(request) ? http_subject(request) : http_client_address(request);
}

static bool api_take(void *data, const struct http_request *request, size_t bytes)
{
    const struct api *api = data;

    return runs_take(api->runs, client_of(request), bytes);
}

static void api_give(void *data, const struct http_request *request, size_t bytes)
{
    const struct api *api = data;

    runs_give(api->runs, client_of(request), bytes);
}

static void api_refuse(void *data, struct http_request *request)
{
    admission_refuse(request, admission_no_room(data), NULL);
}

static enum http_admission api_admit(void *data, struct http_request *request)
{
    const struct api *api = data;
    const struct route *route;
    struct path_names names;
    const char *subject;
    bool is_path;

    set_problem_shape(request);
    if (!access_check_page(api->access, request))
        return HTTP_ANSWERED;
    route = route_find(request, &names, &is_path);
    if (!is_path) {
        problem_reply(request, 404,
                      "there is nothing at this path; GET /agents lists the agents, and "
                      "POST /agents/{agent}/runs starts a run");
        return HTTP_ANSWERED;
    }
    if (route == NULL) {
        reply_not_allowed(request);
        return HTTP_ANSWERED;
    }
    subject = route->flags & OPEN ? "" : access_check_token(api->access, request);
    if (subject == NULL)
        return HTTP_ANSWERED;
    http_set_subject(request, subject);
    if (!check_parameters(route, request))
        return HTTP_ANSWERED;
    if (!(route->flags & BODY))
        return HTTP_WITHOUT_BODY;
    /* Now others may be disconnected to make the room that api_take() asks for. */
    if (http_body_length(request) <= api->config->max_body)
        runs_make_room(api->runs, client_of(request), http_body_length(request));
    return HTTP_WITH_BODY;
}

static void api_handle(void *data, struct http_request *request)
{
    struct path_names names;
    bool is_path;

    route_find(request, &names, &is_path)->handle(data, request, names.at);
}

const struct http_handler api_handler = {.admit = api_admit,
                                         .handle = api_handle,
                                         .take = api_take,
                                         .give = api_give,
                                         .refuse = api_refuse};
