/*
 * The body of a request of the AI SDK's DefaultChatTransport:
 *
 *     {"id"?, "messages": [{"id", "role", "parts"}], "trigger"?, "messageId"?, "system"?, "tools"?}
 *
 * Parts become what chat.h has: text and file parts the content, tool parts calls of the
 * assistant with the results after them; a call without a result, reasoning, sources and data
 * are left out. Where a step begins a message ends if there were calls in it. system becomes
 * the first message.
 */
#ifndef PROTOCOL_AISDK_REQUEST_H
#define PROTOCOL_AISDK_REQUEST_H

#include "base/why.h"
#include "protocol/chat.h"

/* It points into the body; messages are the request's own. */
struct aisdk_request {
    struct chat chat; /* with the thread */
    cJSON *messages;  /* that the chat points to */
    /* The last message, if it is the assistant's: the answer goes on with it. NULL: it is not. */
    const char *message_id;
    /* The question with which that message ends (aisdk.h), if it has an answer; else NULL. */
    const char *question;
    const cJSON *answer; /* to the question; NULL: the person will not answer */
};

/* -EINVAL, and why, if the body is none. aisdk_request_finish() is due either way. */
int aisdk_request_read(const cJSON *body, struct aisdk_request *request, struct why *why);
void aisdk_request_finish(struct aisdk_request *request);

#endif
