/* Tools of MCP: the agents, and calls of them. Each function answers the exchange. */
#ifndef API_MCP_TOOLS_H
#define API_MCP_TOOLS_H

struct mcp_exchange;

/* tools/list. */
void mcp_list_tools(const struct mcp_exchange *exchange);

/* tools/call. */
void mcp_call_tool(const struct mcp_exchange *exchange);

/* A response to elicitation/create. */
void mcp_take_response(const struct mcp_exchange *exchange);

/* notifications/cancelled of a session; nothing is answered. */
void mcp_cancel_call(const struct mcp_exchange *exchange);

#endif
