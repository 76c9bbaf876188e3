/*
 * MCP, the Model Context Protocol over streamable HTTP: the answer to tools/call
 * (modelcontextprotocol.io/specification, of 2025-11-25 and of 2026-07-28).
 */
#ifndef PROTOCOL_MCP_H
#define PROTOCOL_MCP_H

#include "protocol/encoder.h"

/* What the client speaks and can do. */
#define MCP_LEGACY                                                                               \
    1u                /* 2025-11-25 or older: sessions, frames with ids, questions in the stream \
                       */
#define MCP_PRIMES 2u /* it knows a frame with an id and no data, as since 2025-11-25 */
#define MCP_ASKS   4u /* it can put a question to a person */

/* Bytes of JSON that a request's id and its progress token may have. */
#define MCP_ID_MAX 256

/*
 * Append the encoder's terms: a text without NUL. id is the request's and token its progress
 * token, as JSON; without a token, of length 0, the client gets no progress.
 */
void mcp_terms(struct buf *terms, unsigned flags, const char *id, size_t id_length,
               const char *token, size_t token_length);

/*
 * Read the answer to a question, {"action","content"?}, and append what the agent gets: the
 * content; null, and return false, if the person declined. question is the event's JSON.
 */
bool mcp_answer(const char *question, size_t question_length, const char *answer,
                size_t answer_length, struct buf *out);

/* Append "io.modelcontextprotocol/serverInfo": and who this server is. */
void mcp_server_info(struct buf *out, const char *name);

/*
 * The two are the same in a stream. A client that takes no stream but one document gets a
 * question from mcp_asks alone: it is for clients that are MCP_ASKS and not MCP_LEGACY.
 */
extern const struct encoder encoder_mcp, encoder_mcp_asks;

#endif
