/*
 * The messages that clients of MCP send: JSON-RPC 2.0, one a POST. Nothing here knows HTTP.
 */
#ifndef PROTOCOL_MCP_REQUEST_H
#define PROTOCOL_MCP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

struct why;

/* The versions that we speak; those before MCP_MODERN have sessions. */
#define MCP_MODERN   "2026-07-28"
#define MCP_PRIMING  "2025-11-25"
#define MCP_VERSIONS "2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"
/* What a client speaks that does not say so. */
#define MCP_OLDEST "2025-03-26"

#define MCP_NAME_MAX 256

enum mcp_kind { MCP_REQUEST, MCP_NOTIFICATION, MCP_RESPONSE };

/* JSON as it stands in the message; of length 0 if it is absent. */
struct mcp_json {
    const char *at;
    size_t length;
};

/* Texts are without quotes and escapes; "" if they are absent. */
struct mcp_message {
    enum mcp_kind kind;
    struct mcp_json id;
    char method[MCP_NAME_MAX];
    char name[MCP_NAME_MAX];    /* of the tool */
    struct mcp_json arguments;  /* of the tool */
    struct mcp_json token;      /* of progress */
    char cursor[MCP_NAME_MAX];  /* of a list */
    struct mcp_json cancelled;  /* the id of a request that the client gives up */
    char version[MCP_NAME_MAX]; /* that initialize asks for */
    bool modern;                /* _meta says a version */
    char meta_version[MCP_NAME_MAX];
    bool has_abilities;        /* _meta says what the client can do */
    bool asks;                 /* it can put a question to a person */
    char state[MCP_NAME_MAX];  /* what we gave it to go on with */
    struct mcp_json responses; /* to questions, by their ids */
    struct mcp_json result;    /* of a response; absent if it is an error */
};

/*
 * Read a message: valid JSON, which must outlive it. -EINVAL, with the reason, if it is not a
 * message of JSON-RPC, -EDOM if its params are wrong; the id is set if there is one. A member of
 * params that is null is absent; one of another type than it has is wrong.
 */
int mcp_read(const char *json, size_t length, struct mcp_message *message, struct why *why);

/* Return true if we speak this version. */
bool mcp_speaks(const char *version);

/* Return true if a header says this value, plain or as =?base64?...?=. */
bool mcp_header_is(const char *header, const char *value);

/*
 * Check that each argument whose schema has x-mcp-header says the same as the header
 * Mcp-Param-NAME; header() returns NULL for one that is absent. False, with the reason, if not.
 */
bool mcp_params_match(const char *schema, struct mcp_json arguments,
                      const char *(*header)(void *data, const char *name), void *data,
                      struct why *why);

#endif
