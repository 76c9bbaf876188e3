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
 * Some protocols echo parts of the request, or let the client choose what it gets. The
 * terms say so: bytes in a form of the encoder's own, the same from begin to end, absent
 * if the run is shown to someone who asked for nothing (GET /runs/{id}/events?protocol=).
 *
 * Calls: begin, then event for each event in turn, at last end after the event `done`;
 * gap before an event if events before that one are no longer kept; heartbeat only
 * between two events. A text event may stand for several in a row (run/pack.h): the state after
 * it must be the state after those. begin is told up to which event the client has all: what
 * the encoder says of those before is thrown away.
 *
 * A question to a person (`input_request`) ends the answer in most protocols: the
 * client comes again with the person's answer, and gets a stream that begins after
 * the question. One that is closed (event.h) ends nothing, and is not asked again. The state
 * after it must be that after an open one, but for what an end resets.
 *
 * Some protocols repeat at the end what was said before, such as the whole text. Their encoders
 * recall it: the frames of `done` and of questions are made of the events that the log still
 * has (document_recall()). The log may forget some before such a frame is sent whole, so what is
 * left of a frame that was sent in part is kept.
 *
 * To add a protocol, write a file with its const struct encoder, cases in
 * tests/protocols, and a line in encoders.c.
 */
#ifndef PROTOCOL_ENCODER_H
#define PROTOCOL_ENCODER_H

#include "base/buf.h"
#include "protocol/document.h"
#include "run/event.h"

struct eventlog;

/* What an encoder may know besides the events. */
struct encoding {
    const struct run_identity *run;
    const struct eventlog *log; /* the run's, for an encoder that recalls */
    const void *terms;          /* NULL: none */
    size_t terms_size;
    struct buf *memo; /* empty before the first of some events in a row: what their frames have
                         alike may be kept there; or NULL */
};

/* What becomes of an answer after a question's frames. */
enum encoder_question {
    QUESTION_GOES_ON,
    QUESTION_ENDS,    /* the answer; the run waits for the person */
    QUESTION_CANCELS, /* the answer ends and the run too: the protocol cannot ask */
};

struct encoder {
    const char *name;
    const char *content_type; /* of a stream */
    const char *const
        *headers; /* of each answer, name and value in turn, NULL ends them; or NULL */
    size_t state_size;
    bool recalls;
    bool gathers; /* text is sent a few times a second: what comes meanwhile is packed */
    /* Before all others; the client has the events up to number after, 0 for none. */
    void (*begin)(void *state, const struct encoding *encoding, uint64_t after, struct buf *out);
    void (*event)(void *state, const struct encoding *encoding, const struct event *event,
                  struct buf *out);
    void (*gap)(void *state, const struct encoding *encoding, const struct run_gap *gap,
                struct buf *out);
    /* After the frames of an event input_request. NULL: the stream goes on. */
    enum encoder_question (*question)(const void *state, const struct encoding *encoding);
    /* NULL: nothing follows `done`. */
    void (*end)(void *state, const struct encoding *encoding, struct buf *out);
    const struct document_encoder *document; /* NULL: there is none */
};

/* The answer to a client that waits for the run's end: one document, made of all events. */
struct document_encoder {
    const char *content_type;
    unsigned keeps;                 /* DOCUMENT_..., besides text, usage and done */
    enum encoder_question question; /* GOES_ON: what is asked is not in the document */
    /* Append the whole answer and return its HTTP status, after `done` or a question came. */
    unsigned (*end)(const struct document *document, const struct encoding *encoding,
                    struct buf *out);
};

/* Server-sent events: the heartbeat of all protocols is a comment, which no client shows. */
#define ENCODER_HEARTBEAT ":\n\n"

#endif
