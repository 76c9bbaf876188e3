#ifndef SLUICE_BENCH_LOAD_OPTIONS_H
#define SLUICE_BENCH_LOAD_OPTIONS_H

#include "usage.h"

#include <stdbool.h>

/* What differs between the modes. */
struct load_mode {
    const char *name;
    bool ready_with_head; /* a stream counts as open with its head, not with its first event */
    bool ready_at_once;   /* nor with either */
    bool repeats;         /* a run that has ended is followed by another */
    bool steady;          /* no stream may end inside the window */
    bool leaves;          /* streams are not read to the end */
    long settle_ms;       /* unless told otherwise */
    long window_ms;       /* 0: from the first connection to the last stream's end */
};

struct load_options {
    const struct load_mode *mode;
    const char *path, *body;
    long port, expect, streams, ramp_ms, settle_ms, window_ms;
    long keep_alive, join; /* 0 or not */
    long period_us;        /* between two events of a stream, as the body says; or 0 */
    struct usage usage;
};

/* Exits with 2 if the arguments are wrong. */
void load_options_read(struct load_options *options, int argc, char **argv);

#endif
