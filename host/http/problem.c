#include "http/problem.h"

#include "base/json.h"

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},         {401, "Unauthorized"},
    {403, "Forbidden"},           {404, "Not Found"},
    {405, "Method Not Allowed"},  {409, "Conflict"},
    {413, "Content Too Large"},   {415, "Unsupported Media Type"},
    {421, "Misdirected Request"}, {422, "Unprocessable Content"},
    {429, "Too Many Requests"},   {500, "Internal Server Error"},
    {501, "Not Implemented"},     {503, "Service Unavailable"},
};

static const char *title_of(unsigned status)
{
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        if (titles[i].status == status)
            return titles[i].title;
    }
    return "Error";
}

void problem_document(struct buf *out, unsigned status, const char *detail)
{
    buf_printf(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
               title_of(status), status);
    json_append_string(out, detail);
    buf_puts(out, "}\n");
}

void problem_reply(struct http_request *request, unsigned status, const char *detail)
{
    struct buf body = {0};

    problem_document(&body, status, detail);
    http_reply(request, status, PROBLEM_TYPE, &body);
}

void problem_reply_busy(struct http_request *request, unsigned status, const char *detail)
{
    http_add_header(request, "Retry-After", "1");
    problem_reply(request, status, detail);
}
