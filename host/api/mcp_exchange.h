/*
 * An exchange of MCP: a message of a client, and the JSON-RPC that answers it.
 *
 * Errors of the transport have an HTTP status of their own; what is wrong with the call itself
 * is status 200 and an error of JSON-RPC, or a result that the model can read.
 */
#ifndef API_MCP_EXCHANGE_H
#define API_MCP_EXCHANGE_H

#include "base/json_writer.h"
#include "http/problem.h"
#include "protocol/mcp_request.h"

struct api;
struct http_request;

/* Of JSON-RPC 2.0, then of MCP. */
#define MCP_PARSE_ERROR         (-32700)
#define MCP_INVALID_REQUEST     (-32600)
#define MCP_METHOD_NOT_FOUND    (-32601)
#define MCP_INVALID_PARAMS      (-32602)
#define MCP_INTERNAL_ERROR      (-32603)
#define MCP_HEADER_MISMATCH     (-32020)
#define MCP_UNSUPPORTED_VERSION (-32022)

/* A message, and what is known of its client. */
struct mcp_exchange {
    const struct api *api;
    struct http_request *request;
    struct mcp_message message;
    unsigned flags;      /* MCP_... of protocol/mcp.h */
    const char *session; /* the id; NULL: none */
};

/* Errors of JSON-RPC; a tool's result, which differs by era, for an input that does not match. */
extern const struct problem_shape mcp_problems, mcp_modern_problems;

/* Answer with an error. data: JSON, or NULL. */
void mcp_refuse_with(const struct mcp_exchange *exchange, unsigned status, int code,
                     const char *message, const char *data);
void mcp_refuse(const struct mcp_exchange *exchange, unsigned status, int code,
                const char *message);

/* Begin the answer: the caller adds members of the result, then calls mcp_reply_result(). */
struct json_writer mcp_open_result(const struct mcp_exchange *exchange, struct buf *body);
void mcp_reply_result(const struct mcp_exchange *exchange, struct json_writer *json);

/* Answer a message that has no result. */
void mcp_reply_accepted(const struct mcp_exchange *exchange);

#endif
