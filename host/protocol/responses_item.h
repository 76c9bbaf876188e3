/*
 * Output items of OpenAI's Responses: a message for text in a row, reasoning likewise,
 * function_call for each call that the client shall make. They are made of the log's events, as
 * far as it has them. An item's index among them is in its id.
 */
#ifndef PROTOCOL_RESPONSES_ITEM_H
#define PROTOCOL_RESPONSES_ITEM_H

#include "protocol/encoder.h"
#include "protocol/openai.h"
#include "protocol/pieces.h"

enum item_kind { ITEM_NONE, ITEM_TEXT, ITEM_REASONING, ITEM_CALL };

/* A row of events that make one item. */
struct item {
    enum item_kind part;
    uint32_t index;
    uint64_t first, last; /* numbers of events */
    struct openai_call call;
};

/* Return the part that the event's text is of, and set the text; ITEM_NONE if it has none. */
static inline enum item_kind item_text(const struct event *event, struct piece *inside)
{
    if (event->kind != EVENT_text && event->kind != EVENT_reasoning)
        return ITEM_NONE;
    if (!piece_delta(event, inside))
        return ITEM_NONE;
    return event->kind == EVENT_text ? ITEM_TEXT : ITEM_REASONING;
}

/* Append the id with its quotes: msg_, rs_ or fc_, the run's id, _ and the index. */
void item_append_id(const struct encoding *encoding, enum item_kind part, uint32_t index,
                    struct buf *out);

/* Append the text of an item, the inside of a JSON string. */
void item_recall(const struct encoding *encoding, const struct item *item, struct buf *out);

/* Append the part of a message or of reasoning that has this text. */
void item_append_content(enum item_kind part, const struct buf *text, struct buf *out);

/* Append a message or reasoning; with text NULL, it is only begun. */
void item_append(const struct encoding *encoding, enum item_kind part, uint32_t index,
                 const struct buf *text, struct buf *out);

/* Append a call. begun: without its arguments. */
void item_append_call(const struct encoding *encoding, uint32_t index,
                      const struct openai_call *call, bool begun, struct buf *out);

/*
 * Append the items of the events up to this number, with commas between; result stands for a
 * message after them, or is NULL.
 */
void items_append(const struct encoding *encoding, uint64_t upto, const struct piece *result,
                  struct buf *out);

/* Set the id of the run that an item's id names; false if it cannot be one. */
bool responses_item_run(const char *id, char run[RUN_ID_LENGTH + 1]);

/*
 * Append the output item of this id as JSON; false if the run has none. The log must have all
 * events.
 */
bool responses_append_item(const struct run_identity *run, const struct eventlog *log,
                           const char *id, struct buf *out);

#endif
