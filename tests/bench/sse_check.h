#ifndef SLUICE_BENCH_SSE_CHECK_H
#define SLUICE_BENCH_SSE_CHECK_H

#include "data.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SSE_CHECK_LINE_MAX 768

/* What a checker tells its owner; each may be NULL. */
struct sse_check_hooks {
    void (*header)(void *owner, const char *line, size_t length); /* without its CRLF */
    void (*opened)(void *owner);                                  /* the head is complete */
    void (*token)(void *owner, uint64_t sent_us);                 /* a right event */
};

/* One response, from its status line to its last chunk; what it has seen of it so far. */
struct sse_check {
    const struct sse_check_hooks *hooks;
    void *owner;
    char *problem;       /* why it was refused, or NULL */
    uint64_t chunk_left; /* bytes of the current chunk that have not come */
    uint64_t sent_us;    /* `t` of the last event */
    uint64_t data_us;    /* `t` of the event that is being read */
    uint32_t count;      /* events so far */
    uint32_t expect;     /* events altogether */
    uint32_t skipped;    /* events that a reader who came late was told it missed */
    uint8_t part;
    uint8_t type, data; /* of the event that is being read */
    uint8_t size_digits;
    bool chunked, event_stream, allow_gap, after_gap, done;
    uint16_t line_length;
    uint16_t data_length;
    char next[8];                  /* the next event's `n` */
    char seen[DATA_LENGTH + 8];    /* begin of data that is not as it should be */
    char line[SSE_CHECK_LINE_MAX]; /* a line that was cut */
};

/* Expects a new response with so many events; forgets what was before. */
void sse_check_init(struct sse_check *check, uint32_t expect, const struct sse_check_hooks *hooks,
                    void *owner);
void sse_check_finish(struct sse_check *check);

/* A response that may begin with an event `gap`, and then with any number. */
void sse_check_allow_gap(struct sse_check *check);

/* Takes the next bytes. False if the response is wrong: then `problem` says why, for good. */
bool sse_check_feed(struct sse_check *check, const char *bytes, size_t length);

/* The connection has ended; false if the response had not, or was wrong. */
bool sse_check_close(struct sse_check *check);

/* Whether anything of the response has come. */
bool sse_check_begun(const struct sse_check *check);

/* Whether the response is complete and right. */
bool sse_check_complete(const struct sse_check *check);

#endif
