/*
 * How A2A 1.0 words errors (its sections 9.5 and 11.6). Errors of the protocol have the names
 * of A2A_ERRORS as their problem's code; any other problem becomes the error that is next to it.
 *
 * Over JSON-RPC they are answers with status 200, except for what clients and proxies act
 * upon before they read the body: 401, 403, 404, 405, 413, 415, 421, 429 and 5xx.
 */
#ifndef API_A2A_PROBLEM_H
#define API_A2A_PROBLEM_H

#include "http/problem.h"
#include "protocol/a2a_request.h"

extern const struct problem_shape a2a_rpc_problems;  /* its id is that of the JSON-RPC request */
extern const struct problem_shape a2a_rest_problems; /* it has no id */

/* Reply with an error of the protocol. */
void a2a_problem_reply(struct http_request *request, enum a2a_error error, const char *detail);

#endif
