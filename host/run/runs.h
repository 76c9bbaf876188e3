/*
 * All runs: found by id and by key of idempotency, kept for a while after their
 * end, and held within one budget of memory.
 *
 *   - What all readers of a run have read stays for readers that come back or come
 *     late: at most log_size bytes of a run, and while it is live at most its fair
 *     share of log_budget, but at least RUN_SHARE_LEAST. Beyond that the oldest
 *     events are dropped; who asks for them is told of the gap.
 *   - So the log of a run holds at most log_size + WIRE_WINDOW and its own two events,
 *     the first and `done`. Its memory may be up to four times that; the budget
 *     counts the memory, with the inputs of runs that the agent has not taken.
 *   - An ended run is forgotten after the retention, or earlier when all runs together
 *     take more than log_budget: the oldest of the client that keeps most. A live run
 *     never is.
 *   - No client holds more than its share (quota.h). Who would is refused what it
 *     asks for; who does because its runs go on loses the blocked reader that is
 *     furthest behind, until it does not.
 */
#ifndef RUN_RUNS_H
#define RUN_RUNS_H

#include "run/run.h"

#define RUN_SHARE_LEAST (16u * 1024)

struct runs_limits {
    uint64_t retention_ms;
    size_t log_size;
    size_t log_budget;
};

struct runs *runs_create(uv_loop_t *loop, const struct runs_limits *limits);

/* Set the limits for what happens from now on. */
void runs_set_limits(struct runs *runs, const struct runs_limits *limits);

/* Every run must have ended, and its subscribers must be gone. */
void runs_destroy(struct runs *runs);

/* Return the run with this id, or NULL. */
struct run *runs_find(const struct runs *runs, const char *id);

/*
 * Find the run with this id for whoever can wait: done() is called once, at once
 * or later, with NULL if there is no such run. The run is valid during the call.
 */
void runs_lookup(struct runs *runs, const char *id, void (*done)(void *data, struct run *run),
                 void *data);

/* Return the subject's run of the agent that was started with this key, or NULL. */
struct run *runs_find_key(const struct runs *runs, const char *subject, const char *agent,
                          const char *key);

/* Which runs of a client are to be listed. The texts must not be NULL unless it is said. */
struct runs_query {
    const char *client, *subject, *agent;
    const char *thread; /* NULL: any. That of a run without one is its id. */
    unsigned states;    /* bits, by enum run_state */
    uint64_t before;    /* only runs whose run_changed() is less */
    uint64_t age_ms;    /* only runs that live, or ended at most so long ago */
};

/* Runs of a client that are looked at to list some; the oldest beyond are not found. */
#define RUNS_LIST_MAX 10000

/*
 * List at most `most` runs, those whose state has changed last coming first, and return
 * their number; total counts all that are alike but for `before`. They are valid until the loop
 * goes on.
 */
unsigned runs_list(const struct runs *runs, const struct runs_query *query, struct run **out,
                   unsigned most, size_t *total);

/* Return a number that grows with each change of a run's state, among all runs. */
uint64_t run_changed(const struct run *run);

/*
 * Return the subject's run of the agent that began last in this thread, if it is live, or
 * NULL.
 */
struct run *runs_find_thread(const struct runs *runs, const char *subject, const char *agent,
                             const char *thread);

/* Return the number of runs that have not ended: all, and those of a client. */
size_t runs_live(const struct runs *runs);
unsigned runs_live_of(const struct runs *runs, const char *client);

/* Return the bytes that all clients take. */
size_t runs_memory(const struct runs *runs);

/*
 * Drop all that need not be kept, and readers of clients that hold more than their share.
 * Return true if the client may then hold this many bytes more. Not to be called while
 * readers are told of an event; runs to which the caller has no reference may be gone.
 */
bool runs_make_room(struct runs *runs, const char *client, size_t bytes);

/* Return true if one client takes everything that is taken. */
bool runs_has_one_client(const struct runs *runs);

/* Charge a client for what it has besides runs, such as a body; false if it has no room. */
bool runs_take(struct runs *runs, const char *client, size_t bytes);
void runs_give(struct runs *runs, const char *client, size_t bytes);

/* End all live runs as failed. */
void runs_fail_all(struct runs *runs, enum run_error error);

/* Charge the run's client for what a reader of the run keeps; false if there is no room. */
bool run_take_memory(struct run *run, size_t bytes);
void run_give_memory(struct run *run, size_t bytes);

#endif
