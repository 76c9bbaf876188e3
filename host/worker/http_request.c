#include "worker/http_request.h"

#include "agent.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

/* Return whether libcurl's parser takes it for an http URL. It takes some that are guessed, so look
 * at scheme, host and white space first. */
static bool is_url(const char *url)
{
    size_t scheme = url == NULL                            ? 0
                    : strncasecmp(url, "http://", 7) == 0  ? 7
                    : strncasecmp(url, "https://", 8) == 0 ? 8
                                                           : 0;
    CURLU *parsed;
    bool valid;

    for (const char *p = url; scheme && *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    }
    if (scheme == 0 || strchr("/?#", url[scheme]))
        return false;
    parsed = curl_url();
    valid = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK;
    curl_url_cleanup(parsed);
    return valid;
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr("!#$%&'*+-.^_`|~", text[i]))
            return false;
    }
    return length > 0;
}

static bool is_field(const char *field)
{
    return is_token(field, strcspn(field, ":")) && strchr(field, ':') && !strpbrk(field, "\r\n");
}

bool http_request_is_valid(const struct agent_http_request *request)
{
    const char *method = request->method;

    if (!is_url(request->url) || (method && !is_token(method, strlen(method))) ||
        (method && request->body && strcmp(method, "HEAD") == 0))
        return false;
    for (const char *const *field = request->headers; field && *field; field++) {
        if (!is_field(*field))
            return false;
    }
    return true;
}

const char *http_request_method(const struct agent_http_request *request)
{
    return request->method ? request->method : request->body ? "POST" : "GET";
}

size_t http_request_body_length(const struct agent_http_request *request)
{
    if (request->body == NULL)
        return 0;
    return request->body_length ? request->body_length : strlen(request->body);
}
