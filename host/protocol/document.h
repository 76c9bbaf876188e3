/*
 * Documents: what is kept of a run's events for a client that waits for the run's end.
 * Each protocol words its answer from one (struct document_encoder).
 *
 * The texts take at most DOCUMENT_TEXT_MAX bytes each, and all together no more than
 * there is room for; if more came, the document has what came first. If the first events are no
 * longer kept, it has what came after them. In both cases it is truncated.
 */
#ifndef PROTOCOL_DOCUMENT_H
#define PROTOCOL_DOCUMENT_H

#include "base/buf.h"
#include "run/event.h"

struct eventlog;

#define DOCUMENT_TEXT_MAX (8u * 1024 * 1024)

/* What a protocol has kept besides the text, the usage and the end. */
#define DOCUMENT_REASONING 1u
#define DOCUMENT_CALLS     2u

/* Who is charged for the memory of a document. take() returns false if there is no room. */
struct document_room {
    bool (*take)(void *data, size_t bytes);
    void *data;
};

/* A plain struct; zeroed is empty. */
struct document {
    struct buf text;      /* the inside of a JSON string */
    struct buf reasoning; /* the same */
    struct buf calls;     /* JSON of the events tool_call, with commas between */
    struct buf results;   /* JSON of the events tool_result, with commas between */
    struct buf usage;     /* JSON of the last event usage, or empty */
    struct buf question;  /* JSON of the event input_request that ends the wait, or empty */
    uint64_t asked;       /* the number of that event */
    struct buf done;      /* JSON of the event done, or empty */
    uint64_t events;      /* number of the last event that was added, 0 for none */
    bool waits;           /* for an input that was not asked for by an event */
    size_t usage_charge;
    bool full;      /* there was no room: nothing more is kept of texts and calls */
    bool truncated; /* events are missing, at the begin or because it is full */
};

void document_add_gap(struct document *document);

/* keeps: DOCUMENT_... of the encoder. An event input_request sets the question. */
void document_add(struct document *document, unsigned keeps, const struct event *event,
                  const struct document_room *room);

/* Add the events that the log still has, up to the one of this number; nobody is charged. */
void document_recall(struct document *document, unsigned keeps, const struct eventlog *log,
                     uint64_t upto);

/* How the run ended, by its event done. */
enum document_outcome { DOCUMENT_FINISHED, DOCUMENT_CANCELLED, DOCUMENT_FAILED };

enum document_outcome document_outcome(const struct document *document);

/* Return the HTTP status for how the run ended: 200, 409 if it was cancelled, 500 if it failed. */
unsigned document_status(const struct document *document);

void document_finish(struct document *document);

#endif
