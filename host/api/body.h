/* A request's body as what an agent gets: one JSON value. */
#ifndef API_BODY_H
#define API_BODY_H

#include "http/http.h"

/* Whether it is one; replies if not. max: the limit that http.h knows, for the words. */
bool body_check(struct http_request *request, size_t max);

#endif
