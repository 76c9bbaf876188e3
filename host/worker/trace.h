/*
 * Where a thread is: a backtrace, told line by line as
 *
 *     #0 weather.so+0x1139 parse (weather.c:57)
 *
 * The offset is what addr2line and gdb take for that file. The function's name is from the
 * file's symbols; the line is there if the plugin was built with -g and addr2line(1) is installed.
 */
#ifndef WORKER_TRACE_H
#define WORKER_TRACE_H

#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#define TRACE_FRAMES 32

struct trace_frame {
    uintptr_t address; /* in the code; a call's, not the one after it */
    char line[160];    /* "file:line", "" if that is not known */
};

struct trace {
    struct trace_frame frames[TRACE_FRAMES];
    unsigned count;
    bool is_cut; /* there are more */
};

/* Get ready before the plugin in the file at `path` is loaded; file is what the operator calls
 * it. Not from a signal handler; the functions below may be called from one. */
void trace_open(const char *path, const char *file);

/* Take the frames of this thread as it was interrupted; without a context, from the plugin's on:
 * who called exit(). */
void trace_take(struct trace *trace, ucontext_t *context);

/* Look up the lines of the plugin's frames, for at most this time. */
void trace_find_lines(struct trace *trace, int most_ms);

/* Log the frames, down to the plugin's last one; run is an id, NULL for none. */
void trace_tell(const struct trace *trace, enum log_level level, const char *run);

/* Return the registers of a context; 0 on machines whose names for them are not known here. */
uintptr_t trace_pc(const ucontext_t *context);
uintptr_t trace_sp(const ucontext_t *context);

#endif
