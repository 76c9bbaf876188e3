#include "api/card.h"

#include "api/admission.h"
#include "api/api.h"
#include "base/card.h"
#include "base/digest.h"
#include "base/json_writer.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/answer.h"
#include "http/problem.h"
#include "http/request.h"
#include "protocol/a2a_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A new version of an agent is found after so long, in seconds. */
#define CARD_AGE "max-age=60"

/* What the card says of a deployment that serves. */
static bool snapshot(const struct deployment *deployment, struct generation_snapshot *out)
{
    struct deployment_snapshot shot;

    deployment_snapshot(deployment, &shot);
    if (shot.serves)
        generation_snapshot(shot.current, out);
    return shot.serves;
}

/* By which address the client reaches this server, as it has itself. */
static void append_base(const struct api *api, struct http_request *request, struct buf *out)
{
    const char *host = http_host(request), *url = api->config->public_url;
    size_t length = strlen(url);

    while (length > 0 && url[length - 1] == '/')
        length--;
    if (length > 0)
        buf_append(out, url, length);
    else
        buf_printf(out, "%s://%s", http_is_secure(request) ? "https" : "http",
                   host ? host : "localhost");
}

static void append_interface(struct json_writer *json, const char *base, const char *agent,
                             const char *path, const char *binding)
{
    struct buf url = {0};

    buf_printf(&url, "%s/agents/%s/%s", base, agent, path);
    buf_append(&url, "", 1);
    json_open(json, NULL, '{');
    json_text(json, "url", buf_data(&url));
    json_text(json, "protocolBinding", binding);
    json_text(json, "protocolVersion", A2A_VERSION);
    json_close(json, '}');
    buf_finish(&url);
}

static void append_types(struct json_writer *json, const char *name)
{
    json_open(json, name, '[');
    json_text(json, NULL, "text/plain");
    json_text(json, NULL, "application/json");
    json_close(json, ']');
}

/* The words between commas; the agent's name if there are none. */
static void append_tags(struct json_writer *json, const char *tags, const char *name)
{
    struct buf word = {0};
    bool any = false;

    json_open(json, "tags", '[');
    while (tags) {
        size_t blank = strspn(tags, " "), length = strcspn(tags + blank, ",");
        const char *next = tags[blank + length] ? tags + blank + length + 1 : NULL;
        while (length > 0 && tags[blank + length - 1] == ' ')
            length--;
        buf_append(&word, tags + blank, length);
        buf_append(&word, "", 1);
        if (length > 0)
            json_text(json, NULL, buf_data(&word));
        any |= length > 0;
        buf_finish(&word);
        tags = next;
    }
    if (!any)
        json_text(json, NULL, name);
    json_close(json, ']');
}

/* An example is what a person would send: the text, if the agent needs nothing but one. */
static void append_examples(struct json_writer *json, const struct card *card)
{
    const char *only = card->input ? json_schema_only_string(card->input) : NULL;
    cJSON *examples = card->examples ? cJSON_Parse(card->examples) : NULL, *example;

    if (examples) {
        json_open(json, "examples", '[');
        cJSON_ArrayForEach(example, examples) {
            const cJSON *text = only ? cJSON_GetObjectItemCaseSensitive(example, only) : example;
            char *printed = cJSON_IsString(text) ? NULL : cJSON_PrintUnformatted(example);
            json_text(json, NULL, printed ? printed : cJSON_GetStringValue(text));
            free(printed);
        }
        json_close(json, ']');
    }
    cJSON_Delete(examples);
}

static void append_skill(struct json_writer *json, const struct generation_snapshot *agent,
                         const struct card *card, const char *description)
{
    json_open(json, "skills", '[');
    json_open(json, NULL, '{');
    json_text(json, "id", agent->name);
    json_text(json, "name", card->title ? card->title : agent->name);
    json_text(json, "description", description);
    append_tags(json, card->tags, agent->name);
    append_examples(json, card);
    json_close(json, '}');
    json_close(json, ']');
}

static void append_security(struct json_writer *json)
{
    static const char schemes[] =
        "{\"bearer\":{\"httpAuthSecurityScheme\":{\"scheme\":\"Bearer\"}}}";
    static const char requirements[] = "[{\"schemes\":{\"bearer\":{\"list\":[]}}}]";

    json_raw(json, "securitySchemes", schemes, strlen(schemes));
    json_raw(json, "securityRequirements", requirements, strlen(requirements));
}

static void append_card(const struct api *api, struct http_request *request,
                        const struct generation_snapshot *agent, const struct card *card,
                        struct buf *out)
{
    const char *description = agent->description && *agent->description ? agent->description
                              : card->title                             ? card->title
                                                                        : agent->name;
    struct json_writer json = {.out = out};
    struct buf base = {0};

    append_base(api, request, &base);
    buf_append(&base, "", 1);
    json_open(&json, NULL, '{');
    json_text(&json, "name", agent->name);
    json_text(&json, "description", description);
    json_text(&json, "version", agent->version && *agent->version ? agent->version : "0");
    json_open(&json, "supportedInterfaces", '[');
    append_interface(&json, buf_data(&base), agent->name, "a2a", "JSONRPC");
    append_interface(&json, buf_data(&base), agent->name, "a2a/rest", "HTTP+JSON");
    json_close(&json, ']');
    json_open(&json, "capabilities", '{');
    json_flag(&json, "streaming", true);
    json_flag(&json, "pushNotifications", false);
    json_flag(&json, "extendedAgentCard", false);
    json_close(&json, '}');
    if (*api->config->tokens)
        append_security(&json);
    append_types(&json, "defaultInputModes");
    append_types(&json, "defaultOutputModes");
    append_skill(&json, agent, card, description);
    json_close(&json, '}');
    buf_puts(out, "\n");
    buf_finish(&base);
}

/* ---- caching (RFC 9110, 8.8 and 13.1.2) ---- */

#define ETAG_SIZE 35

static void make_etag(const struct buf *card, char etag[ETAG_SIZE])
{
    unsigned char digest[DIGEST_SIZE];
    char *at = etag;

    digest_make(buf_data(card), buf_length(card), digest);
    *at++ = '"';
    for (size_t i = 0; i < 16; i++)
        at += sprintf(at, "%02x", digest[i]);
    strcpy(at, "\"");
}

/* The list has entity tags between commas; ours has no comma. */
static bool has_etag(const char *list, const char *etag)
{
    return list && (strcmp(list, "*") == 0 || strstr(list, etag));
}

static void reply_card(struct http_request *request, struct buf *card)
{
    char etag[ETAG_SIZE];

    make_etag(card, etag);
    http_add_header(request, "ETag", etag);
    http_add_header(request, "Cache-Control", CARD_AGE);
    if (has_etag(http_header(request, "If-None-Match"), etag)) {
        buf_finish(card);
        http_reply(request, 304, NULL, card);
    } else {
        http_reply(request, 200, "application/json", card);
    }
}

static bool is_served(const struct deployment *deployment)
{
    return setting_has_word(deployment_settings(deployment)->protocols, "a2a");
}

static void show(const struct api *api, struct http_request *request, const char *name)
{
    const struct deployment *deployment = registry_find(api->registry, name);
    struct admission_facts facts = {.agent = name};
    struct generation_snapshot agent;
    struct buf card = {0};

    if (deployment == NULL || deployment_is_removed(deployment)) {
        admission_refuse(request, ADMISSION_no_such_agent, &facts);
    } else if (!is_served(deployment)) {
        admission_refuse(request, ADMISSION_protocol_is_off, &facts);
    } else if (!snapshot(deployment, &agent)) {
        facts.reason = "it does not serve now";
        admission_refuse(request, ADMISSION_unavailable, &facts);
    } else {
        append_card(api, request, &agent, deployment_card(deployment), &card);
        reply_card(request, &card);
    }
}

void api_card_show(const struct api *api, struct http_request *request, const char *const *names)
{
    show(api, request, names[0]);
}

/* Return the name of the only agent that clients can find by a card; NULL if there is none. */
static const char *only_agent(const struct registry *registry)
{
    const char *name = NULL;

    for (unsigned i = 0; i < registry_count(registry); i++) {
        const struct deployment *deployment = registry_deployment(registry, i);
        if (deployment_is_removed(deployment) || !is_served(deployment))
            continue;
        if (name)
            return NULL;
        name = deployment_name(deployment);
    }
    return name;
}

void api_card_show_root(const struct api *api, struct http_request *request,
                        const char *const *names)
{
    const char *name = api->config->default_agent;

    (void)names;
    if (*name == '\0')
        name = only_agent(api->registry);
    if (name)
        show(api, request, name);
    else
        problem_reply(request, 404,
                      "this server has several agents, or none: each has its card at "
                      "/agents/{agent}/.well-known/agent-card.json; default_agent names the one "
                      "whose card is here");
}
