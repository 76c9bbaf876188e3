/*
 * In a crash nothing may be allocated, so events are then encoded into static memory that takes
 * any.
 */
#include "cli/terminal.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/native.h"
#include "wire/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a crash waits for a reader that does not read. */
#define RESCUE_MS 500

struct terminal {
    FILE *out;
    bool text;
    int status;        /* the first -errno */
    struct buf frames; /* kept from one event to the next */
};

struct terminal *terminal_open(bool text)
{
    struct terminal *terminal = mem_alloc(sizeof *terminal);
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

    terminal->text = text;
    terminal->out = fd < 0 ? NULL : fdopen(fd, "w");
    if (terminal->out == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        log_fatal("standard output: %s", strerror(errno));
    setvbuf(stdout, NULL, _IOLBF, 0); /* each line of the plugin's at its time */
    return terminal;
}

void terminal_print(struct terminal *terminal, const struct run_identity *run,
                    const struct event *event)
{
    if (!terminal->text)
        encoder_native.event(NULL, &(struct encoding){.run = run}, event, &terminal->frames);
    else if (event_is(event, "text"))
        json_member_text(event->json, event->json_length, "delta", &terminal->frames);
}

void terminal_flush(struct terminal *terminal)
{
    struct buf *frames = &terminal->frames;

    if (buf_length(frames) > 0)
        fwrite(buf_data(frames), 1, buf_length(frames), terminal->out);
    buf_consume(frames, buf_length(frames));
    if (fflush(terminal->out) != EOF)
        return;
    if (errno == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (terminal->status == 0)
        terminal->status = -errno;
}

int terminal_close(struct terminal *terminal)
{
    int status = terminal->status;

    fclose(terminal->out);
    buf_finish(&terminal->frames);
    free(terminal);
    return status;
}

/* ---- of a crash ---- */

static void write_now(const struct terminal *terminal, const char *data, size_t length)
{
    struct pollfd room = {.fd = fileno(terminal->out), .events = POLLOUT};

    while (length > 0 && poll(&room, 1, RESCUE_MS) > 0) {
        /* Not more than a pipe that is writable takes. */
        ssize_t written = write(room.fd, data, length < 512 ? length : 512);
        if (written < 0 && errno != EINTR)
            return;
        data += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
}

void terminal_rescue(struct terminal *terminal, const struct run_identity *run,
                     const struct event *event)
{
    static char space[WIRE_EVENT_MAX + 1024];
    struct buf frame = {.base = space, .capacity = sizeof space};

    if (!terminal->text)
        encoder_native.event(NULL, &(struct encoding){.run = run}, event, &frame);
    else if (event_is(event, "text"))
        json_member_text(event->json, event->json_length, "delta", &frame);
    write_now(terminal, buf_data(&frame), buf_length(&frame));
}

void terminal_rescue_end(struct terminal *terminal, const struct run_identity *run,
                         uint64_t sequence, const char *message)
{
    static const char before[] =
        "{\"status\":\"failed\",\"error\":{\"code\":\"worker_crashed\",\"message\":\"";
    static const char after[] = "\"}}";
    char json[2048], *to = json;
    struct event event = {
        .sequence = sequence, .type = "done", .type_length = strlen("done"), .json = json};

    memcpy(to, before, strlen(before));
    to += strlen(before);
    to += json_escape(to, message, strlen(message));
    memcpy(to, after, strlen(after));
    event.json_length = (size_t)(to + strlen(after) - json);
    terminal_rescue(terminal, run, &event);
}
