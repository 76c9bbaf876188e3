/*
 * Refusals: they tell a client why its request was refused. The body is a problem
 * document (RFC 9457), unless the request's protocol words its errors in a shape of its own.
 */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "http/answer.h"

#define PROBLEM_TYPE "application/problem+json"

struct problem {
    unsigned status;    /* of HTTP */
    const char *code;   /* a word for programs, of ADMISSION_REFUSALS; NULL: none */
    const char *detail; /* what was wrong and what to send instead */
};

/* How a protocol words a refusal. */
struct problem_shape {
    const char *content_type;
    /*
     * Append the body, and return the HTTP status. id is the request's own name for itself
     * (http_set_problem_shape()), or NULL.
     */
    unsigned (*write)(const struct problem *problem, const char *id, struct buf *out);
};

/*
 * Word the request's refusals like this from now on; the shape is static, NULL is that of
 * problem documents. id: what the shape repeats, such as the id of JSON-RPC as JSON; it is
 * copied, NULL for none.
 */
void http_set_problem_shape(struct http_request *request, const struct problem_shape *shape,
                            const char *id);

/* Append the document alone. */
void problem_document(struct buf *out, unsigned status, const char *detail);

/* Append what the request's shape makes of the problem, and return the HTTP status. */
unsigned problem_write(const struct http_request *request, const struct problem *problem,
                       struct buf *out);

/* Return the content type of that. */
const char *problem_type(const struct http_request *request);

void problem_reply(struct http_request *request, unsigned status, const char *detail);
void problem_reply_with(struct http_request *request, const struct problem *problem);

/* Reply as problem_reply_with() does, to a request that may be sent again after a second. */
void problem_reply_busy(struct http_request *request, const struct problem *problem);

#endif
