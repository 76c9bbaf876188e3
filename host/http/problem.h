/* Problem documents (RFC 9457): how a request is told that it was refused. */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "http/http.h"

/* detail: what was wrong and what to do about it. */
void problem_reply(struct http_request *request, unsigned status, const char *detail);

/* As problem_reply(), for what may be tried again after a second. */
void problem_reply_busy(struct http_request *request, unsigned status, const char *detail);

#endif
