/*
 * A terminal and a pipe are polled. A file cannot be, but reading it never waits: it
 * is read at once.
 *
 * lines_ask() never calls take() itself: it starts `soon`, which takes a line of what
 * was read, or else reads or polls, and asks again.
 */
#include "cli/lines.h"

#include "base/buf.h"
#include "base/handles.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 4096

/* Maximum length of a line; a longer one is taken in pieces. */
#define LINE_MAX_SIZE (1024u * 1024)

struct lines {
    uv_poll_t poll;
    uv_idle_t soon; /* active while a line is asked for and not polled for */
    struct handles handles;
    bool polled;
    bool ended;
    struct buf read;
    void (*take)(void *data, const char *line);
    void *data;
};

/* Hand the first bytes over as a line, and drop this number of bytes. */
static void lines_give(struct lines *lines, size_t length, size_t drop)
{
    char *line = mem_alloc(length + 1);

    memcpy(line, buf_data(&lines->read), length);
    buf_consume(&lines->read, drop);
    lines->take(lines->data, line);
    free(line);
}

/* Hand over a line, or the end; return false if neither has been read. */
static bool lines_try(struct lines *lines)
{
    const char *text = buf_data(&lines->read);
    size_t length = buf_length(&lines->read);
    const char *end = length ? memchr(text, '\n', length) : NULL;

    if (end)
        lines_give(lines, (size_t)(end - text), (size_t)(end - text) + 1);
    else if (length > 0 && (lines->ended || length >= LINE_MAX_SIZE))
        lines_give(lines, length, length);
    else if (lines->ended)
        lines->take(lines->data, NULL);
    else
        return false;
    return true;
}

static void lines_read(struct lines *lines)
{
    ssize_t got = read(STDIN_FILENO, buf_reserve(&lines->read, READ_SIZE), READ_SIZE);

    if (got > 0)
        buf_commit(&lines->read, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        lines->ended = true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct lines *lines = poll->data;

    (void)status;
    (void)events;
    lines_read(lines);
    uv_poll_stop(poll);
    lines_ask(lines);
}

static void on_soon(uv_idle_t *idle)
{
    struct lines *lines = idle->data;

    uv_idle_stop(idle);
    if (lines_try(lines))
        return;
    if (lines->polled) {
        uv_poll_start(&lines->poll, UV_READABLE, on_readable);
        return;
    }
    lines_read(lines);
    lines_ask(lines);
}

void lines_ask(struct lines *lines)
{
    if (!lines->polled || !uv_is_active((uv_handle_t *)&lines->poll))
        uv_idle_start(&lines->soon, on_soon);
}

struct lines *lines_create(uv_loop_t *loop, void (*take)(void *data, const char *line), void *data)
{
    struct lines *lines = mem_alloc(sizeof *lines);
    int flags = fcntl(STDIN_FILENO, F_GETFL);

    lines->polled = uv_poll_init(loop, &lines->poll, STDIN_FILENO) == 0;
    if (flags >= 0) /* libuv made it non-blocking, and output to the same terminal with it */
        fcntl(STDIN_FILENO, F_SETFL, flags);
    uv_idle_init(loop, &lines->soon);
    lines->poll.data = lines->soon.data = lines;
    lines->take = take;
    lines->data = data;
    return lines;
}

static void on_closed(void *owner)
{
    struct lines *lines = owner;

    buf_finish(&lines->read);
    free(lines);
}

void lines_destroy(struct lines *lines)
{
    if (lines->polled)
        handles_close(&lines->handles, on_closed, lines, &lines->poll, NULL);
    handles_close(&lines->handles, on_closed, lines, &lines->soon, NULL);
}
