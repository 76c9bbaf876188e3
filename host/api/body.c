#include "api/body.h"

#include "base/json.h"
#include "http/problem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

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

bool body_check(struct http_request *request, size_t max)
{
    const struct buf *body = http_body(request);
    char detail[160];

    if (body == NULL) {
        snprintf(detail, sizeof detail, "the body has more than %zu bytes, the limit of this host",
                 max);
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
