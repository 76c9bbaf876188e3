/*
 * The runs of one worker process, by the numbers they have on its link. A
 * number is free again only after the worker has reported the run's end, so
 * that a late frame cannot hit another run. A plain struct: zeroed is empty.
 */
#ifndef FLEET_PROCESS_RUNS_H
#define FLEET_PROCESS_RUNS_H

#include "run/run.h"

#include <stdbool.h>
#include <stdint.h>

struct process_runs {
    struct run **taken; /* by number; NULL is free */
    uint32_t capacity;
    uint32_t *free; /* a stack of numbers */
    uint32_t free_count;
    uint32_t live;
};

/* Give the run a number. */
uint32_t process_runs_add(struct process_runs *runs, struct run *run);
void process_runs_remove(struct process_runs *runs, uint32_t number);

/* Return the run with this number, or NULL. */
struct run *process_runs_find(const struct process_runs *runs, uint32_t number);

/* End the runs for their readers, and have their agents stop. Return the number of those runs. */
unsigned process_runs_abort(const struct process_runs *runs, enum run_error error);

/* Return true if all agents that are left ignore that they were asked to stop. */
bool process_runs_are_given_up(const struct process_runs *runs);

/*
 * End the runs with this error, as their worker has ended; the reason is for people. If it was
 * the culprit that ended it, the others are told so. NULL: it was none of them.
 */
void process_runs_fail(const struct process_runs *runs, enum run_error error,
                       const struct run *culprit, const char *reason);

/* Return the ids of some, the culprit's first, with ',' between them, "-" for none; to be freed. */
char *process_runs_list(const struct process_runs *runs, const struct run *culprit);

void process_runs_finish(struct process_runs *runs);

#endif
