/*
 * The native stream: server-sent events as the WHATWG HTML standard has them
 * (section 9.2), LF only, one line of compact JSON an event:
 *
 *     event: <type>
 *     data: <JSON>
 *     id: <run>.<sequence>
 *
 * The id comes last, for clients that take it as soon as its line is there: one
 * that is cut inside of the event has not seen its id then.
 *
 * No I/O: it writes into what it is given.
 */
#ifndef PROTOCOL_NATIVE_H
#define PROTOCOL_NATIVE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ENCODE_SSE_CONTENT_TYPE "text/event-stream"

/* On an idle stream: a comment. */
#define ENCODE_SSE_HEARTBEAT ":\n\n"

/* What comes before an event's JSON, and behind it. */
#define ENCODE_SSE_HEAD_MAX 96
#define ENCODE_SSE_TAIL_MAX 96

/* The texts are not terminated. */
struct event {
    uint64_t sequence;
    const char *type;
    size_t type_length;
    const char *json;
    size_t json_length;
};

static inline bool event_is(const struct event *event, const char *type)
{
    return event->type_length == strlen(type) && memcmp(event->type, type, event->type_length) == 0;
}

/*
 * Before the first event: how long a client waits before it reconnects, and an
 * id, so that one that is cut before any event can resume too. after is the
 * number of the last event that it has, 0 for none.
 */
void encode_sse_begin(struct buf *out, const char *run_id, uint64_t after);

/* These two write what comes before an event's JSON, and behind it; they return the length. */
size_t encode_sse_head(char head[ENCODE_SSE_HEAD_MAX], const struct event *event);
size_t encode_sse_tail(char tail[ENCODE_SSE_TAIL_MAX], const char *run_id,
                       const struct event *event);

/* Appends the whole event. */
void encode_sse_event(struct buf *out, const char *run_id, const struct event *event);

/* Reads an encoded event; it points into the text. -EINVAL if it is none. */
int encode_sse_read(const char *text, size_t length, struct event *event);

#endif
