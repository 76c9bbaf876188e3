/*
 * Whether a write waits is a property of the open file description, which standard error
 * shares with those who started this process: a shell, or `2>&1 | tee`. O_NONBLOCK set
 * there would break their writes. So it depends on what the descriptor is:
 *
 *     file              written as it is: nobody reads it, so nobody can stop it
 *     socket            send() with MSG_DONTWAIT, which concerns one call; journald's
 *     pipe, terminal,   opened again through /proc, which makes a description of our own,
 *     other device      with O_NONBLOCK
 *     one of those that
 *     may not be opened poll(), then a piece that fits: PIPE_BUF bytes go into a pipe that
 *     again             is writable without waiting (pipe(7)). Another process may take the
 *                       place in between; only then a write could wait
 *
 * The queue is a ring of bytes. A line that goes out in part leaves its rest there, so
 * lines stay whole and in order.
 */
#include "base/log_sink.h"

#include "base/log_fact.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING_SIZE (LOG_SINK_QUEUE + LOG_LINE_MAX)

/* Bytes that a writable terminal takes without waiting; the kernel's WAKEUP_CHARS. */
#define TERMINAL_PIECE 256

struct log_sink {
    int fd;
    int own_fd; /* fd, opened again; or -1 */
    bool is_socket;
    size_t piece; /* to write at a time after a poll(); 0: a write never waits */
    size_t start, length;
    char ring[RING_SIZE];
};

static int open_again(int fd)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

struct log_sink *log_sink_create(int fd)
{
    struct log_sink *sink = malloc(sizeof *sink);
    struct stat status;

    if (sink == NULL)
        return NULL;
    *sink = (struct log_sink){.fd = fd, .own_fd = -1};
    if (fstat(fd, &status) < 0 || S_ISREG(status.st_mode))
        return sink;
    sink->is_socket = S_ISSOCK(status.st_mode);
    if (sink->is_socket)
        return sink;
    sink->own_fd = open_again(fd);
    if (sink->own_fd >= 0)
        sink->fd = sink->own_fd;
    else
        sink->piece = S_ISFIFO(status.st_mode) ? PIPE_BUF : TERMINAL_PIECE;
    return sink;
}

/* Write some of it without waiting; return the bytes, or -1 with errno. */
static ssize_t sink_put(const struct log_sink *sink, const char *data, size_t length)
{
    struct pollfd room = {.fd = sink->fd, .events = POLLOUT};

    if (sink->is_socket)
        return send(sink->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->piece == 0)
        return write(sink->fd, data, length);
    if (poll(&room, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(sink->fd, data, length < sink->piece ? length : sink->piece);
}

static bool must_try_again(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

/* Write as much as goes; return what is left, 0 also if the rest is lost. */
static size_t sink_put_all(const struct log_sink *sink, const char *data, size_t length,
                           bool *is_lost)
{
    *is_lost = false;
    while (length > 0) {
        ssize_t written = sink_put(sink, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            *is_lost = !must_try_again();
            return *is_lost ? 0 : length;
        }
        data += written;
        length -= (size_t)written;
    }
    return 0;
}

void log_sink_flush(struct log_sink *sink)
{
    while (sink->length > 0) {
        size_t run = RING_SIZE - sink->start, left;
        bool is_lost;
        if (run > sink->length)
            run = sink->length;
        left = sink_put_all(sink, sink->ring + sink->start, run, &is_lost);
        sink->start = (sink->start + run - left) % RING_SIZE;
        sink->length -= run - left;
        if (left > 0)
            return;
    }
}

static void sink_queue(struct log_sink *sink, const char *data, size_t length)
{
    size_t at = (sink->start + sink->length) % RING_SIZE;
    size_t run = length < RING_SIZE - at ? length : RING_SIZE - at;

    memcpy(sink->ring + at, data, run);
    memcpy(sink->ring, data + run, length - run);
    sink->length += length;
}

bool log_sink_write(struct log_sink *sink, const char *line, size_t length, bool is_urgent)
{
    size_t most = is_urgent ? RING_SIZE : LOG_SINK_QUEUE, left = length;
    bool is_lost = false;

    log_sink_flush(sink);
    if (sink->length == 0)
        left = sink_put_all(sink, line, length, &is_lost);
    if (is_lost || (left == length && sink->length + left > most))
        return false;
    sink_queue(sink, line + length - left, left);
    return true;
}

void log_sink_wait(struct log_sink *sink, int wait_ms)
{
    uint64_t until = clock_now() + (uint64_t)wait_ms * CLOCK_MS, now;

    log_sink_flush(sink);
    while (sink->length > 0 && (now = clock_now()) < until) {
        struct pollfd room = {.fd = sink->fd, .events = POLLOUT};
        if (poll(&room, 1, (int)((until - now) / CLOCK_MS) + 1) > 0)
            log_sink_flush(sink);
    }
}

size_t log_sink_backlog(const struct log_sink *sink)
{
    return sink->length;
}

void log_sink_destroy(struct log_sink *sink)
{
    if (sink == NULL)
        return;
    if (sink->own_fd >= 0)
        close(sink->own_fd);
    free(sink);
}
