/*
 * The log: each fact is one line on standard error.
 *
 *     2026-01-31T12:00:00.123Z info front worker ready plugin=echo pid=4711
 *
 * The level "plugin" means that a plugin misbehaved. base/log_fact.h has the shapes of a
 * line and says what becomes of foreign text. Any thread may log.
 *
 * Three kinds of processes log in three ways:
 *
 *     subcommands   each line is one write(2), which may wait for its reader
 *     the front     log_detach(): it never waits; lines that standard error does not take
 *                   are queued, or lost and counted
 *     a worker      log_send_to(): each line is a record, which the front logs for it
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/log_fact.h"

#include <stdarg.h>
#include <stdint.h>

enum log_format { LOG_TEXT, LOG_JSON };

/* role is "front" or "worker"; keys, as in "plugin=echo generation=1", end each line; both are
 * copied. */
void log_open(const char *role, const char *keys, enum log_level most);

enum log_level log_limit(void);
void log_set(enum log_level most, enum log_format format);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);
__attribute__((format(printf, 2, 0))) void log_vline(enum log_level level, const char *format,
                                                     va_list args);

/* Log and abort. */
__attribute__((noreturn, format(printf, 1, 2))) void log_fatal(const char *format, ...);

/* Log a fact, of any module. */
void log_tell(const struct log_fact *fact);

/*
 * Log from inside a signal handler, when the process is in any state: without locks and
 * allocation, waiting for the reader for a short time only. run is an id, NULL for none. On
 * standard error the line is a bare one, without it: "sluice: …". Not for the front.
 */
void log_tell_now(enum log_level level, const char *text, size_t length, const char *run);

/* Say something to people who start the server: in text, a line "sluice: …" without time and
 * level. It is said whatever log_limit() is. */
__attribute__((format(printf, 2, 3))) void log_say(enum log_level level, const char *format, ...);

#define log_error(...)  log_line(LOG_ERROR, __VA_ARGS__)
#define log_plugin(...) log_line(LOG_PLUGIN, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)   log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_DEBUG, __VA_ARGS__)

/* ---- the front's ---- */

/* Never wait for the reader of standard error from now on. Call log_flush() every now and then. */
void log_detach(void);

/* Write what is queued, as far as it goes, and tell how many lines were lost. */
void log_flush(void);

/* Return how many lines were ever lost. */
uint64_t log_lost(void);

/* Write what is queued, for at most wait_ms; then log as subcommands do. */
void log_close(int wait_ms);

/* ---- a worker's ---- */

/* Send lines to this socket, which keeps messages apart; in vain, to standard error. */
void log_send_to(int fd);

#endif
