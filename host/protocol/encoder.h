/*
 * Encoders: each turns a run's events into the frames of one protocol. An encoder
 * is a pure fold over the run's events from number 1 on: it appends bytes to a
 * buffer and keeps a small state. It must not use a clock or random numbers: ids in
 * its frames come from the run's id and the events' numbers. So the same events
 * always give the same bytes, and a stream is resumed by folding in silence up to
 * the event that the client has.
 *
 * The state is state_size bytes, zeroed at first, that may be copied with memcpy()
 * and thrown away: it must hold no pointer to memory of its own. An encoder without
 * state makes each event's frames of that event alone, and nothing is folded.
 *
 * Calls: begin, then event for each event in turn, at last end after the event `done`;
 * gap before an event if events before that one are no longer kept; heartbeat only
 * between two events. A text event may stand for several in a row (run/pack.h): the state after
 * it must be the state after those.
 *
 * To add a protocol, write a file with its const struct encoder, cases in
 * tests/protocols, and a line in the table of tests/unit/test_protocols.c.
 */
#ifndef PROTOCOL_ENCODER_H
#define PROTOCOL_ENCODER_H

#include "base/buf.h"
#include "run/event.h"

struct document_encoder;

struct encoder {
    const char *name;
    const char *content_type; /* of a stream */
    size_t state_size;
    /* Before all others; the client has the events up to number after, 0 for none. */
    void (*begin)(void *state, const struct run_identity *run, uint64_t after, struct buf *out);
    void (*event)(void *state, const struct run_identity *run, const struct event *event,
                  struct buf *out);
    void (*gap)(void *state, const struct run_identity *run, const struct run_gap *gap,
                struct buf *out);
    void (*heartbeat)(const void *state, struct buf *out);
    /* NULL: nothing follows `done`. */
    void (*end)(void *state, const struct run_identity *run, struct buf *out);
    const struct document_encoder *document;
};

/* Who is charged for the memory of a document. take() returns false if there is no room. */
struct document_room {
    bool (*take)(void *data, size_t bytes);
    void *data;
};

/* The answer to a client that waits for the run's end: one document, made of all events. */
struct document_encoder {
    const char *content_type;
    size_t size; /* of the document, zeroed at first */
    void (*gap)(void *document, const struct run_gap *gap);
    void (*event)(void *document, const struct event *event, const struct document_room *room);
    /* Append the whole answer, after the event `done` came. */
    void (*end)(void *document, const struct run_identity *run, struct buf *out);
    void (*finish)(void *document);
};

#endif
