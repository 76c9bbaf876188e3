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
    /* Ends that have a cause by now. */
    bool may_finish, may_fail, may_cancel;
    uint64_t drain_ms; /* when its worker's drain may end it; 0: never */
};

/* Forget all. */
void truth_reset(void);

/* Return the truth about the log of a run that is not yet forgotten. */
struct truth *truth_of(const struct eventlog *log);

/* Check a frame of this number for a client that has all events before the first. */
void truth_check(const struct truth *truth, uint64_t first, uint64_t number, const char *type,
                 size_t type_length, const char *json, size_t json_length);

/* Check the document of a run that has ended; status 0: sent as a stream. */
void truth_check_document(const struct truth *truth, unsigned status, const struct buf *document);

#endif
