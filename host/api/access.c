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

/* What the clients of all protocols look at. */
#define EXPOSED                                                               \
    "Location, Retry-After, WWW-Authenticate, x-request-id, x-should-retry, " \
    "x-vercel-ai-ui-message-stream, Mcp-Session-Id, MCP-Protocol-Version"

struct access {
    struct tokens *tokens; /* NULL: clients need none */
    char *origins;
    char *hosts;
    bool only_local; /* only this machine can connect */
};

/* ---- the host ---- */

/* Take the port off the name. False if it is too long for one. */
static bool take_name(const char *host, char *name, size_t size)
{
    size_t length = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

    if (length >= size)
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    return true;
}

/* Return true for localhost and for loopback addresses; also for all others if any is true. */
static bool is_address(const char *name, bool any)
{
    char inner[INET6_ADDRSTRLEN] = "";
    struct in6_addr v6;
    struct in_addr v4;

    if (strcasecmp(name, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, name, &v4) == 1)
        return any || setting_is_loopback_v4(v4);
    sscanf(name, "[%45[0-9a-fA-F:.]]", inner);
    return inet_pton(AF_INET6, inner, &v6) == 1 && (any || IN6_IS_ADDR_LOOPBACK(&v6));
}

static bool is_in_list(const char *list, const char *word)
{
    size_t length;

    for (; (length = setting_word(&list)) > 0; list += length) {
        if (length == strlen(word) && strncasecmp(list, word, length) == 0)
            return true;
    }
    return false;
}

static bool is_any(const char *list)
{
    return strcmp(list, "*") == 0;
}

/*
 * A server without tokens serves whoever reaches it, so also a page that let its
 * own name lead here (DNS rebinding), which then counts as of the same origin.
 * Such a page must have a name: an address cannot be made to lead elsewhere. So
 * the name by which a client asks must be an address, localhost or in
 * allowed_hosts. False if answered.
 */
static bool check_host(const struct access *access, struct http_request *request)
{
    const char *host = http_host(request);
    char name[256], detail[512];

    if ((access->tokens && !*access->hosts) || is_any(access->hosts) || host == NULL)
        return true;
    if (take_name(host, name, sizeof name) &&
        (is_address(name, !access->only_local) || is_in_list(access->hosts, name)))
        return true;
    snprintf(detail, sizeof detail,
             "this server is not to be asked as '%.256s'; ask by %s, or let its operator add the "
             "name to allowed_hosts",
             host, access->only_local ? "localhost or 127.0.0.1" : "an address");
    problem_reply(request, 421, detail);
    return false;
}

/* ---- origins ---- */

/* Return true if this server sent the page: the browser says so, or the origin is the Host. */
static bool is_same_origin(const struct http_request *request, const char *origin)
{
    const char *site = http_header(request, "Sec-Fetch-Site");
    const char *host = http_host(request);
    size_t scheme = strncasecmp(origin, "http://", 7) == 0    ? 7
                    : strncasecmp(origin, "https://", 8) == 0 ? 8
                                                              : 0;

    if (site && strcmp(site, "same-origin") == 0)
        return true;
    return host && scheme > 0 && strcasecmp(origin + scheme, host) == 0;
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
    http_add_header(request, "Access-Control-Expose-Headers", EXPOSED);
    http_add_header(request, "Vary", "Origin");
}

static bool is_preflight(const struct http_request *request)
{
    return strcmp(http_method(request), "OPTIONS") == 0 &&
           http_header(request, "Access-Control-Request-Method");
}

/* The page may send what it asks for: what a route does not take, the route refuses. */
static void reply_preflight(struct http_request *request)
{
    const char *headers = http_header(request, "Access-Control-Request-Headers");
    const char *private = http_header(request, "Access-Control-Request-Private-Network");

    http_add_header(request, "Access-Control-Allow-Methods",
                    http_header(request, "Access-Control-Request-Method"));
    if (headers && *headers)
        http_add_header(request, "Access-Control-Allow-Headers", headers);
    if (private && strcmp(private, "true") == 0)
        http_add_header(request, "Access-Control-Allow-Private-Network", "true");
    http_add_header(request, "Access-Control-Max-Age", PREFLIGHT_AGE);
    http_reply(request, 204, NULL, &(struct buf){0});
}

/* False if the request was answered. */
static bool check_origin(const struct access *access, struct http_request *request)
{
    const char *origin = http_header(request, "Origin");

    if (origin == NULL || is_same_origin(request, origin))
        return true;
    if (!is_any(access->origins) && !is_in_list(access->origins, origin)) {
        refuse_origin(request, origin);
        return false;
    }
    add_cors_headers(access, request, origin);
    if (!is_preflight(request))
        return true;
    reply_preflight(request);
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

struct access *access_create(const struct config *config, const char *listen, struct tokens *tokens)
{
    struct access *access = mem_alloc(sizeof *access);

    access->tokens = tokens;
    access->origins = mem_strdup(config->cors_origins);
    access->hosts = mem_strdup(config->allowed_hosts);
    access->only_local = setting_is_loopback(listen);
    if (tokens)
        log_info("clients need a token tokens=%zu file=%s", tokens_count(tokens), config->tokens);
    return access;
}

struct tokens *access_take_tokens(struct access *access)
{
    struct tokens *tokens = access->tokens;

    access->tokens = NULL;
    return tokens;
}

void access_destroy(struct access *access)
{
    if (access == NULL)
        return;
    tokens_destroy(access->tokens);
    free(access->origins);
    free(access->hosts);
    free(access);
}
