/* A request for a chat completion: what its body asks for. Unknown members are ignored. */
#ifndef PROTOCOL_OPENAI_REQUEST_H
#define PROTOCOL_OPENAI_REQUEST_H

#include "protocol/chat.h"

#include <stdbool.h>

struct openai_request {
    struct chat chat; /* its parts are the body's, or options */
    bool stream;
    char terms; /* of the encoder */
    cJSON *options;
};

/* Read the body, which must outlive the request. -EINVAL and why. */
int openai_request_read(const cJSON *body, struct openai_request *request, struct why *why);

/* Due after openai_request_read(), also if it failed. */
void openai_request_finish(struct openai_request *request);

/*
 * For both of OpenAI's protocols: return an object of the body's members that say how a
 * model is to answer, by the names of chat completions, NULL if there are none. It refers to the
 * body.
 */
cJSON *openai_options(const cJSON *body);

/*
 * Set the option to what the object has as a member of this name, if it is there and not null.
 * The option refers to it.
 */
void openai_option(cJSON *options, const char *option, const cJSON *object, const char *name);

#endif
