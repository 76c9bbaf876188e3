#include "worker/request.h"

#include "agent.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_url(const char *url)
{
    return url && (strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0) &&
           !strpbrk(url, "\r\n");
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

bool request_is_valid(const struct agent_http_request *request)
{
    if (!is_url(request->url) ||
        (request->method && !is_token(request->method, strlen(request->method))))
        return false;
    for (const char *const *field = request->headers; field && *field; field++) {
        if (!is_field(*field))
            return false;
    }
    return true;
}

const char *request_method(const struct agent_http_request *request)
{
    return request->method ? request->method : request->body ? "POST" : "GET";
}

size_t request_body_length(const struct agent_http_request *request)
{
    if (request->body == NULL)
        return 0;
    return request->body_length ? request->body_length : strlen(request->body);
}
