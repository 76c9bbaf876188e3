/*
 * agent_sse.h - reads server-sent events, in whatever pieces they come.
 *
 *     static int take(void *arg, const char *type, const char *data);
 *     ...
 *     struct agent_sse sse = {0};
 *
 *     while (status == 0 && (length = agent_http_read(http, &data)) > 0)
 *         status = agent_sse_feed(&sse, data, (size_t)length, take, arg);
 *     agent_sse_finish(&sse);
 *
 * As the HTML standard has it: lines end with LF, CRLF or CR; the "data" lines
 * of an event are joined by LF; comments, fields of other names and a byte
 * order mark in front are skipped; what has no data is no event; an event counts
 * when the empty line behind it has come. Of "id" and "retry" nothing is made.
 *
 * Nothing grows beyond AGENT_SSE_MAX. Tags and conventions are those of agent.h.
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

/* Bytes of a line, and of an event's data. What is in one fits into an event of ours. */
#define AGENT_SSE_MAX (768 * 1024)

/* A string that grows; terminated once anything was added. */
struct agent_sse_text {
    char *data;
    size_t length;
    size_t room;
};

/* All zero is the start of a stream. */
struct agent_sse {
    struct agent_sse_text line; /* so far */
    struct agent_sse_text data; /* of the event; each of its lines with LF */
    char type[64];              /* of the event */
    int begun;                  /* a line has come */
    int after_cr;               /* an LF that comes next is of the same line end */
};

/*
 * An event: its type, "" if it has none, and its data; both live until it
 * returns. Other than 0 ends agent_sse_feed(), which returns it.
 */
typedef int agent_sse_event(void *arg, const char *type, const char *data);

/* Appends bytes. -EMSGSIZE: then it had more than max; -ENOMEM. [any-thread] */
static inline int agent_sse_add(struct agent_sse_text *text, const char *bytes, size_t length,
                                size_t max)
{
    size_t room = text->room ? text->room : 128;
    char *data;

    if (text->length > max || length > max - text->length)
        return -EMSGSIZE;
    while (room <= text->length + length)
        room *= 2;
    if (room != text->room) {
        data = (char *)realloc(text->data, room);
        if (data == NULL)
            return -ENOMEM;
        text->data = data;
        text->room = room;
    }
    if (length > 0)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
    return 0;
}

/* ---- private ------------------------------------------------------------ */

/* The event is whole. */
static inline int sse_dispatch(struct agent_sse *sse, agent_sse_event *each, void *arg)
{
    int status = 0;

    if (sse->data.length > 0) {
        sse->data.data[sse->data.length - 1] = '\0';
        status = each(arg, sse->type, sse->data.data);
    }
    sse->data.length = 0;
    sse->type[0] = '\0';
    return status;
}

static inline int sse_take_field(struct agent_sse *sse, const char *name, size_t name_length,
                                 const char *value, size_t length)
{
    int status = 0;

    if (name_length == 4 && memcmp(name, "data", 4) == 0) {
        status = agent_sse_add(&sse->data, value, length, AGENT_SSE_MAX);
        if (status == 0)
            status = agent_sse_add(&sse->data, "\n", 1, AGENT_SSE_MAX + 1);
    } else if (name_length == 5 && memcmp(name, "event", 5) == 0) {
        length = length < sizeof sse->type ? length : sizeof sse->type - 1;
        memcpy(sse->type, value, length);
        sse->type[length] = '\0';
    }
    return status;
}

/* A comment is a field without a name. */
static inline int sse_take_line(struct agent_sse *sse, const char *line, size_t length,
                                agent_sse_event *each, void *arg)
{
    const char *colon, *value, *end;

    if (length == 0)
        return sse_dispatch(sse, each, arg);
    end = line + length;
    colon = (const char *)memchr(line, ':', length);
    if (colon == NULL)
        colon = end;
    value = colon < end ? colon + 1 : end;
    if (value < end && *value == ' ')
        value++;
    return sse_take_field(sse, line, (size_t)(colon - line), value, (size_t)(end - value));
}

static inline int sse_end_line(struct agent_sse *sse, agent_sse_event *each, void *arg)
{
    const char *line = sse->line.length > 0 ? sse->line.data : "";
    size_t length = sse->line.length, mark = 0;

    if (!sse->begun && length >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
        mark = 3;
    sse->begun = 1;
    sse->line.length = 0;
    return sse_take_line(sse, line + mark, length - mark, each, arg);
}

static inline const char *sse_line_end(const char *at, const char *end)
{
    while (at < end && *at != '\n' && *at != '\r')
        at++;
    return at;
}

/* ---- for authors -------------------------------------------------------- */

/*
 * Takes what came, and calls each(arg, ...) for each event that this completed.
 * To have the last one of a stream that ended without its empty line, feed
 * "\n\n". -EMSGSIZE: a line or an event has more than AGENT_SSE_MAX; -ENOMEM; or
 * what each() returned. After an error nothing may be fed any more. [any-thread]
 */
static inline int agent_sse_feed(struct agent_sse *sse, const char *data, size_t length,
                                 agent_sse_event *each, void *arg)
{
    const char *end = data + length, *stop;
    int status = 0;

    while (data < end && status == 0) {
        if (sse->after_cr && *data == '\n')
            data++;
        sse->after_cr = 0;
        stop = sse_line_end(data, end);
        status = agent_sse_add(&sse->line, data, (size_t)(stop - data), AGENT_SSE_MAX);
        data = stop;
        if (stop < end && status == 0) {
            sse->after_cr = *stop == '\r';
            data++;
            status = sse_end_line(sse, each, arg);
        }
    }
    return status;
}

/* Frees what it holds; it may be used for another stream then. [any-thread] */
static inline void agent_sse_finish(struct agent_sse *sse)
{
    free(sse->line.data);
    free(sse->data.data);
    memset(sse, 0, sizeof *sse);
}

#ifdef __cplusplus
}
#endif
#endif
