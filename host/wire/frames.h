/*
 * The frames between the front and a worker, over a stream socket pair. Both
 * ends are the same binary on the same machine, so numbers are as the machine
 * has them. A frame is
 *
 *     u32 length of the payload | u16 type | u16 zero | u32 run | payload
 *
 * run is the number that the front gave the run on this link, 0 where a frame
 * is about no run. To add a frame, add a line to WIRE_FRAMES and say here what
 * its payload is:
 *
 *     OPEN     JSON {"path","file","generation","log"}: what to load, and what the
 *              operator calls it
 *     CREATE   its most threads NUL its bytes of stack NUL its configuration as
 *              JSON NUL its state as JSON, or nothing, NUL
 *     START    key NUL value NUL ..., the run's variables; see worker/vars.h
 *     CANCEL   -
 *     CREDIT   u32: so many more bytes of events may be on their way
 *     INPUT    JSON NUL: what a client says to the run
 *     PING     u64, comes back in PONG
 *     SAVE     -: asks for STATE
 *     QUIT     -: cancel what runs, destroy the plugin and leave
 *
 *     HELLO    JSON {"name","version","description","mode"}; the front answers
 *              with CREATE
 *     STATE    the plugin's state as JSON, or nothing
 *     READY    -
 *     REFUSED  JSON {"step","reason"}; the front ends the worker
 *     EVENT    u8 length of the type | type | JSON
 *     END      u8 status | code NUL | message NUL | result NUL; struct wire_end
 *     WAITING  u32: inputs that the agent has taken | u32: tasks that wait for one
 *     PONG     the u64 of PING | u64: how often the plugin emitted outside of a run
 *
 * Flow control: a run starts with a credit of WIRE_WINDOW bytes. Every event
 * costs wire_charge() of it; the front gives it back as subscribers read. So
 * the front never holds more than a window of one run's unread events, and it
 * need not trust the worker for that: one that overdraws is ended.
 */
#ifndef WIRE_FRAMES_H
#define WIRE_FRAMES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_WINDOW    (1024u * 1024)
#define WIRE_EVENT_MAX (960u * 1024) /* AGENT_EVENT_MAX */
#define WIRE_TYPE_MAX  64u           /* AGENT_TYPE_MAX */
#define WIRE_TEXT_MAX  (64u * 1024)
#define WIRE_STATE_MAX (1024u * 1024)
#define WIRE_INPUT_MAX (1024u * 1024 + 1)
#define WIRE_START_MAX (2u * 1024 * 1024)
#define WIRE_CHARGE    96u

/* name, sender, least and most bytes of payload */
#define WIRE_FRAMES(X)                                      \
    X(OPEN, FRONT, 2, WIRE_TEXT_MAX)                        \
    X(CREATE, FRONT, 2, WIRE_START_MAX)                     \
    X(START, FRONT, 0, WIRE_START_MAX)                      \
    X(CANCEL, FRONT, 0, 0)                                  \
    X(CREDIT, FRONT, 4, 4)                                  \
    X(INPUT, FRONT, 2, WIRE_INPUT_MAX)                      \
    X(SAVE, FRONT, 0, 0)                                    \
    X(PING, FRONT, 8, 8)                                    \
    X(QUIT, FRONT, 0, 0)                                    \
    X(HELLO, WORKER, 2, WIRE_TEXT_MAX)                      \
    X(STATE, WORKER, 0, WIRE_STATE_MAX)                     \
    X(READY, WORKER, 0, 0)                                  \
    X(REFUSED, WORKER, 2, WIRE_TEXT_MAX)                    \
    X(EVENT, WORKER, 3, 1 + WIRE_TYPE_MAX + WIRE_EVENT_MAX) \
    X(END, WORKER, 3, WIRE_TEXT_MAX + WIRE_EVENT_MAX)       \
    X(WAITING, WORKER, 8, 8)                                \
    X(PONG, WORKER, 16, 16)

enum wire_side { WIRE_FRONT, WIRE_WORKER };

enum wire_type {
#define X(name, side, least, most) WIRE_##name,
    WIRE_FRAMES(X)
#undef X
        WIRE_TYPES
};

struct wire_header {
    uint32_t length;
    uint16_t type;
    uint16_t zero;
    uint32_t run;
};

struct wire_frame {
    enum wire_type type;
    uint32_t run;
    const char *data; /* not aligned */
    size_t length;
};

/* How a run ended. */
enum wire_status { WIRE_FINISHED, WIRE_FAILED, WIRE_CANCELLED };

struct wire_end {
    enum wire_status status;
    const char *code;    /* "" unless failed */
    const char *message; /* "" unless failed */
    const char *result;  /* JSON, "" for none */
};

/* What an event of these lengths costs of a run's credit. */
static inline size_t wire_charge(size_t type_length, size_t json_length)
{
    return type_length + json_length + WIRE_CHARGE;
}

/* The length of an event's type or an error's code, 0 if it is not a valid one. */
size_t wire_word_length(const char *word);

/* Whether agents may emit this type: it is valid, and not the host's or EventSource's own. */
bool wire_type_is_free(const char *type, size_t length);

const char *wire_name(enum wire_type type);

void wire_append(struct buf *buf, enum wire_type type, uint32_t run, const void *data,
                 size_t length);

/* Room for an EVENT frame with its JSON still to be written at the result. */
char *wire_append_event(struct buf *buf, uint32_t run, const char *type, size_t type_length,
                        size_t json_length);

/* Appends key NUL value NUL: a piece of START's payload. */
void wire_append_pair(struct buf *pairs, const char *key, const char *value);

/* Appends INPUT; the JSON is not terminated. */
void wire_append_input(struct buf *buf, uint32_t run, const char *json, size_t length);

void wire_append_end(struct buf *buf, uint32_t run, const struct wire_end *end);

/*
 * The frame at the start of the buffer, sent by this side: its whole size, 0
 * if it is not all there yet, -EPROTO if it is none. The frame points into
 * the buffer.
 */
ssize_t wire_next(const struct buf *buf, enum wire_side sender, struct wire_frame *frame);

/* Splits an EVENT; -EPROTO if it is malformed. The type is not terminated. */
int wire_read_event(const struct wire_frame *frame, const char **type, size_t *type_length,
                    const char **json, size_t *json_length);

/* -EPROTO if it is malformed. The texts point into the frame. */
int wire_read_end(const struct wire_frame *frame, struct wire_end *end);

/*
 * Walks payloads of NUL-terminated strings: sets *text to the next one. 1, 0
 * at the end, -EPROTO if the last is not terminated. Start with *at = 0.
 */
int wire_read_string(const struct wire_frame *frame, size_t *at, const char **text);

#endif
