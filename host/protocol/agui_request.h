/*
 * The body of a request of AG-UI 1.0 (RunAgentInput):
 *
 *     {"threadId", "runId", "messages", "tools"?, "context"?, "state"?, "forwardedProps"?,
 *      "resume"?: [{"interruptId", "status": "resolved" or "cancelled", "payload"?}]}
 *
 * Messages of the roles activity and reasoning are dropped: they are what a page shows.
 */
#ifndef PROTOCOL_AGUI_REQUEST_H
#define PROTOCOL_AGUI_REQUEST_H

#include "base/why.h"
#include "protocol/chat.h"

struct agui_request {
    struct chat chat; /* with the thread */
    const char *run;
    const cJSON *resume; /* the answer to a run's question; NULL: the client wants a new run */
};

/*
 * Read the body and change its messages into those of chat.h; the request points into it.
 * -EINVAL, and why, if the body is none.
 */
int agui_request_read(cJSON *body, struct agui_request *request, struct why *why);

#endif
