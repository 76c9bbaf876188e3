/*
 * A run: its identity, its state, its event log. The one place where states change.
 *
 *     queued ──► running ⇄ waiting ──► finished | failed | cancelled
 *
 * A run waits while a task of its agent waits for an input, or for the answer to a question
 * (questions.h).
 *
 * Every run ends once, with one `done` event, whatever happens to its worker. Beside
 * the agent, three things end a run: its deadline; the lack of subscribers, for the time to
 * linger or, while it waits, for the time that people have to answer; a cancellation. A cancelled
 * agent that does not stop within its grace counts as ignoring the cancellation: its run ends for
 * all readers, and the executor is told.
 *
 * Runs are counted references: the table (runs.h) holds one until the run is
 * forgotten, the executor one until it has reported the end, each subscriber
 * (readers.h) one.
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
#include <uv.h>

/* Maximum inputs that the agent has not taken; more get -EAGAIN. */
#define RUN_INPUTS_MAX 8

/* Maximum bytes of those, unless there is only one of them. */
#define RUN_INPUTS_SIZE (1024u * 1024)

/* Least time that a run has for a reader after it was answered without one. */
#define RUN_RETURN_MS 2000

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

/* Who wanted a run to be cancelled: the word on the wire. */
#define RUN_CANCELLERS(X) X(client) X(disconnect) X(operator)

enum run_canceller {
#define X(name) RUN_BY_##name,
    RUN_CANCELLERS(X)
#undef X
};

/* Why the host ends a run as failed: the code on the wire, and words for people. */
#define RUN_ERRORS(X)                                                                   \
    X(worker_crashed, "the agent's worker process died")                                \
    X(worker_stuck, "the agent's worker process stopped answering")                     \
    X(deadline, "the run took longer than its deadline allows")                         \
    X(drain_timeout, "the agent did not end in the time that its old version had left") \
    X(memory_limit, "the agent's worker process used too much memory")                  \
    X(unavailable, "the agent cannot be started")                                       \
    X(out_of_memory, "the server has no memory for the events of the run")              \
    X(shutdown, "the server is stopping")

enum run_error {
#define X(name, words) RUN_ERROR_##name,
    RUN_ERRORS(X)
#undef X
};

struct run;

struct runs;

/* What executes runs: see process.h. */
struct executor {
    void (*cancel)(void *data, uint32_t number);
    void (*credit)(void *data, uint32_t number, uint32_t bytes);
    /* question is the number of the one that it answers, or 0. -EAGAIN if the executor cannot take
     * the input now. */
    int (*input)(void *data, uint32_t number, uint32_t question, const char *json, size_t length);
    /* The run has ended, but its agent ignores the cancellation. */
    void (*ignored)(void *data, uint32_t number);
};

/* The plugin that executes a run, as the run's first event and GET /runs/{id} name it. */
struct run_agent {
    const char *name;
    const char *version;
    uint64_t generation;
};

/* Return the code that clients see. */
const char *run_error_code(enum run_error error);

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

/* Return what the protocol that started the run has noted, or NULL. Protocols tell their notes by
 * the first character. */
const char *run_note(const struct run *run);
/* Make the note "". */
void run_empty_note(struct run *run);

const unsigned char *run_digest(const struct run *run);
enum run_state run_get_state(const struct run *run);
bool run_has_ended(const struct run *run);
const struct eventlog *run_log(const struct run *run);

/* Count that a client which has all events of an ended run asks for more. Return true the 1st, 8th,
 * 64th, ... time. */
bool run_tell_end(struct run *run);

/* Append the answer of GET /runs/{id}. */
void run_describe(const struct run *run, struct buf *json);

/* Return the payload of START, for this agent; the caller sends and empties it. To be called once.
 */
struct buf *run_pairs(struct run *run, const struct run_agent *agent);

/* Start a queued run: append its first event. */
void run_start(struct run *run, const struct run_agent *agent, const struct executor *executor,
               void *data, uint32_t number);

/* Append an event of the agent and set its number. -EPROTO if no worker of ours can have sent it.
 */
int run_append(struct run *run, struct event *event);

/*
 * The agent has taken this number of inputs since the start, and this number of its
 * tasks wait for another. -EPROTO if no worker of ours can have said so.
 */
int run_set_waiting(struct run *run, uint32_t taken, uint32_t waiting);

/* The task that asked this question no longer waits for the answer. -EPROTO as above. */
int run_close_question(struct run *run, uint32_t question);

/* Tasks of the agent wait for credit, that is for a reader; or none does. */
void run_set_held(struct run *run, bool held);

/*
 * The agent has ended. Only a run's first end counts. The executor must not use the
 * run afterwards, unless no worker of ours can have said so: -EPROTO.
 */
int run_end(struct run *run, const struct wire_end *end);

/* End the run as failed; a running agent is told to stop. Only a run's first end counts. */
void run_abort(struct run *run, enum run_error error, const char *detail);

/*
 * A queued run ends as cancelled; the agent of a running one is asked to stop, once. The
 * first who wants that counts; run_cancel() is a client's wish.
 */
void run_cancel(struct run *run);
void run_cancel_by(struct run *run, enum run_canceller by);

/* Return true if its agent ignores that it was asked to stop, and its executor was told so. */
bool run_is_given_up(const struct run *run);

/*
 * Hand JSON to the agent. -ENXIO: the run is queued or has ended; -EAGAIN: too many are not
 * taken; -EDQUOT: the run's client holds too much; -EBUSY: the run has open questions, and
 * no task has ever waited for an input without a question. The caller has a reference.
 */
int run_give_input(struct run *run, const char *json, size_t length);

#endif
