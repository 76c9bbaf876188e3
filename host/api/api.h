/* The parts of the front that requests reach; front.c owns them. */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>

struct access;
struct buf;
struct config;
struct registry;
struct runs;
struct streams;
struct collectors;
struct mcp_sessions;
struct deployment;

struct api {
    const struct config *config;
    struct access *access;
    struct runs *runs;
    struct registry *registry;
    struct streams *streams;
    struct collectors *collectors;
    struct mcp_sessions *mcp_sessions;
    /* Appends what GET /agents answers. */
    void (*report_agents)(const struct registry *registry, struct buf *out);
    /* Appends what GET /agents/NAME answers. */
    void (*report_agent)(const struct deployment *deployment, struct buf *out);
    const bool *stopping; /* no run starts any longer; front.c sets it */
};

#endif
