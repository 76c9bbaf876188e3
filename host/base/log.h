/*
 * The log: each fact is one line on standard error.
 *
 *     2026-01-31T12:00:00.123Z info front worker is ready plugin=echo pid=4711
 *
 * The level "plugin" means that a plugin misbehaved. Control bytes are written
 * as \xNN, so that foreign text cannot forge a line. Each line is one write().
 * Any thread may log.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_FATAL, LOG_ERROR, LOG_PLUGIN, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* role is "front" or "worker"; keys end each line; both are copied. */
void log_open(const char *role, const char *keys, enum log_level most);
enum log_level log_limit(void);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);
__attribute__((format(printf, 2, 0))) void log_vline(enum log_level level, const char *format,
                                                     va_list args);

/* Log and abort. */
__attribute__((noreturn, format(printf, 1, 2))) void log_fatal(const char *format, ...);

#define log_error(...)  log_line(LOG_ERROR, __VA_ARGS__)
#define log_plugin(...) log_line(LOG_PLUGIN, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)   log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_DEBUG, __VA_ARGS__)

#endif
