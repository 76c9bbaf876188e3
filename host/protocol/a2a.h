/*
 * A2A 1.0 (a2a-protocol.org, sections 4 and 9 to 11) in JSON: a run is a task, and its thread
 * is the task's context. A run without a thread is the only one of a context that has the
 * run's id.
 *
 * The stream has a frame for the task as it begins, then
 *
 *     text             artifactUpdate of the artifact "text", appended but for the first
 *     input_request    statusUpdate INPUT_REQUIRED with a message: the stream ends
 *     done             artifactUpdate of "result" if there is one, statusUpdate with the end
 *     all others       statusUpdate WORKING, metadata "sluice/event": {"type","data"}
 *
 * Over JSON-RPC each frame is the result of a response with the request's id; over REST
 * it stands alone. The document is the task with its artifacts.
 *
 * Times are left out: they are optional, and an encoder has no clock.
 */
#ifndef PROTOCOL_A2A_H
#define PROTOCOL_A2A_H

#include "protocol/encoder.h"

/* Maximum bytes of the id of a JSON-RPC request, as JSON. */
#define A2A_ID_MAX 256

/* The terms: a byte of these, then, with A2A_RPC, the request's id as JSON. */
#define A2A_TERMS 0x40u /* always: the byte is a letter */
#define A2A_RPC   1u    /* frames and documents are responses of JSON-RPC */
#define A2A_BARE  2u    /* the document is the task, not {"task": the task} */
#define A2A_GIVEN 4u    /* the task was sent before the stream's frames */

/* The states of tasks that runs can be in. */
enum a2a_state {
    A2A_SUBMITTED,
    A2A_WORKING,
    A2A_INPUT_REQUIRED,
    A2A_COMPLETED,
    A2A_FAILED,
    A2A_CANCELED,
};

/* A task's status. */
struct a2a_status {
    enum a2a_state state;
    uint64_t event;     /* number of the event that said so */
    const char *reason; /* of INPUT_REQUIRED the event's JSON, of FAILED that of the error */
    size_t reason_length;
};

/* REST, and what a run looks like to somebody who asks for this protocol. */
extern const struct encoder encoder_a2a;

/* JSON-RPC: the same with another content type of documents; for terms with A2A_RPC. */
extern const struct encoder encoder_a2a_rpc;

/* Return the context of the run's task. */
const char *a2a_context(const struct run_identity *run);

/* Return the status at the end of the document; its texts live as long. */
struct a2a_status a2a_status(const struct document *document);

/* Append the task. document NULL: without artifacts. */
void a2a_task(const struct run_identity *run, const struct a2a_status *status,
              const struct document *document, struct buf *out);

/* Append a stream's frame with the task. */
void a2a_task_frame(const struct encoding *encoding, const struct a2a_status *status,
                    const struct document *document, struct buf *out);

#endif
