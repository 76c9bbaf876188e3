/*
 * Requests of A2A 1.0: what clients ask, read from JSON. JSON-RPC wraps the parameters of a
 * method (section 9); REST has the same in the body, the path and the query (section 11).
 *
 * A message becomes what the agent gets in one of three forms: its text parts joined, one
 * data part as it is, or both as text. Files are refused, as no agent can be handed them.
 *
 * Unknown members are ignored, as the standard says.
 */
#ifndef PROTOCOL_A2A_REQUEST_H
#define PROTOCOL_A2A_REQUEST_H

#include "base/buf.h"
#include "base/why.h"
#include "protocol/a2a.h"

#include <cjson/cJSON.h>

/* Maximum bytes of a context's id. */
#define A2A_CONTEXT_MAX 256

/* The version of the protocol, as its header A2A-Version has it. */
#define A2A_VERSION "1.0"

/* method, as JSON-RPC calls it */
#define A2A_METHODS(X)                  \
    X(SendMessage)                      \
    X(SendStreamingMessage)             \
    X(GetTask)                          \
    X(ListTasks)                        \
    X(CancelTask)                       \
    X(SubscribeToTask)                  \
    X(CreateTaskPushNotificationConfig) \
    X(GetTaskPushNotificationConfig)    \
    X(ListTaskPushNotificationConfigs)  \
    X(DeleteTaskPushNotificationConfig) \
    X(GetExtendedAgentCard)

enum a2a_method {
#define X(name) A2A_##name,
    A2A_METHODS(X)
#undef X
};

/*
 * name, code of JSON-RPC, HTTP status of REST, its word of google.rpc.Code, reason of
 * google.rpc.ErrorInfo or NULL
 */
#define A2A_ERRORS(X)                                                                            \
    X(parse_error, -32700, 400, "INVALID_ARGUMENT", NULL)                                        \
    X(invalid_request, -32600, 400, "INVALID_ARGUMENT", NULL)                                    \
    X(method_not_found, -32601, 404, "NOT_FOUND", NULL)                                          \
    X(invalid_params, -32602, 400, "INVALID_ARGUMENT", NULL)                                     \
    X(task_not_found, -32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")                                \
    X(task_not_cancelable, -32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")            \
    X(push_notification_not_supported, -32003, 400, "FAILED_PRECONDITION",                       \
      "PUSH_NOTIFICATION_NOT_SUPPORTED")                                                         \
    X(unsupported_operation, -32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")        \
    X(content_type_not_supported, -32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED") \
    X(extended_agent_card_not_configured, -32007, 400, "FAILED_PRECONDITION",                    \
      "EXTENDED_AGENT_CARD_NOT_CONFIGURED")                                                      \
    X(version_not_supported, -32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")

enum a2a_error {
    A2A_ok,
#define X(name, ...) A2A_##name,
    A2A_ERRORS(X)
#undef X
};

/* A call of JSON-RPC. */
struct a2a_call {
    enum a2a_method method;
    char id[A2A_ID_MAX + 1]; /* as JSON; "null" if there is none */
    const cJSON *params;     /* an object, part of what was read; NULL: none */
};

/* The id is set also if the call is refused, if it has a valid one. */
enum a2a_error a2a_read_call(const cJSON *root, struct a2a_call *call, struct why *why);

/* What a client has to say. The texts are parts of what was read. */
struct a2a_message {
    const char *context;  /* NULL: none */
    const char *task;     /* NULL: the message begins one */
    const char *question; /* of the task, by its id; NULL: the first that is open */
    bool at_once;         /* the client does not wait for the end */
    struct buf text;      /* what is said, with a NUL at its end */
    const cJSON *data;    /* the only part, which is data; NULL: there are others */
};

/* Read the parameters of SendMessage. a2a_message_finish() is due, also after an error. */
enum a2a_error a2a_read_message(const cJSON *params, struct a2a_message *message, struct why *why);

void a2a_message_finish(struct a2a_message *message);

/* Set the id of the task that GetTask and others are about; checks historyLength, too. */
enum a2a_error a2a_read_task(const cJSON *params, const char **id, struct why *why);

#define A2A_PAGE_MAX 100

struct a2a_list {
    const char *context; /* NULL: any */
    int state;           /* enum a2a_state, or -1: any; A2A_STATES: one that no run has */
    unsigned page;       /* tasks, at most */
    uint64_t before;     /* of the token: where the page begins; UINT64_MAX: at the newest */
    int64_t since; /* only tasks that changed at this time or later, in s since 1970; 0: all */
    bool has_artifacts;
};

#define A2A_STATES (A2A_CANCELED + 1)

/* Read the parameters of ListTasks. */
enum a2a_error a2a_read_list(const cJSON *params, struct a2a_list *list, struct why *why);

/* Return true if the header A2A-Version, NULL if it is absent, names a version that is spoken here.
 */
bool a2a_is_version(const char *version);

#endif
