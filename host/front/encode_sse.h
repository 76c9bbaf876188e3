/*
 * The native stream: server-sent events as the WHATWG HTML standard has them
 * (section 9.2), LF only, one line of compact JSON an event:
 *
 *     id: <run>.<sequence>
 *     event: <type>
 *     data: <JSON>
 *
 * No I/O: it writes into what it is given.
 */
#ifndef FRONT_ENCODE_SSE_H
#define FRONT_ENCODE_SSE_H

#include <stddef.h>
#include <stdint.h>

#define ENCODE_SSE_CONTENT_TYPE "text/event-stream"

/* Before the first event: how many milliseconds a client waits before it reconnects. */
#define ENCODE_SSE_BEGIN "retry: 1000\n\n"

/* On an idle stream: a comment. */
#define ENCODE_SSE_HEARTBEAT ":\n\n"

/* What follows an event's JSON. */
#define ENCODE_SSE_TAIL "\n\n"

#define ENCODE_SSE_HEAD_MAX 192

/* Writes what precedes an event's JSON; returns its length. */
size_t encode_sse_head(char head[ENCODE_SSE_HEAD_MAX], const char *run_id, uint64_t sequence,
                       const char *type, size_t type_length);

#endif
