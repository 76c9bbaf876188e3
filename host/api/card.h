/*
 * Agent cards of A2A 1.0 (section 4.4.1), by which clients find an agent. They need no token.
 *
 * Clients look below the URL that they are given, so an agent's must end with a slash:
 * /agents/NAME/. The card at the root is that of host.default_agent, or of the only agent.
 */
#ifndef API_CARD_H
#define API_CARD_H

struct api;
struct http_request;

/* GET /agents/{agent}/.well-known/agent-card.json */
void api_card_show(const struct api *api, struct http_request *request, const char *const *names);

/* GET /.well-known/agent-card.json */
void api_card_show_root(const struct api *api, struct http_request *request,
                        const char *const *names);

#endif
