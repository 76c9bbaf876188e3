/*
 * The standard output of `sluice run`: the stream of a run, or its text. It belongs to the stream
 * alone: what the plugin and its children print goes to standard error.
 */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include "run/event.h"

#include <stdbool.h>

struct terminal;

/* text: print the run's text in place of its stream. */
struct terminal *terminal_open(bool text);

/* Print the event; it is written by terminal_flush(). */
void terminal_print(struct terminal *terminal, const struct run_identity *run,
                    const struct event *event);

/* If nobody reads any longer, end the process as SIGPIPE does. */
void terminal_flush(struct terminal *terminal);

/* Return 0, or the first -errno of a write. */
int terminal_close(struct terminal *terminal);

/* ---- of a crash, from a signal handler; after the last terminal_flush() ---- */

void terminal_rescue(struct terminal *terminal, const struct run_identity *run,
                     const struct event *event);

/* Print the event that ends a failed run; the message is ASCII. */
void terminal_rescue_end(struct terminal *terminal, const struct run_identity *run,
                         uint64_t sequence, const char *message);

#endif
