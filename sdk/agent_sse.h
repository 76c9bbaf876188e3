/* SPDX-License-Identifier: MIT */
/*
 * agent_sse.h - read server-sent events, in whatever pieces they arrive.
 *
 *     static int take(void *arg, const char *type, const char *data);
 *     ...
 *     struct agent_sse sse = {0};
 *
 *     while (status == 0 && (length = agent_http_read(http, &data)) > 0)
 *         status = agent_sse_feed(&sse, data, (size_t)length, take, arg);
 *     agent_sse_finish(&sse);
 *
 *     cc -shared -fPIC $(pkg-config --cflags sluice-llm) my.c -o my.so \
 *         $(pkg-config --libs sluice-llm)
 *
 * The reader follows the HTML standard: lines end with LF, CRLF or CR; the "data"
 * lines of an event are joined by LF; comments, unknown fields and a leading byte
 * order mark are skipped; an event is complete when its empty line has arrived.
 * Events without data are dropped; id and retry are ignored. Comments and unknown
 * fields are given to `other` of struct agent_sse, if it is set before the first byte;
 * its result counts as the other function's does.
 *
 * No buffer grows beyond AGENT_SSE_MAX. Tags and conventions are those of agent.h.
 */
#ifndef SLUICE_AGENT_SSE_H
#define SLUICE_AGENT_SSE_H

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a line, and of an event's data; such data fits into an event of an agent. */
#define AGENT_SSE_MAX (768 * 1024)

/* A string that grows; it ends with NUL once something was added. */
struct agent_sse_text {
    char *data;
    size_t length;
    size_t room;
};

/* The state of one stream; all zero is its start. */
struct agent_sse {
    struct agent_sse_text line; /* so far */
    struct agent_sse_text data; /* of the event; each of its lines ends with LF */
    char type[64];              /* of the event; a longer type is cut */
    int begun;                  /* the first line is complete */
    int after_cr;               /* the last byte was CR: an LF that follows belongs to it */
    size_t max;                 /* instead of AGENT_SSE_MAX, unless it is 0 */
    int (*other)(void *arg, const char *line); /* takes lines that are skipped, unless it is NULL */
};

/*
 * Take an event: its type, "" if it has none, and its data. Both live until the
 * function returns. A result other than 0 ends agent_sse_feed(), which returns it.
 */
typedef int agent_sse_event(void *arg, const char *type, const char *data);

/*
 * Append bytes. -EMSGSIZE: the text would have more than max bytes; -ENOMEM. On an
 * error the text stays as it was. [any-thread]
 */
int agent_sse_add(struct agent_sse_text *text, const char *bytes, size_t length, size_t max);

/*
 * Read a piece of the stream, and call each(arg, ...) for each event that the piece
 * completes. To get the last event of a stream that ended without an empty line, feed
 * "\n\n". -EMSGSIZE: a line or an event has more than AGENT_SSE_MAX bytes; -ENOMEM; or
 * what each() returned. After an error the stream must not be fed again. [any-thread]
 */
int agent_sse_feed(struct agent_sse *sse, const char *data, size_t length, agent_sse_event *each,
                   void *arg);

/* Free what the state holds and clear it for another stream. [any-thread] */
void agent_sse_finish(struct agent_sse *sse);

#ifdef __cplusplus
}
#endif
#endif
