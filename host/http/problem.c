#include "http/problem.h"

#include "base/json.h"
#include "base/mem.h"
#include "http/inside.h"

#include <stdlib.h>

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

unsigned problem_write(const struct http_request *request, const struct problem *problem,
                       struct buf *out)
{
    if (request->problem_shape)
        return request->problem_shape->write(problem, request->problem_id, out);
    problem_document(out, problem->status, problem->detail);
    return problem->status;
}

const char *problem_type(const struct http_request *request)
{
    return request->problem_shape ? request->problem_shape->content_type : PROBLEM_TYPE;
}

void problem_reply_with(struct http_request *request, const struct problem *problem)
{
    struct buf body = {0};
    unsigned status = problem_write(request, problem, &body);

    http_reply(request, status, problem_type(request), &body);
}

void problem_reply(struct http_request *request, unsigned status, const char *detail)
{
    problem_reply_with(request, &(struct problem){.status = status, .detail = detail});
}

void problem_reply_busy(struct http_request *request, const struct problem *problem)
{
    http_add_header(request, "Retry-After", "1");
    problem_reply_with(request, problem);
}

void http_set_problem_shape(struct http_request *request, const struct problem_shape *shape,
                            const char *id)
{
    char *copy = id ? mem_strdup(id) : NULL;

    free(request->problem_id);
    request->problem_id = copy;
    request->problem_shape = shape;
}
