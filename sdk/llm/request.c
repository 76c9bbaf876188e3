/*
 * What is sent, and to whom.
 *
 * A base URL may have a query, as Azure's have: "/chat/completions" goes in front of it. Redirects
 * that keep the method (307, 308) are followed at the same origin, where the key may go; the host
 * follows those of GET requests only.
 */
#include "exchange.h"

#include <strings.h>

#define PATH          "/chat/completions"
#define REDIRECTS_MAX 5
#define HEADERS_MAX   32

/* Return the setting, or the environment's variable if it is not set, or "". */
static const char *setting(const char *set, const char *variable)
{
    const char *value = set && *set ? set : getenv(variable);

    return value ? value : "";
}

const char *agent_llm_base_url(const struct agent_llm *llm)
{
    const char *url = setting(llm->base_url, "OPENAI_BASE_URL");

    if (*url == '\0' && *setting(llm->api_key, "OPENAI_API_KEY"))
        url = "https://api.openai.com/v1";
    return url;
}

const char *agent_llm_model(const struct agent_llm *llm)
{
    return setting(llm->model, "OPENAI_MODEL");
}

/* ---- the body ----------------------------------------------------------- */

/* Let options replace members of the same name, or remove them with null. */
static void add_options(cJSON *body, const cJSON *options)
{
    const cJSON *option;

    cJSON_ArrayForEach(option, options) {
        cJSON_DeleteItemFromObjectCaseSensitive(body, option->string);
        if (!cJSON_IsNull(option))
            cJSON_AddItemToObject(body, option->string, cJSON_Duplicate(option, 1));
    }
}

char *agent_llm_body(const struct agent_llm *llm, const cJSON *messages, const cJSON *tools)
{
    cJSON *body = cJSON_CreateObject(), *stream_options;
    cJSON *configured = llm->options_json ? agent_json_parse(llm->options_json) : NULL;
    char *text;

    cJSON_AddStringToObject(body, "model", agent_llm_model(llm));
    cJSON_AddBoolToObject(body, "stream", 1);
    if (!llm->no_stream_options) {
        stream_options = cJSON_AddObjectToObject(body, "stream_options");
        cJSON_AddBoolToObject(stream_options, "include_usage", 1);
    }
    cJSON_AddItemReferenceToObject(body, "messages", (cJSON *)(uintptr_t)messages);
    if (!llm->no_tools && cJSON_GetArraySize(tools) > 0)
        cJSON_AddItemReferenceToObject(body, "tools", (cJSON *)(uintptr_t)tools);
    add_options(body, configured);
    add_options(body, llm->options);
    text = cJSON_PrintUnformatted(body);
    cJSON_Delete(configured);
    cJSON_Delete(body);
    return text;
}

/* ---- the URL ------------------------------------------------------------ */

/* Return the first `length` bytes of a, then b, then c, in memory that the caller frees. */
static char *join(const char *a, size_t length, const char *b, const char *c)
{
    size_t b_length = strlen(b), size = strlen(c) + 1;
    char *joined = (char *)malloc(length + b_length + size);

    if (joined) {
        memcpy(joined, a, length);
        memcpy(joined + length, b, b_length);
        memcpy(joined + length + b_length, c, size);
    }
    return joined;
}

/* Return the URL of the requests, in memory that the caller frees. */
static char *make_url(const char *base)
{
    size_t length = strcspn(base, "?#"), path = strlen(PATH);
    const char *query = base + length, *end = query + strcspn(query, "#");
    char *url, *fragment;

    while (length > 0 && base[length - 1] == '/')
        length--;
    if (length >= path && strncmp(base + length - path, PATH, path) == 0)
        length -= path;
    url = join(base, length, PATH, query);
    if (url && *end && (fragment = strchr(url, '#')))
        *fragment = '\0';
    return url;
}

/* Return the length of scheme, host and port of a URL; 0 if it has no scheme. */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");

    if (host == NULL || host - url != (long)strcspn(url, ":/?#"))
        return 0;
    return (size_t)(host + 3 - url) + strcspn(host + 3, "/?#");
}

/* Return 1 if the URLs have the same scheme, host and port. */
static int is_same_origin(const char *a, const char *b)
{
    size_t a_length = origin_length(a), b_length = origin_length(b);
    const char *port = strncasecmp(a, "https", 5) == 0 ? ":443" : ":80";
    size_t length = strlen(port);

    if (a_length > length && strncmp(a + a_length - length, port, length) == 0)
        a_length -= length;
    if (b_length > length && strncmp(b + b_length - length, port, length) == 0)
        b_length -= length;
    return a_length == b_length && strncasecmp(a, b, a_length) == 0;
}

/*
 * Return the URL to which the location leads from this one, in memory that the caller frees. NULL:
 * it is at another origin, or memory is out.
 */
static char *follow(const char *url, const char *location)
{
    size_t origin = origin_length(url), path = strcspn(url, "?#");
    char *absolute;

    if (location[0] == '/' && location[1] == '/')
        absolute = join(url, strcspn(url, "/"), location, "");
    else if (origin_length(location) > 0)
        absolute = join(location, strlen(location), "", "");
    else if (location[0] == '/')
        absolute = join(url, origin, location, "");
    else if (location[0] == '?')
        absolute = join(url, path, location, "");
    else {
        while (path > origin && url[path - 1] != '/')
            path--;
        absolute = join(url, path, location, "");
    }
    if (absolute && is_same_origin(url, absolute))
        return absolute;
    free(absolute);
    return NULL;
}

/* ---- the headers -------------------------------------------------------- */

/* The request's headers; the strings are the list's. */
struct headers {
    char *list[HEADERS_MAX + 1];
    size_t count;
};

static void headers_finish(struct headers *headers)
{
    while (headers->count > 0)
        free(headers->list[--headers->count]);
}

static int headers_add(struct headers *headers, const char *name, size_t length, const char *value)
{
    if (headers->count == HEADERS_MAX)
        return -EINVAL;
    headers->list[headers->count] = join(name, length, ": ", value);
    return headers->list[headers->count++] ? 0 : -ENOMEM;
}

/* Add a header, unless the settings have one of this name. */
static int headers_add_ours(struct headers *headers, const char *name, const char *value)
{
    size_t length = strlen(name), i;

    for (i = 0; i < headers->count; i++) {
        if (strncasecmp(headers->list[i], name, length) == 0 && headers->list[i][length] == ':')
            return 0;
    }
    return headers_add(headers, name, length, value);
}

/* Add what the settings have: {"Name":"value"}, or a line "Name: value" for each. */
static int headers_add_configured(struct headers *headers, const char *text)
{
    cJSON *json = agent_json_parse(text), *header;
    int status = 0;

    cJSON_ArrayForEach(header, json) {
        if (status == 0)
            status = cJSON_IsString(header) && header->string
                         ? headers_add(headers, header->string, strlen(header->string),
                                       header->valuestring)
                         : -EINVAL;
    }
    while (json == NULL && status == 0 && *(text += strspn(text, " \t\r\n"))) {
        size_t end = strcspn(text, "\r\n"), name = strcspn(text, ":\r\n");
        char *value = name < end ? agent_llm_copy(text + name + 1, end - name - 1) : NULL;
        status = value ? headers_add(headers, text, name, value + strspn(value, " \t")) : -EINVAL;
        free(value);
        text += end;
    }
    cJSON_Delete(json);
    return status;
}

static int headers_make(struct headers *headers, const struct agent_llm *llm)
{
    const char *key = setting(llm->api_key, "OPENAI_API_KEY");
    char *bearer = join("Bearer ", 7, key, "");
    int status = bearer ? 0 : -ENOMEM;

    if (status == 0 && llm->headers)
        status = headers_add_configured(headers, llm->headers);
    if (status == 0)
        status = headers_add_ours(headers, "Content-Type", "application/json");
    if (status == 0)
        status = headers_add_ours(headers, "Accept", "text/event-stream");
    if (status == 0 && *key)
        status = headers_add_ours(headers, "Authorization", bearer);
    free(bearer);
    return status;
}

int agent_llm_configure(struct agent_llm *llm, const cJSON *settings)
{
    static const struct {
        const char *key;
        int is_off; /* also if it is not set */
    } switches[] = {{"stream_options", 0}, {"tools", 0}};
    static const char *const words[] = {"no", "off", "false", "0", "yes", "on", "true", "1"};
    int off[2] = {0}, status = 0;
    struct headers headers = {{0}, 0};
    cJSON *json;
    size_t i, word;

    llm->base_url = agent_json_string(settings, "base_url", NULL);
    llm->api_key = agent_json_string(settings, "api_key", NULL);
    llm->model = agent_json_string(settings, "model", NULL);
    llm->options_json = agent_json_string(settings, "options", NULL);
    llm->headers = agent_json_string(settings, "headers", NULL);
    for (i = 0; i < 2; i++) {
        const char *set = agent_json_string(settings, switches[i].key, "yes");
        for (word = 0; word < 8 && strcasecmp(set, words[word]) != 0;)
            word++;
        off[i] = word < 4;
        if (word == 8) {
            agent_log(AGENT_LOG_ERROR, "%s must be yes or no, not '%s'", switches[i].key, set);
            status = -EINVAL;
        }
    }
    llm->no_stream_options = off[0];
    llm->no_tools = off[1];
    json = llm->options_json ? agent_json_parse(llm->options_json) : NULL;
    if (llm->options_json && !cJSON_IsObject(json)) {
        agent_log(AGENT_LOG_ERROR,
                  "options must be a JSON object, such as {\"temperature\": 0.2}, not '%s'",
                  llm->options_json);
        status = -EINVAL;
    }
    cJSON_Delete(json);
    if (llm->headers && headers_add_configured(&headers, llm->headers) < 0) {
        agent_log(AGENT_LOG_ERROR, "headers must be \"Name: value\", or a JSON object such as "
                                   "{\"api-key\": \"...\"}");
        status = -EINVAL;
    }
    headers_finish(&headers);
    return status;
}

/* ---- sending ------------------------------------------------------------ */

static int open_exchange(struct llm_exchange *exchange, const char *url, const char *body)
{
    const struct agent_llm *llm = exchange->llm;
    struct headers headers = {{0}, 0};
    int status = headers_make(&headers, llm);

    if (status == 0) {
        struct agent_http_request request = {
            .url = url,
            .headers = (const char *const *)headers.list,
            .body = body,
            .idle_timeout_ms = llm->idle_timeout_ms ? llm->idle_timeout_ms : AGENT_LLM_IDLE_MS,
            .max_bytes = AGENT_LLM_STREAM_MAX,
            .http2 = 1};
        status = agent_http_open(&request, &exchange->http);
    }
    headers_finish(&headers);
    if (status == -EINVAL)
        return agent_llm_fail(exchange->answer, status, "not_configured",
                              "base_url must begin with http:// or https://, and base_url, api_key "
                              "and headers must not contain a line break");
    return agent_llm_check(exchange->answer, status);
}

int agent_llm_send(struct llm_exchange *exchange, const char *body)
{
    char *url = make_url(agent_llm_base_url(exchange->llm)), *next;
    int redirects, status;

    for (redirects = 0;; redirects++) {
        const char *location;
        status =
            url ? open_exchange(exchange, url, body) : agent_llm_check(exchange->answer, -ENOMEM);
        if (status == 0)
            status = agent_http_status(exchange->http);
        else
            break;
        if (status < 0)
            status = agent_llm_fail_to_connect(exchange, status);
        if (status != 307 && status != 308)
            break;
        location = agent_http_header(exchange->http, "Location");
        next = location && redirects < REDIRECTS_MAX ? follow(url, location) : NULL;
        if (next == NULL)
            break;
        free(url);
        url = next;
        agent_http_close(exchange->http);
        exchange->http = NULL;
    }
    free(url);
    return status;
}
