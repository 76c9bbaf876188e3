#include "api/access.h"

#include "api/tokens.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/setting.h"
#include "http/problem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REALM "Bearer realm=\"sluice\""

/* How long a browser may remember the answer to a preflight, in seconds. */
#define PREFLIGHT_AGE "600"

struct access {
    struct tokens *tokens; /* NULL: clients need none */
    char *origins;
    char *headers; /* those that pages may send */
    bool only_local;
};

/* ---- the host ---- */

/* Return true if a Host header names this machine: localhost or a loopback address, with or without
 * a port. */
static bool is_local(const char *host)
{
    size_t length = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    char name[64];
    struct in_addr v4;

    if (length >= sizeof name)
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &v4) == 1 && setting_is_loopback_v4(v4);
}

/*
 * A server that everyone on this machine may use must be asked by this machine's
 * names. A page that asks by another name may have let that name lead here (DNS
 * rebinding), and would count as of the same origin. False if answered.
 */
static bool check_host(const struct access *access, struct http_request *request)
{
    const char *host = http_host(request);

    if (!access->only_local || host == NULL || is_local(host))
        return true;
    problem_reply(request, 421,
                  "this server is for its own machine, as localhost or 127.0.0.1; for others, its "
                  "operator sets tokens, or allow_anonymous to yes");
    return false;
}

/* ---- origins ---- */

/* Return true if this server sent the page: the browser says so, or the origin is the Host. */
static bool is_same_origin(const struct http_request *request, const char *origin)
{
    const char *site = http_header(request, "Sec-Fetch-Site");
    const char *host = http_host(request);
    const char *end_of_scheme = strstr(origin, "://");

    if (site && strcmp(site, "same-origin") == 0)
        return true;
    return host && end_of_scheme && strcasecmp(end_of_scheme + 3, host) == 0;
}

static bool is_any(const char *origins)
{
    return strcmp(origins, "*") == 0;
}

static bool is_allowed(const char *origins, const char *origin)
{
    size_t length;

    for (; (length = setting_word(&origins)) > 0; origins += length) {
        if (length == strlen(origin) && strncasecmp(origins, origin, length) == 0)
            return true;
    }
    return false;
}

static void refuse_origin(struct http_request *request, const char *origin)
{
    char detail[512];

    if (strcmp(origin, "null") == 0)
        snprintf(detail, sizeof detail,
                 "web pages without an origin may not use this server; its operator allows them "
                 "by setting cors_origins to *");
    else
        snprintf(detail, sizeof detail,
                 "web pages of the origin %.256s may not use this server; its operator allows "
                 "them by adding it to cors_origins",
                 origin);
    problem_reply(request, 403, detail);
}

static void add_cors_headers(const struct access *access, struct http_request *request,
                             const char *origin)
{
    http_add_header(request, "Access-Control-Allow-Origin", is_any(access->origins) ? "*" : origin);
    http_add_header(request, "Access-Control-Expose-Headers", "Location, Retry-After");
    http_add_header(request, "Vary", "Origin");
}

static bool is_preflight(const struct http_request *request)
{
    return strcmp(http_method(request), "OPTIONS") == 0 &&
           http_header(request, "Access-Control-Request-Method");
}

static void reply_preflight(const struct access *access, struct http_request *request)
{
    http_add_header(request, "Access-Control-Allow-Methods", "GET, POST");
    http_add_header(request, "Access-Control-Allow-Headers", access->headers);
    http_add_header(request, "Access-Control-Max-Age", PREFLIGHT_AGE);
    http_reply(request, 204, NULL, &(struct buf){0});
}

/* False if the request was answered. */
static bool check_origin(const struct access *access, struct http_request *request)
{
    const char *origin = http_header(request, "Origin");

    if (origin == NULL || is_same_origin(request, origin))
        return true;
    if (!is_any(access->origins) && !is_allowed(access->origins, origin)) {
        refuse_origin(request, origin);
        return false;
    }
    add_cors_headers(access, request, origin);
    if (!is_preflight(request))
        return true;
    reply_preflight(access, request);
    return false;
}

/* ---- tokens ---- */

/* GET /runs/{id}/events: browsers' EventSource cannot send a header. */
static bool is_event_source(const struct http_request *request)
{
    static const char before[] = "/runs/", after[] = "/events";
    const char *path = http_path(request);

    if (strcmp(http_method(request), "GET") != 0 || strncmp(path, before, strlen(before)) != 0)
        return false;
    path += strlen(before);
    return *path != '/' && strcmp(path + strcspn(path, "/"), after) == 0;
}

/* Return the token that the client presents, or NULL. */
static const char *token_of(const struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    const char *header = http_header(request, "Authorization");

    if (header && strncasecmp(header, scheme, strlen(scheme)) == 0)
        return header + strlen(scheme) + strspn(header + strlen(scheme), " ");
    return is_event_source(request) ? http_query(request, "access_token") : NULL;
}

static void refuse_token(struct http_request *request, bool presented)
{
    http_add_header(request, "WWW-Authenticate",
                    presented ? REALM ", error=\"invalid_token\"" : REALM);
    problem_reply(request, 401,
                  presented ? "the token is not one of this server's"
                            : "send a token, as Authorization: Bearer TOKEN");
}

const char *access_check_token(const struct access *access, struct http_request *request)
{
    const char *token, *subject;

    if (access->tokens == NULL)
        return "";
    token = token_of(request);
    subject = token ? tokens_subject(access->tokens, token) : NULL;
    if (subject == NULL)
        refuse_token(request, token != NULL);
    return subject;
}

bool access_check_page(const struct access *access, struct http_request *request)
{
    return check_host(access, request) && check_origin(access, request);
}

/* ---- the whole ---- */

static char *headers_of(const char *forwarded)
{
    struct buf list = {0};
    size_t length;

    buf_puts(&list, "Authorization, Content-Type, Last-Event-ID, Idempotency-Key, traceparent");
    for (; (length = setting_word(&forwarded)) > 0; forwarded += length)
        buf_printf(&list, ", %.*s", (int)length, forwarded);
    return buf_steal(&list);
}

int access_create(const struct config *config, struct access **out, struct why *why)
{
    struct tokens *tokens = NULL;
    struct access *access;
    int status = 0;

    if (*config->tokens)
        status = tokens_load(config->tokens, &tokens, why);
    if (status < 0)
        return status;
    access = mem_alloc(sizeof *access);
    access->tokens = tokens;
    access->origins = mem_strdup(config->cors_origins);
    access->headers = headers_of(config->forward_headers);
    access->only_local = tokens == NULL && !config->allow_anonymous;
    if (tokens)
        log_info("clients need a token tokens=%zu file=%s", tokens_count(tokens), config->tokens);
    *out = access;
    return 0;
}

void access_destroy(struct access *access)
{
    if (access == NULL)
        return;
    tokens_destroy(access->tokens);
    free(access->origins);
    free(access->headers);
    free(access);
}
