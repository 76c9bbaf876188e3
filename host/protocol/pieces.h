/* Pieces of frames, for encoders whose frames are JSON objects in lines `data:`. */
#ifndef PROTOCOL_PIECES_H
#define PROTOCOL_PIECES_H

#include "base/buf.h"
#include "run/event.h"

#include <string.h>

#define FRAME_BEGIN "data: {\"type\":\""
#define FRAME_END   "}\n\n"

/* What part of a message is open. */
enum part { PART_NONE, PART_TEXT, PART_REASONING };

/* A piece of JSON as it stands in an event. */
struct piece {
    const char *at;
    size_t length;
};

/* Copy the bytes to `to`; return the place after them. */
static inline char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

#define PUT_LITERAL(to, text) put(to, text, sizeof(text) - 1)

/* The same as piece_delta(), for an event that has other members, too. */
bool piece_delta_among(const struct event *event, struct piece *inside);

/* Set the inside of the event's member delta; false if that is no string. */
static inline bool piece_delta(const struct event *event, struct piece *inside)
{
    return event_delta(event, &inside->at, &inside->length) || piece_delta_among(event, inside);
}

/* Set the value of a member of the event; false if it has none. */
bool piece_find(const struct event *event, const char *name, struct piece *value);

/* Likewise if it is of the JSON type that begins with this byte: '"', '{'. */
bool piece_find_kind(const struct event *event, const char *name, char first, struct piece *value);

/* Set the member of the member. */
bool piece_find_in(const struct piece *object, const char *name, struct piece *value);

/* Return true if the piece is exactly this text. */
bool piece_is(const struct piece *piece, const char *text);

void piece_append(const struct piece *piece, struct buf *out);

/* Append the text as a JSON string with its quotes; it is UTF-8. */
void piece_quote(const char *text, size_t length, struct buf *out);

/* Append the piece as a JSON string: as it is if it is one, else its JSON as text. */
void piece_append_text(const struct piece *piece, struct buf *out);

/* Set the number if the member is a whole number; false otherwise. */
bool piece_count(const struct event *event, const char *name, uint64_t *count);

/* Return that number with 1 added; 0 if there is none, or it is too large. */
uint32_t piece_tokens(const struct event *event, const char *name);

#endif
