#include "worker/http_request.h"

#include "agent.h"
#include "base/buf.h"
#include "worker/curl.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

__attribute__((format(printf, 2, 3))) static bool invalid(struct buf *why, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (why)
        buf_vprintf(why, format, args);
    va_end(args);
    return false;
}

/* Ask libcurl's parser, which guesses at some URLs: scheme, host and white space come first. */
static bool check_url(const char *url, struct buf *why)
{
    size_t scheme = url == NULL                            ? 0
                    : strncasecmp(url, "http://", 7) == 0  ? 7
                    : strncasecmp(url, "https://", 8) == 0 ? 8
                                                           : 0;
    const struct curl *curl;
    const char *reason;
    CURLU *parsed;
    CURLUcode code;

    if (url == NULL)
        return invalid(why, "the URL is NULL");
    if (scheme == 0)
        return invalid(why, "the URL does not begin with http:// or https://");
    for (const char *p = url; *p; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return invalid(why, "byte 0x%02x at %zu of the URL; write %%%02X", (unsigned char)*p,
                           (size_t)(p - url), (unsigned char)*p);
    }
    if (strchr("/?#", url[scheme]))
        return invalid(why, "the URL has no host");
    if ((curl = curl_load(&reason)) == NULL)
        return true; /* the exchange fails, with the reason */
    parsed = curl->url();
    code = parsed ? curl->url_set(parsed, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
    curl->url_cleanup(parsed);
    return code == CURLUE_OK || invalid(why, "the URL: %s", curl->url_strerror(code));
}

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr("!#$%&'*+-.^_`|~", text[i]))
            return false;
    }
    return length > 0;
}

/* number: of the header, from 1. */
static bool check_field(const char *field, size_t number, struct buf *why)
{
    size_t name = strcspn(field, ":");

    if (field[name] == '\0')
        return invalid(why, "header %zu has no ':'; write \"Name: value\"", number);
    if (!is_token(field, name))
        return invalid(why, "the name of header %zu is not letters, digits and \"-\"", number);
    if (strpbrk(field, "\r\n"))
        return invalid(why, "header %zu, %.*s, has a line break at byte %zu", number,
                       name > 64 ? 64 : (int)name, field, strcspn(field, "\r\n"));
    return true;
}

bool http_request_check(const struct agent_http_request *request, struct buf *why)
{
    const char *method = request->method;

    if (!check_url(request->url, why))
        return false;
    if (method && !is_token(method, strlen(method)))
        return invalid(why, "the method is not a word of letters");
    if (method && request->body && strcmp(method, "HEAD") == 0)
        return invalid(why, "a HEAD request has no body");
    for (size_t i = 0; request->headers && request->headers[i]; i++) {
        if (!check_field(request->headers[i], i + 1, why))
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
