/*
 * What create() and selftest() wait with. They are in no run, but may send requests: a
 * plugin that proves that its model answers is not swapped in when it does not.
 */
#ifndef WORKER_LOADING_H
#define WORKER_LOADING_H

#include <stdint.h>

struct loading;

/*
 * From now on this thread's requests outside of runs may wait, until that time of clock_now(),
 * or NEVER: then they fail with -ECANCELED, so that the plugin is refused in its own words
 * and not killed by a front that has waited for too long.
 */
struct loading *loading_begin(uint64_t deadline);

/* Close what is still open. */
void loading_end(struct loading *loading);

#endif
