/*
 * The UI message stream of the AI SDK, version 1 (ai-sdk.dev, "stream protocol"): server-sent
 * events, one JSON object each, in the field `data` alone, and [DONE] at the end. Its client
 * fails on a delta of a part that was not begun, and on the output of a call that it does not
 * know.
 *
 *     (begin)             start, with the message's id msg-RUN, and start-step
 *     text, reasoning     parts, whose ids are text-N and reasoning-N: they begin with the first
 *                         delta and end where another kind of part or a call begins
 *     step, state         data-step, whose id is its name, and data-state, whose id is state: the
 *                         next one takes the place of the last
 *     tool_call           tool-input-available; providerExecuted unless it is the client's
 *     tool_result         tool-output-available
 *     usage               message-metadata
 *     input_request       a call of the tool "input" with the id RUN.N, the event's number, and
 *                         the event as its input; ends the answer. One that has been dealt with
 *                         has its output, and a new step begins: start-step, and start again
 *     done                data-result, finish-step, finish; or error; or abort
 *     others, and those of the above whose members are not as agent.h has them: data-TYPE
 *     a gap               data-gap
 */
#ifndef PROTOCOL_AISDK_H
#define PROTOCOL_AISDK_H

#include "protocol/encoder.h"

extern const struct encoder encoder_aisdk;

/*
 * Append the terms. Questions up to the event of this number have been dealt with: they are
 * shown as answered, with null, and do not end the answer. Without terms no question does.
 * message_id: how the client calls the message that the answer goes on with; NULL: msg-RUN.
 */
void aisdk_terms(uint64_t answered, const char *message_id, struct buf *terms);

#endif
