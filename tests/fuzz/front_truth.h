/*
 * The truth about each run: what was appended to its log, and what may end it. Whatever a
 * client is sent is compared with it.
 */
#ifndef TESTS_FUZZ_FRONT_TRUTH_H
#define TESTS_FUZZ_FRONT_TRUTH_H

#include "run/run.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fail, and say which law was broken. */
#define LAW(holds, words) ((holds) ? (void)0 : law_broken(words, __FILE__, __LINE__))

_Noreturn void law_broken(const char *words, const char *file, int line);

struct truth_event {
    char *type;
    char *json;
    size_t json_length;
};

struct truth {
    struct truth *next;
    const struct eventlog *log; /* NULL: it is gone */
    struct truth_event *events; /* the first has number 1 */
    size_t count;
    bool started;
    bool done;
    bool refused;     /* memory for a reader, so that its document is not whole */
    bool cancelled;   /* by a call of run_cancel() */
    bool must_cancel; /* a client got a question that ends the run */
    /* Ends that have a cause by now. */
    bool may_finish, may_fail, may_cancel;
    uint64_t drain_ms; /* when its worker's drain may end it; 0: never */
};

/* Forget all. */
void truth_reset(void);

/* Return the truth about the log of a run that is not yet forgotten. */
struct truth *truth_of(const struct eventlog *log);

/* A client got a question that its protocol cannot ask. */
void truth_must_cancel(struct truth *truth);

/* Check that each run is cancelled that must be by now. */
void truths_check(void);

#endif
