/*
 * The end of the log: a descriptor, and a queue of lines that it has not taken yet.
 * Writing never waits for whoever reads the descriptor. The queue is bounded; a line that
 * finds it full is refused, for the caller to count.
 */
#ifndef BASE_LOG_SINK_H
#define BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_SINK_QUEUE ((size_t)256 * 1024)

struct log_sink;

/* Make the sink of a descriptor, which stays the caller's. NULL if there is no memory. */
struct log_sink *log_sink_create(int fd);

/*
 * Write the line or queue it; return false if it is lost. An urgent line finds a place,
 * of LOG_LINE_MAX bytes in all, where others do not.
 */
bool log_sink_write(struct log_sink *sink, const char *line, size_t length, bool is_urgent);

/* Write what is queued, as far as the descriptor takes it. */
void log_sink_flush(struct log_sink *sink);

/* The same, but wait for the descriptor, for at most wait_ms in all. */
void log_sink_wait(struct log_sink *sink, int wait_ms);

/* Return how many bytes are queued. */
size_t log_sink_backlog(const struct log_sink *sink);

void log_sink_destroy(struct log_sink *sink);

#endif
