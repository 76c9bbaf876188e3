/*
 * OpenAI's chat completions (platform.openai.com/docs/api-reference/chat), as answers: a
 * stream of chunks that ends with [DONE], or one completion.
 *
 *     text         delta.content; also the result, as JSON, of a run without text
 *     reasoning    delta.reasoning_content, as other servers have it
 *     tool_call    that the client shall make: delta.tool_calls, and the finish_reason is
 *                  tool_calls
 *     usage        in the last chunk, if the client asked for it
 *     others       an empty delta and a member `sluice`, if the client asked for them
 *
 * A run that fails or is cancelled ends with {"error":{...}}. A question cannot be answered in
 * this protocol: it is an error with the code input_required, and the run is cancelled.
 */
#ifndef PROTOCOL_OPENAI_H
#define PROTOCOL_OPENAI_H

#include "protocol/encoder.h"
#include "protocol/pieces.h"

/* The encoder's terms: one digit, the sum of these. Without terms, all is shown. */
#define OPENAI_USAGE  1u /* stream_options.include_usage */
#define OPENAI_EVENTS 2u /* stream_options.include_events */

extern const struct encoder encoder_openai;

/* ---- for both of OpenAI's protocols ---- */

/* A call that the client shall make: its members as JSON. */
struct openai_call {
    struct piece id, name, arguments;
};

/* Read an event tool_call; false if it is not for the client to make. */
bool openai_read_call(const struct piece *event, struct openai_call *call);

/* Append {"message","type","param","code"}, and set nothing; message and code are JSON strings. */
void openai_append_error(const struct piece *message, const char *type, const struct piece *code,
                         struct buf *out);

/* Append the error with which a run ended that did not finish; done is the event's JSON. */
void openai_append_end(const struct piece *done, struct buf *out);

/* Append the error that says what the run asks; question is the event's JSON. */
void openai_append_question(const struct encoding *encoding, const struct piece *question,
                            struct buf *out);

/*
 * Set the result of a run that finished, as the inside of a JSON string: its text, or its JSON
 * escaped, for which scratch is used. Return false if there is none.
 */
bool openai_result(const struct piece *done, struct buf *scratch, struct piece *inside);

/* Take the first call that the client shall make off the events with commas between; false if
 * there is none. */
bool openai_next_call(struct piece *events, struct openai_call *call);

/* Append the message of the assistant that the document is, in the shape of chat.h. */
void openai_append_message(const struct document *document, struct buf *out);

/* Append {"error":...} for a run that did not finish, or asks, and return the HTTP status. */
unsigned openai_document_error(const struct document *document, const struct encoding *encoding,
                               struct buf *out);

extern const char *const openai_headers[];

#endif
