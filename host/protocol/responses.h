/*
 * OpenAI's Responses (platform.openai.com/docs/api-reference/responses-streaming), as answers:
 *
 *     event: response.output_text.delta
 *     data: {"type":"response.output_text.delta","sequence_number":N,...}
 *
 * or one response object. A response's id is resp_ and the run's. Its output has items: a
 * message for text in a row, reasoning likewise, function_call for each call that the client
 * shall make; the result, as JSON, is the message of a run without text. What else an agent
 * emits is not shown. A question ends in response.failed with the code input_required.
 *
 * Frames are numbered from 0. Where text is packed (run/pack.h), the number of a frame is that
 * of the last one in it. A client that has a number reads on after it.
 */
#ifndef PROTOCOL_RESPONSES_H
#define PROTOCOL_RESPONSES_H

#include "protocol/encoder.h"

#define RESPONSES_ID "resp_"

/* The encoder's terms, 8 bytes of any alignment. */
struct responses_terms {
    uint32_t from;      /* the number of the first frame that the client wants */
    uint32_t retrieved; /* not 0: the client looks at a response that is there. A document is that
                           response, whatever became of the run, and a question cancels nothing. */
};

extern const struct encoder encoder_responses;

/*
 * Return the number of the last event that gives only frames before this one. The log must
 * have all events from the start on.
 */
uint64_t responses_event_before(const struct run_identity *run, const struct eventlog *log,
                                uint32_t frame);

#endif
