/*
 * The frames between the front and a worker, over a stream socket pair. Both
 * ends are the same binary on the same machine, so numbers are in its byte
 * order. A frame is
 *
 *     u32 length of the payload | u16 type | u16 zero | u32 run | payload
 *
 * run is the number that the front gave the run on this link, or 0 if the frame
 * is about no run. To add a frame, add a line to WIRE_FRAMES and describe its
 * payload here:
 *
 *     OPEN     key NUL value NUL ...: file, farm, generation, log, start_timeout, names, confined
 *              and the keys of fleet/confinement.c: the plugin to load, and how
 *     CREATE   threads at most NUL bytes of a fiber's stack NUL configuration as
 *              JSON NUL state as JSON, or nothing, NUL
 *     START    key NUL value NUL ..., the run's variables; see worker/vars.h
 *     CANCEL   -
 *     CREDIT   u32: bytes that its events may cost on top of the credit left
 *     INPUT    u32: the question that it answers, 0 for none | JSON NUL: what a client says to the
 * run PING     struct wire_ping SAVE     -: asks for STATE QUIT     -: cancel all runs, destroy the
 * plugin, exit
 *
 *     HELLO    JSON {"name","version","description","mode"}, and as strings, if declared,
 *              "title","input_schema","output_schema","examples","tags"; the front
 *              answers with CREATE
 *     STATE    the plugin's state as JSON, or nothing
 *     READY    -
 *     REFUSED  JSON {"step","reason"}; the front ends the worker
 *     EVENT    u8 length of the type | type | JSON
 *     END      u8 status | code NUL | message NUL | result NUL; struct wire_end
 *     WAITING  u32: inputs that the agent has taken | u32: tasks that wait for an input
 *     CLOSED   u32: a question: the task that asked no longer waits for the answer
 *     HELD     u32: tasks that wait for credit
 *     CRASH    u8: whether it was in the frame's run | text NUL: how the plugin has ended
 *              its process, which comes next
 *     PONG     struct wire_pong
 *
 * Questions: an EVENT of the type input_request is a question. Its JSON is an object of at most
 * WIRE_QUESTION_MAX bytes with the member "id":"qN", where N is the question's number in the
 * run, from 1. At most WIRE_QUESTIONS_MAX of a run are not CLOSED; its END closes them.
 *
 * Flow control: a run starts with a credit of WIRE_WINDOW bytes. Every event
 * costs wire_charge() bytes of credit, which the front returns with CREDIT as
 * readers read. The front thus never holds more than one window of a run's
 * unread events, and need not trust the worker: it ends a worker that overdraws.
 */
#ifndef WIRE_FRAMES_H
#define WIRE_FRAMES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_WINDOW    (1024u * 1024)
#define WIRE_EVENT_MAX (960u * 1024)   /* AGENT_EVENT_MAX */
#define WIRE_TYPE_MAX  64u             /* AGENT_TYPE_MAX */
#define WIRE_ASK       "input_request" /* the type of a question */
#define WIRE_TEXT_MAX  (64u * 1024)
#define WIRE_HELLO_MAX (512u * 1024) /* three texts of 64 KiB, escaped, and short ones */
#define WIRE_STATE_MAX (1024u * 1024)
#define WIRE_BODY_MAX  (64u * 1024 * 1024) /* of max_body */
#define WIRE_INPUT_MAX (sizeof(uint32_t) + WIRE_BODY_MAX + 1)
#define WIRE_START_MAX (WIRE_BODY_MAX + 1024 * 1024)
#define WIRE_SETUP_MAX (2u * 1024 * 1024)
#define WIRE_CRASH_MAX 1024u
#define WIRE_CHARGE    96u

#define WIRE_QUESTION_MAX  (64u * 1024) /* AGENT_QUESTION_MAX */
#define WIRE_QUESTIONS_MAX 32u          /* AGENT_QUESTIONS_MAX */

/* name, sender, fewest and most bytes of payload */
#define WIRE_FRAMES(X)                                      \
    X(OPEN, FRONT, 2, WIRE_TEXT_MAX)                        \
    X(CREATE, FRONT, 2, WIRE_SETUP_MAX)                     \
    X(START, FRONT, 0, WIRE_START_MAX)                      \
    X(CANCEL, FRONT, 0, 0)                                  \
    X(CREDIT, FRONT, 4, 4)                                  \
    X(INPUT, FRONT, 6, WIRE_INPUT_MAX)                      \
    X(SAVE, FRONT, 0, 0)                                    \
    X(PING, FRONT, 16, 16)                                  \
    X(QUIT, FRONT, 0, 0)                                    \
    X(HELLO, WORKER, 2, WIRE_HELLO_MAX)                     \
    X(STATE, WORKER, 0, WIRE_STATE_MAX)                     \
    X(READY, WORKER, 0, 0)                                  \
    X(REFUSED, WORKER, 2, WIRE_TEXT_MAX)                    \
    X(EVENT, WORKER, 3, 1 + WIRE_TYPE_MAX + WIRE_EVENT_MAX) \
    X(END, WORKER, 3, WIRE_TEXT_MAX + WIRE_EVENT_MAX)       \
    X(WAITING, WORKER, 8, 8)                                \
    X(CLOSED, WORKER, 4, 4)                                 \
    X(HELD, WORKER, 4, 4)                                   \
    X(CRASH, WORKER, 3, WIRE_CRASH_MAX)                     \
    X(PONG, WORKER, 24, 24)

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

struct wire_ping {
    uint64_t sent_at; /* comes back in PONG */
    uint64_t log;     /* the most that the worker logs, an enum log_level */
};

struct wire_pong {
    uint64_t sent_at;     /* of PING */
    uint64_t stray_emits; /* outside of a run */
    uint64_t refused;     /* calls of the plugin, those emits among them */
};

/* How a run ended. */
enum wire_status { WIRE_FINISHED, WIRE_FAILED, WIRE_CANCELLED };

struct wire_end {
    enum wire_status status;
    const char *code;    /* "" unless failed */
    const char *message; /* "" unless failed */
    const char *result;  /* JSON, "" for none */
};

/* Return what an event of these lengths costs of a run's credit. */
static inline size_t wire_charge(size_t type_length, size_t json_length)
{
    return type_length + json_length + WIRE_CHARGE;
}

/* Return the length of an event's type or an error's code, or 0 if it is not valid. */
size_t wire_word_length(const char *word);

/* Return true if agents may emit this type: it is valid, and not one of the host's or
 * EventSource's. */
bool wire_type_is_free(const char *type, size_t length);

const char *wire_name(enum wire_type type);

void wire_append(struct buf *buf, enum wire_type type, uint32_t run, const void *data,
                 size_t length);

/* Write an EVENT frame after the end of the buffer, but for its JSON, which the caller writes at
 * the returned place; then it is appended. */
char *wire_write_event(struct buf *buf, uint32_t run, const char *type, size_t type_length,
                       size_t json_length);

void wire_append_written(struct buf *buf, size_t type_length, size_t json_length);

/* Append key NUL value NUL: a piece of OPEN's or START's payload. */
void wire_append_pair(struct buf *pairs, const char *key, const char *value);

/* Append INPUT; the JSON given is not terminated. */
void wire_append_input(struct buf *buf, uint32_t run, uint32_t question, const char *json,
                       size_t length);

void wire_append_end(struct buf *buf, uint32_t run, const struct wire_end *end);

/*
 * Read the frame at the start of the buffer, sent by this side. Return its
 * whole size, 0 if it is still incomplete, or -EPROTO if it is malformed. The
 * frame points into the buffer.
 */
ssize_t wire_next(const struct buf *buf, enum wire_side sender, struct wire_frame *frame);

/* Return the bytes of the frames at the start of the buffer, sent by this side, that are whole. */
size_t wire_whole(const struct buf *buf, enum wire_side sender);

/* Split an EVENT; return -EPROTO if it is malformed. The type is not terminated. */
int wire_read_event(const struct wire_frame *frame, const char **type, size_t *type_length,
                    const char **json, size_t *json_length);

/* Read an END; return -EPROTO if it is malformed. The texts point into the frame. */
int wire_read_end(const struct wire_frame *frame, struct wire_end *end);

/*
 * Walk a payload of NUL-terminated strings, from *at = 0: set *text to the next
 * one and return 1; return 0 at the end, -EPROTO if the last is not terminated.
 */
int wire_read_string(const struct wire_frame *frame, size_t *at, const char **text);

/* Return the value of this key in a payload of key NUL value NUL ..., or NULL. */
const char *wire_find(const struct wire_frame *frame, const char *key);

#endif
