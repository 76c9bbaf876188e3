/* Problem documents (RFC 9457): they tell a client why its request was refused. */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "http/answer.h"

#define PROBLEM_TYPE "application/problem+json"

/* Append the document alone. */
void problem_document(struct buf *out, unsigned status, const char *detail);

/* detail says what was wrong and what to send instead. */
void problem_reply(struct http_request *request, unsigned status, const char *detail);

/* Reply as problem_reply() does, to a request that may be sent again after a second. */
void problem_reply_busy(struct http_request *request, unsigned status, const char *detail);

#endif
