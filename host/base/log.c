/*
 * Log lines are written in a convention: a sentence, then keys with values. The format of
 * a call, "worker ready plugin=%s pid=%d", tells the two apart whatever the values hold.
 * In JSON and in records each key is therefore split off by its place in the format:
 *
 *   1. find where the format's tail of " name=%…" begins;
 *   2. print the format up to each of its keys, which gives the key's place in the
 *      whole text.
 *
 * How lines are lost: base/log_sink.h refuses a line if its queue is full. Once a line is
 * lost, no other is queued until half of the queue is free again; the next one is then
 * "log lines lost". So it stands at the place of what is missing.
 */
#include "base/log.h"

#include "base/log_sink.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORMAT_MAX 512

/* How long a line before abort() may take to get out. */
#define FATAL_MS 500

/* How long log_tell_now() may wait for its reader. */
#define NOW_MS 200

static char log_role[32] = "sluice";
static char log_keys[160];
static _Atomic enum log_level log_most = LOG_INFO;
static int log_socket = -1; /* a worker's */

/* The front's. The lock guards all but whether there is a sink, which changes before there are
 * threads, and after. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_sink *log_sink;
static enum log_format log_format;
static uint64_t lost, lost_and_told;
static char log_buffer[LOG_LINE_MAX];

void log_open(const char *role, const char *keys, enum log_level most)
{
    snprintf(log_role, sizeof log_role, "%s", role);
    snprintf(log_keys, sizeof log_keys, "%s", keys);
    log_most = most;
}

enum log_level log_limit(void)
{
    return log_most;
}

void log_set(enum log_level most, enum log_format format)
{
    pthread_mutex_lock(&log_lock);
    log_most = most;
    log_format = format;
    pthread_mutex_unlock(&log_lock);
}

/* ---- the front's ---- */

/* Locked. */
static bool sink_tell(const struct log_fact *fact, bool is_urgent)
{
    size_t length = log_format == LOG_JSON ? log_fact_json(fact, log_buffer, sizeof log_buffer)
                                           : log_fact_text(fact, log_buffer, sizeof log_buffer);

    return log_sink_write(log_sink, log_buffer, length, is_urgent);
}

/* Say how many lines were lost, if there is room again. Return true if none is untold. Locked. */
static bool sink_tell_lost(void)
{
    static const char message[] = "log lines lost, because standard error was not read";
    struct log_fact fact = {
        .level = LOG_WARN, .module = log_role, .message = message, .length = strlen(message)};
    char count[24];

    if (lost == lost_and_told)
        return true;
    log_sink_flush(log_sink);
    if (log_sink_backlog(log_sink) > LOG_SINK_QUEUE / 2)
        return false;
    snprintf(count, sizeof count, "%llu", (unsigned long long)(lost - lost_and_told));
    log_fact_add(&fact, "lines", count, true);
    if (!sink_tell(&fact, false))
        return false;
    lost_and_told = lost;
    return true;
}

void log_detach(void)
{
    log_sink = log_sink_create(STDERR_FILENO);
}

void log_flush(void)
{
    pthread_mutex_lock(&log_lock);
    if (log_sink) {
        log_sink_flush(log_sink);
        sink_tell_lost();
    }
    pthread_mutex_unlock(&log_lock);
}

uint64_t log_lost(void)
{
    uint64_t lines;

    pthread_mutex_lock(&log_lock);
    lines = lost;
    pthread_mutex_unlock(&log_lock);
    return lines;
}

void log_close(int wait_ms)
{
    pthread_mutex_lock(&log_lock);
    if (log_sink) {
        log_sink_wait(log_sink, wait_ms);
        sink_tell_lost();
        log_sink_destroy(log_sink);
        log_sink = NULL;
    }
    pthread_mutex_unlock(&log_lock);
}

/* ---- where a fact goes ---- */

void log_send_to(int fd)
{
    log_socket = fd;
}

static void log_write_text(const struct log_fact *fact)
{
    char line[LOG_MESSAGE_MAX + 1024];

    if (write(STDERR_FILENO, line, log_fact_text(fact, line, sizeof line)) < 0)
        return; /* and nowhere to say so */
}

/* Return false if the front cannot be told. */
static bool log_send(const struct log_fact *fact)
{
    char record[LOG_MESSAGE_MAX + 1024];
    size_t length = log_fact_pack(fact, record, sizeof record);
    ssize_t sent;

    do
        sent = send(log_socket, record, length, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

void log_tell(const struct log_fact *fact)
{
    bool is_urgent = fact->level == LOG_FATAL;

    if (log_socket >= 0 && log_send(fact))
        return;
    if (log_sink == NULL) {
        log_write_text(fact);
        return;
    }
    pthread_mutex_lock(&log_lock);
    if ((!sink_tell_lost() && !is_urgent) || !sink_tell(fact, is_urgent))
        lost++;
    if (is_urgent)
        log_sink_wait(log_sink, FATAL_MS);
    pthread_mutex_unlock(&log_lock);
}

void log_tell_now(enum log_level level, const char *text, size_t length, const char *run)
{
    struct log_fact fact = {
        .level = level, .module = log_role, .message = text, .length = length, .is_bare = true};
    struct pollfd ready = {.fd = log_socket >= 0 ? log_socket : STDERR_FILENO, .events = POLLOUT};
    char line[2048];
    ssize_t written;

    if (level > log_most)
        return;
    if (run && log_socket >= 0)
        log_fact_add(&fact, "run", run, false);
    poll(&ready, 1, NOW_MS);
    written = log_socket >= 0 ? send(log_socket, line, log_fact_pack(&fact, line, sizeof line),
                                     MSG_NOSIGNAL | MSG_DONTWAIT)
                              : write(STDERR_FILENO, line, log_fact_text(&fact, line, sizeof line));
    (void)written; /* and nowhere to say so */
}

/* ---- the keys of a format ---- */

/* Return the length of a " name=%…" at the start of the format, or 0. The name may be a %s. */
static size_t key_length(const char *format)
{
    const char *at = format + 1;

    if (*format != ' ')
        return 0;
    if (strncmp(at, "%s=", 3) == 0)
        at += 2;
    while (islower((unsigned char)*at) || *at == '_')
        at++;
    if (at == format + 1 || at[0] != '=' || at[1] != '%')
        return 0;
    at += 2;
    at += strspn(at, "*.0123456789hlzjt");
    if (*at == '\0' || strchr("sdiu", *at) == NULL || (at[1] != ' ' && at[1] != '\0'))
        return 0;
    return (size_t)(at + 1 - format);
}

/* Find the places in the format of the keys at its end; return their number. */
static size_t find_keys(const char *format, size_t places[LOG_KEYS_MAX + 1])
{
    size_t count = 0, end = strlen(format);

    if (end >= FORMAT_MAX)
        return 0;
    for (const char *at = strchr(format, ' '); at;) {
        size_t length = key_length(at);
        if (length == 0 || count == LOG_KEYS_MAX) {
            count = 0;
            at = strchr(at + 1, ' ');
        } else {
            places[count++] = (size_t)(at - format);
            at = at[length] ? at + length : NULL;
        }
    }
    places[count] = end;
    return count;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
/* Return where in the printed text the format's first `length` bytes end. */
static size_t place_in_text(const char *format, size_t length, va_list args)
{
    char start[FORMAT_MAX];
    va_list copy;
    int place;

    memcpy(start, format, length);
    start[length] = '\0';
    va_copy(copy, args);
    place = vsnprintf(NULL, 0, start, copy);
    va_end(copy);
    return place < 0 ? 0 : (size_t)place;
}
#pragma GCC diagnostic pop

/* Split the printed text into message and keys. */
static void fact_split(struct log_fact *fact, const char *format, va_list args)
{
    size_t places[LOG_KEYS_MAX + 1], count = find_keys(format, places);
    size_t length = fact->length, at;

    if (count == 0)
        return;
    at = place_in_text(format, places[0], args);
    if (at > length)
        return;
    fact->length = at;
    for (size_t i = 0; i < count; i++) {
        size_t end = place_in_text(format, places[i + 1], args);
        const char *name = fact->message + at + 1, *equals;
        if (end > length)
            end = length;
        if (end <= at + 1 || !(equals = memchr(name, '=', end - at - 1)))
            return;
        fact->keys[fact->key_count++] =
            (struct log_key){.name = name,
                             .name_length = (size_t)(equals - name),
                             .value = equals + 1,
                             .length = (size_t)(fact->message + end - equals - 1),
                             .is_number = format[places[i + 1] - 1] != 's'};
        at = end;
    }
}

/* ---- lines ---- */

void log_vline(enum log_level level, const char *format, va_list args)
{
    char text[LOG_MESSAGE_MAX];
    struct log_fact fact = {.level = level, .module = log_role, .message = text};
    int saved = errno;
    va_list copy;

    if (level > log_most)
        return;
    va_copy(copy, args);
    vsnprintf(text, sizeof text, format, copy);
    va_end(copy);
    fact.length = strlen(text);
    if (log_sink || log_socket >= 0)
        fact_split(&fact, format, args);
    log_fact_add_text(&fact, log_keys);
    log_tell(&fact);
    errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}

void log_say(enum log_level level, const char *format, ...)
{
    char text[LOG_MESSAGE_MAX];
    struct log_fact fact = {.level = level, .module = log_role, .message = text, .is_bare = true};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fact.length = strlen(text);
    log_tell(&fact);
}

void log_fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(LOG_FATAL, format, args);
    va_end(args);
    abort();
}
