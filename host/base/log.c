#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static char log_role[32] = "sluice";
static char log_keys[160];
static enum log_level log_most = LOG_INFO;

void log_open(const char *role, const char *keys, enum log_level most)
{
    snprintf(log_role, sizeof log_role, "%s", role);
    snprintf(log_keys, sizeof log_keys, "%s%s", *keys ? " " : "", keys);
    log_most = most;
}

enum log_level log_limit(void)
{
    return log_most;
}

static size_t log_stamp(char *line, size_t size, enum log_level level)
{
    static const char *const names[] = {"fatal", "error", "plugin", "warn", "info", "debug"};
    struct timespec now;
    struct tm utc;
    size_t length;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    length = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    length += (size_t)snprintf(line + length, size - length, ".%03ldZ %s %s ",
                               now.tv_nsec / 1000000, names[level], log_role);
    return length;
}

/* Copies text, control bytes escaped; returns the new length of the line. */
static size_t log_escape(char *line, size_t length, size_t size, const char *text)
{
    for (; *text && length + 6 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != 0x7f)
            line[length++] = (char)c;
        else
            length += (size_t)snprintf(line + length, size - length, "\\x%02x", c);
    }
    return length;
}

void log_vline(enum log_level level, const char *format, va_list args)
{
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 512];
    size_t length;
    int saved = errno;

    if (level > log_most)
        return;
    vsnprintf(text, sizeof text, format, args);
    length = log_stamp(line, sizeof line, level);
    length = log_escape(line, length, sizeof line - sizeof log_keys, text);
    length = log_escape(line, length, sizeof line - 1, log_keys);
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, length) < 0) {
        /* Nowhere to say so. */
    }
    errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(level, format, args);
    va_end(args);
}

void log_fatal(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    log_vline(LOG_FATAL, format, args);
    va_end(args);
    abort();
}
