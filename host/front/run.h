/*
 * A run: its identity, its state, its event log, and who reads it. The one
 * place where states change and events get their numbers.
 *
 *     queued ──► running ──► finished | failed | cancelled
 *
 * Every run ends once, with one `done` event, whatever happens to its worker.
 *
 * Runs are counted references: the table holds one until the run is forgotten,
 * the executor one until it has reported the end, each subscriber one.
 */
#ifndef FRONT_RUN_H
#define FRONT_RUN_H

#include "common/wire.h"
#include "front/eventlog.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

/* Run ids are 128 random bits in base 32 (Crockford's alphabet, lower case). */
#define RUN_ID_LENGTH 26

/* state, is an end */
#define RUN_STATES(X) \
    X(queued, false)  \
    X(running, false) \
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

/* An event as its subscribers are told of it. The type is not terminated. */
struct run_event {
    const char *type;
    size_t type_length;
    const char *json;
    size_t json_length;
};

/* One that reads a run. Embedded in what it is part of; see run_subscribe(). */
struct subscriber {
    /* An event was appended, and lives until this returns. It may unsubscribe itself. */
    void (*appended)(struct subscriber *self, const struct run_event *event);
    struct run *run;
    uint64_t cursor;                /* in the run's log: what it has not read yet */
    TAILQ_ENTRY(subscriber) in_run; /* in run->subscribers */
};

/* What executes runs, told in the front's own words: see process.h. */
struct executor {
    void (*cancel)(void *data, uint32_t number);
    void (*credit)(void *data, uint32_t number, uint32_t bytes);
};

/* Who will execute a run, as the run's first event and GET /runs/{id} say it. */
struct run_agent {
    const char *name;
    const char *version;
    uint64_t generation;
};

/* The code, as clients see it. */
const char *run_error_code(enum run_error error);

/* All runs of the front. */
struct runs;

/* retain_s: for how many seconds an ended run is remembered. */
struct runs *runs_create(uv_loop_t *loop, unsigned retain_s);

/* Needs every run to have ended and its subscribers to be gone. */
void runs_destroy(struct runs *runs);

/* The run with this id, or NULL. */
struct run *runs_find(const struct runs *runs, const char *id);

/* Runs that have not ended. */
size_t runs_live(const struct runs *runs);

/* Ends all that are live as failed. */
void runs_fail_all(struct runs *runs, enum run_error error);

/*
 * A new run of the agent, queued. pairs holds what START will carry, its
 * variables but for those that only the executor knows; it is emptied. The
 * reference is the caller's. -errno if there is no randomness for its id.
 */
int run_create(struct runs *runs, const char *agent, struct buf *pairs, struct run **out);

struct run *run_ref(struct run *run);
void run_unref(struct run *run);

const char *run_id(const struct run *run);
const char *run_agent_name(const struct run *run);
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

/* An event of its agent. -EPROTO if no agent of ours can have sent it. */
int run_append(struct run *run, const struct run_event *event);

/*
 * How its agent ended. Only the first end counts. The executor is done with it
 * then, but if no agent of ours can have ended so: -EPROTO.
 */
int run_end(struct run *run, const struct wire_end *end);

/* The host ends it. A running agent is told to stop. Only the first end counts. */
void run_abort(struct run *run, enum run_error error, const char *detail);

/* Nobody wants it any more: a queued run ends, a running one is asked to stop. */
void run_cancel(struct run *run);

/* From the log's start on. */
void run_subscribe(struct run *run, struct subscriber *subscriber);
void run_unsubscribe(struct subscriber *subscriber);
bool run_has_subscribers(const struct run *run);

/* Unsubscribes one whose client left: if it was the last, nobody wants the run any more. */
void run_leave(struct subscriber *subscriber);

/* The subscriber has read up to here. */
void run_consume(struct subscriber *subscriber, uint64_t upto);

#endif
