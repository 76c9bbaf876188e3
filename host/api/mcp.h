/*
 * MCP over streamable HTTP at /mcp: each agent that serves it is a tool. protocol/mcp.h has
 * the answers' frames, protocol/mcp_request.h the clients' messages.
 */
#ifndef API_MCP_H
#define API_MCP_H

struct api;
struct http_request;

/* POST /mcp: a request, a notification, or the answer to a question. */
void api_mcp_post(const struct api *api, struct http_request *request, const char *const *names);

/* GET /mcp: go on with a stream that was cut. */
void api_mcp_get(const struct api *api, struct http_request *request, const char *const *names);

/* DELETE /mcp: the client needs its session no longer. */
void api_mcp_delete(const struct api *api, struct http_request *request, const char *const *names);

#endif
