/*
 * The reader of server-sent events.
 *
 * Bytes are collected in sse->line until a line end. A complete line is one of
 *
 *     empty           the event is complete: it is given to each(), if it has data
 *     data: VALUE     VALUE and LF are appended to sse->data; the last LF is cut
 *                     before the event is given out
 *     event: VALUE    becomes sse->type, cut to its size
 *     anything else   skipped, or given to sse->other(); a comment is a field with an empty name
 *
 * A CR ends a line at once, as an LF may never come. after_cr remembers the CR, so
 * that an LF which begins the next piece is skipped and does not end an empty line.
 */
#include "agent_sse.h"

int agent_sse_add(struct agent_sse_text *text, const char *bytes, size_t length, size_t max)
{
    size_t room = text->room ? text->room : 128;
    char *data;

    if (text->length > max || length > max - text->length)
        return -EMSGSIZE;
    while (room <= text->length + length)
        room *= 2;
    if (room != text->room) {
        data = realloc(text->data, room);
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

/* Give out the event, if it has data, and begin the next one. */
static int dispatch(struct agent_sse *sse, agent_sse_event *each, void *arg)
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

static size_t limit(const struct agent_sse *sse)
{
    return sse->max ? sse->max : AGENT_SSE_MAX;
}

/* Return 1 if the line is a field that a reader ignores. */
static int is_known(const char *line, size_t name_length)
{
    return (name_length == 2 && memcmp(line, "id", 2) == 0) ||
           (name_length == 5 && memcmp(line, "retry", 5) == 0);
}

/* Take the line that is complete, whatever it is. */
static int end_line(struct agent_sse *sse, agent_sse_event *each, void *arg)
{
    const char *line = sse->line.length > 0 ? sse->line.data : "", *end = line + sse->line.length;
    const char *colon, *value;
    size_t length;
    int status = 0;

    if (!sse->begun && end - line >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0)
        line += 3;
    sse->begun = 1;
    sse->line.length = 0;
    if (line == end)
        return dispatch(sse, each, arg);

    colon = memchr(line, ':', (size_t)(end - line));
    if (colon == NULL)
        colon = end;
    value = colon < end ? colon + 1 : end;
    if (value < end && *value == ' ')
        value++;
    length = (size_t)(end - value);
    if (colon - line == 4 && memcmp(line, "data", 4) == 0) {
        status = agent_sse_add(&sse->data, value, length, limit(sse));
        if (status == 0)
            status = agent_sse_add(&sse->data, "\n", 1, limit(sse) + 1);
    } else if (colon - line == 5 && memcmp(line, "event", 5) == 0) {
        if (length >= sizeof sse->type)
            length = sizeof sse->type - 1;
        memcpy(sse->type, value, length);
        sse->type[length] = '\0';
    } else if (sse->other && !is_known(line, (size_t)(colon - line))) {
        status = sse->other(arg, line);
    }
    return status;
}

int agent_sse_feed(struct agent_sse *sse, const char *data, size_t length, agent_sse_event *each,
                   void *arg)
{
    const char *end = data + length, *stop;
    int status = 0;

    while (data < end && status == 0) {
        if (sse->after_cr && *data == '\n')
            data++;
        sse->after_cr = 0;
        for (stop = data; stop < end && *stop != '\n' && *stop != '\r';)
            stop++;
        status = agent_sse_add(&sse->line, data, (size_t)(stop - data), limit(sse));
        data = stop;
        if (stop < end && status == 0) {
            sse->after_cr = *stop == '\r';
            data++;
            status = end_line(sse, each, arg);
        }
    }
    return status;
}

void agent_sse_finish(struct agent_sse *sse)
{
    free(sse->line.data);
    free(sse->data.data);
    memset(sse, 0, sizeof *sse);
}
