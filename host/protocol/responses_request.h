/* A request for a response: what its body asks for. Unknown members are ignored. */
#ifndef PROTOCOL_RESPONSES_REQUEST_H
#define PROTOCOL_RESPONSES_REQUEST_H

#include "protocol/chat.h"

#include <stdbool.h>

struct responses_request {
    bool stream;
    bool background;
    bool store; /* the response can be continued */
    const char *thread;
    cJSON *messages; /* those before, then those of the input */
    cJSON *tools;    /* in the shape of chat completions; NULL: none */
    cJSON *options;
};

/*
 * Read the body, which must outlive the request. before: the messages of the response that it
 * continues, as JSON, or NULL. -EINVAL and why.
 */
int responses_request_read(const cJSON *body, const char *before, struct responses_request *request,
                           struct why *why);

/* Due after responses_request_read(), also if it failed. */
void responses_request_finish(struct responses_request *request);

/* Return the agent's input; it refers to the request and the body. instructions go first. */
struct chat responses_request_chat(const struct responses_request *request);

/* Put the body's instructions before the messages. */
void responses_request_instruct(struct responses_request *request, const cJSON *body);

/* Return the id of the run that this id of a response names, or NULL. */
const char *responses_run_id(const char *id);

#endif
