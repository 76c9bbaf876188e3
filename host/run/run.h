/*
 * A run: its identity, its state, its event log, and who reads it. The one
 * place where states change.
 *
 *     queued ──► running ⇄ waiting ──► finished | failed | cancelled
 *
 * Every run ends once, with one `done` event, whatever happens to its worker.
 *
 * What is kept of a run's events, and for whom:
 *
 *   - What a subscriber has not read is never dropped. Unread events cost the
 *     run's credit (wire.h), of which there is WIRE_WINDOW: an agent whose
 *     slowest reader is so far behind waits, and goes on when a piece of it
 *     has been read.
 *   - What all subscribers have read stays for those who come back or come
 *     late: at most log_size bytes of a run, and while it is live at most
 *     its fair share of log_budget, but at least RUN_SHARE_LEAST. Beyond that
 *     the oldest events are dropped, and who asks for them is told of the gap.
 *   - So the log of a run holds at most log_size + WIRE_WINDOW, what was read of
 *     an event if that is more than log_size, and one `done`. Its memory may be up
 *     to four times what it holds; that is what the budget counts, with the
 *     inputs of queued runs.
 *   - An ended run is forgotten after the retention, or before, the oldest
 *     first, when all runs together take more than log_budget. A live one
 *     never is; instead no new run starts while there is no room.
 *
 * What ends a run besides its agent: its deadline, its last subscriber's
 * leaving (linger), a cancellation. A cancelled agent that does not stop within
 * its grace is taken for one that ignores it: its run ends for all readers, and
 * its executor is told.
 *
 * Runs are counted references: the table holds one until the run is forgotten,
 * the executor one until it has reported the end, each subscriber one.
 */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "base/digest.h"
#include "base/time.h"
#include "run/eventlog.h"
#include "run/request.h"
#include "wire/frames.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define RUN_SHARE_LEAST (16u * 1024)

/* Inputs that the agent has not taken yet: so many, then further ones are refused. */
#define RUN_INPUTS_MAX 8

/* state, is an end */
#define RUN_STATES(X) \
    X(queued, false)  \
    X(running, false) \
    X(waiting, false) \
    X(finished, true) \
    X(failed, true)   \
    X(cancelled, true)

enum run_state {
#define X(name, is_end) RUN_##name,
    RUN_STATES(X)
#undef X
};

/* Why the host ends a run as failed: the code on the wire, and words for people. */
#define RUN_ERRORS(X)                                                                   \
    X(worker_crashed, "the agent's worker process died")                                \
    X(worker_stuck, "the agent's worker process did not answer any more")               \
    X(deadline, "the run took longer than its deadline allows")                         \
    X(drain_timeout, "the agent did not end in the time that its old version had left") \
    X(memory_limit, "the agent's worker process used too much memory")                  \
    X(unavailable, "the agent cannot be started")                                       \
    X(shutdown, "the server is stopping")

enum run_error {
#define X(name, words) RUN_ERROR_##name,
    RUN_ERRORS(X)
#undef X
};

struct run;

/* One that reads a run. Embedded in what it is part of; see run_subscribe(). */
struct subscriber {
    /* There is more to read. It may read, and unsubscribe itself. */
    void (*appended)(struct subscriber *self);
    struct run *run;
    struct log_cursor cursor;       /* before the first event that it has not read */
    TAILQ_ENTRY(subscriber) in_run; /* in run->subscribers */
};

/* What executes runs, told in the front's own words: see process.h. */
struct executor {
    void (*cancel)(void *data, uint32_t number);
    void (*credit)(void *data, uint32_t number, uint32_t bytes);
    /* -EAGAIN if it cannot take it now. */
    int (*input)(void *data, uint32_t number, const char *json, size_t length);
    /* The run has ended, but its agent ignores that it was cancelled. */
    void (*ignored)(void *data, uint32_t number);
};

/* Who will execute a run, as the run's first event and GET /runs/{id} say it. */
struct run_agent {
    const char *name;
    const char *version;
    uint64_t generation;
};

/* The code, as clients see it. */
const char *run_error_code(enum run_error error);

/* ---- all runs ---- */

struct runs;

struct runs_limits {
    uint64_t retention_ms;
    size_t log_size;
    size_t log_budget;
};

struct runs *runs_create(uv_loop_t *loop, const struct runs_limits *limits);

/* For what happens from now on. */
void runs_set_limits(struct runs *runs, const struct runs_limits *limits);

/* Needs every run to have ended and its subscribers to be gone. */
void runs_destroy(struct runs *runs);

/* The run with this id, or NULL. */
struct run *runs_find(const struct runs *runs, const char *id);

/*
 * Find the run with this id for whoever can wait: done() is called once, at once
 * or later, with NULL if there is no such run. The run is valid during the call.
 */
void runs_lookup(struct runs *runs, const char *id, void (*done)(void *data, struct run *run),
                 void *data);

/* The subject's run of the agent that was started with this key of idempotency, or NULL. */
struct run *runs_find_key(const struct runs *runs, const char *subject, const char *agent,
                          const char *key);

/* Runs that have not ended. */
size_t runs_live(const struct runs *runs);
unsigned runs_live_of(const struct runs *runs, const char *client);

/* Bytes that all runs that are known take. */
size_t runs_memory(const struct runs *runs);

/* Whether the budget allows one more, now that all that need not be kept is dropped. */
bool runs_make_room(struct runs *runs);

/* Ends all that are live as failed. */
void runs_fail_all(struct runs *runs, enum run_error error);

/* ---- one run ---- */

/*
 * Queue a run; the reference is the caller's. Empties the request's vars. -errno
 * if there is no randomness for its id.
 */
int run_create(struct runs *runs, struct run_request *request, struct run **out);

struct run *run_ref(struct run *run);
void run_unref(struct run *run);

const char *run_id(const struct run *run);
const struct run_identity *run_identity(const struct run *run);
const char *run_agent_name(const struct run *run);
const char *run_subject(const struct run *run);
const unsigned char *run_digest(const struct run *run);
enum run_state run_get_state(const struct run *run);
bool run_has_ended(const struct run *run);
const struct eventlog *run_log(const struct run *run);

/* Appends what GET /runs/{id} answers. */
void run_describe(const struct run *run, struct buf *json);

/* All that START carries, for this agent; the caller sends it and empties it. Once. */
struct buf *run_pairs(struct run *run, const struct run_agent *agent);

/* queued → running, and the run's first event. */
void run_start(struct run *run, const struct run_agent *agent, const struct executor *executor,
               void *data, uint32_t number);

/* An event of its agent, which gets its number. -EPROTO if no agent of ours can have sent it. */
int run_append(struct run *run, struct event *event);

/*
 * The agent has taken so many inputs since the start, and so many of its tasks
 * wait for another. -EPROTO if no agent of ours can have said so.
 */
int run_set_waiting(struct run *run, uint32_t taken, uint32_t waiting);

/* Whether tasks of its agent wait for credit: for a reader. */
void run_set_held(struct run *run, bool held);

/*
 * How its agent ended. Only the first end counts. The executor is done with it
 * then, but if no agent of ours can have ended so: -EPROTO.
 */
int run_end(struct run *run, const struct wire_end *end);

/* The host ends it. A running agent is told to stop. Only the first end counts. */
void run_abort(struct run *run, enum run_error error, const char *detail);

/* Nobody wants it any more: a queued run ends, a running one is asked to stop. */
void run_cancel(struct run *run);

/* Hands JSON to its agent: 0; -ENXIO it is queued, or has ended; -EAGAIN too many are not taken. */
int run_give_input(struct run *run, const char *json, size_t length);

/* ---- its readers ---- */

/* From behind the event of this number on, or from the oldest that is kept. */
void run_subscribe(struct run *run, struct subscriber *subscriber, uint64_t after,
                   struct run_gap *gap);
void run_unsubscribe(struct subscriber *subscriber);

/* Unsubscribes one whose client left: if it was the last, the run's time to linger begins. */
void run_leave(struct subscriber *subscriber);

/* The subscriber has read all events before the cursor. */
void run_consume(struct subscriber *subscriber, const struct log_cursor *upto);

/* What a reader keeps of it counts for the budget, too: false if there is no room for it. */
bool run_take_memory(struct run *run, size_t bytes);
void run_give_memory(struct run *run, size_t bytes);

#endif
