/*
 * Who may start a run or use one, and every reason why not. A request is
 * refused before anything is done for it; the client gets a problem document
 * with the status and the words of the table below.
 *
 * To add a reason: a line in ADMISSION_REFUSALS, and the check that finds it.
 */
#ifndef API_ADMISSION_H
#define API_ADMISSION_H

#include "config/setting.h"
#include "protocol/encoders.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;
struct deployment;
struct http_request;
struct run_request;
struct why;

/* What the words of a refusal mention. Only the members that they name need be set. */
struct admission_facts {
    const char *agent;
    const char *question; /* its id */
    const char *reason;   /* why the agent does not serve, or does not take the input */
    size_t max_body;
    uint64_t event, last; /* an event's number, and that of the run's last event */
};

/* name, HTTP status, whether trying again later may help, and the words, as for printf */
#define ADMISSION_REFUSALS(X)                                                                      \
    X(bad_mode, 400, false, "mode is 'stream', 'wait' or 'detach'")                                \
    X(bad_as, 400, false, "as is 'message', or left out")                                          \
    X(as_with_protocol, 400, false, "as is of the protocol native; leave one of both out")         \
    X(bad_protocol, 400, false, "protocol is one of " ENCODER_NAMES)                               \
    X(bad_on_disconnect, 400, false, "on_disconnect is " DISCONNECT_WANTS)                         \
    X(bad_deadline, 400, false, "deadline is 1 to 86400 seconds")                                  \
    X(protocol_is_off, 404, false,                                                                 \
      "the agent '%.255s' is not served in this protocol; its operator says so with protocols",    \
      facts->agent)                                                                                \
    X(bad_key, 400, false, "an Idempotency-Key has 1 to 255 printable ASCII characters")           \
    X(key_reused, 422, false,                                                                      \
      "this Idempotency-Key was used with another body; use a new key for a new run")              \
    X(bad_event_id, 400, false,                                                                    \
      "Last-Event-ID is not the id of an event, RUN.N; leave it out to start a run")               \
    X(event_of_other_agent, 400, false, "Last-Event-ID is of a run of another agent")              \
    X(event_of_other_run, 400, false, "the last event id is not of this run; its ids are RUN.N")   \
    X(bad_after, 400, false, "after must be the number of an event, or 0")                         \
    X(no_such_event, 400, false, "the run has no event %" PRIu64 "; its last is %" PRIu64,         \
      facts->event, facts->last)                                                                   \
    X(body_too_large, 413, false, "the body has more than %zu bytes, the limit of this host",      \
      facts->max_body)                                                                             \
    X(input_too_large, 413, false,                                                                 \
      "what the run would be given has more than %u bytes, the "                                   \
      "limit of an input",                                                                         \
      WIRE_BODY_MAX)                                                                               \
    X(body_of_other_type, 415, false,                                                              \
      "send the input as JSON, with Content-Type: application/json")                               \
    X(bad_input, 422, false, "the input does not match the input_schema of the agent '%s': %s",    \
      facts->agent, facts->reason)                                                                 \
    X(body_has_nul, 400, false, "a string of the body has the character U+0000; leave it out")     \
    X(body_not_json, 400, false, "the body is not JSON; send one JSON value in UTF-8, such as {}") \
    X(no_such_run, 404, false,                                                                     \
      "there is no such run, or it ended so long ago that it is forgotten")                        \
    X(inputs_pending, 429, true, "the agent has not taken the inputs that it was sent before")     \
    X(run_is_queued, 409, false, "the run is queued; it takes input once it has begun")            \
    X(run_has_ended, 409, false, "the run has ended; it no longer takes input")                    \
    X(no_such_question, 404, false,                                                                \
      "the run has not asked the question '%.64s'; GET /runs/{id} has the open ones",              \
      facts->question)                                                                             \
    X(question_closed, 409, false,                                                                 \
      "the question '%s' was answered before, or the agent no longer waits for its answer",        \
      facts->question)                                                                             \
    X(no_open_question, 409, false,                                                                \
      "no question of this id waits for an answer: it was answered before, or the run has ended")  \
    X(no_answer, 422, false, "this is no answer to the question '%s': %s", facts->question,        \
      facts->reason)                                                                               \
    X(question_is_open, 409, false,                                                                \
      "the agent waits for the answer to a question; say to which: POST "                          \
      "/runs/{id}/input?question=%s",                                                              \
      facts->question)                                                                             \
    X(stopping, 503, true, "the server is stopping")                                               \
    X(no_such_agent, 404, false,                                                                   \
      "there is no agent '%.255s' here; GET /agents lists those there are", facts->agent)          \
    X(unavailable, 503, true, "the agent '%s' is not available: %s", facts->agent, facts->reason)  \
    X(max_queued, 503, true, "the agent '%s' has too many runs waiting; try again later",          \
      facts->agent)                                                                                \
    X(max_runs, 503, true, "the server has as many live runs as it allows; try again later")       \
    X(log_budget, 503, true,                                                                       \
      "live runs, and bodies and answers under way, fill the server's log_budget; try again "      \
      "later")                                                                                     \
    X(share, 429, true,                                                                            \
      "you hold your share of the server's log_budget, in runs, bodies, inputs or answers that "   \
      "you have not read; read, cancel or wait")                                                   \
    X(max_runs_per_client, 429, true,                                                              \
      "you have as many live runs as one client may have; wait for one to end")                    \
    X(no_memory, 503, true, "the server has no memory for a further run; try again later")         \
    X(no_run_id, 500, false, "the server cannot make a run id")

enum admission {
    ADMISSION_granted,
#define X(name, ...) ADMISSION_##name,
    ADMISSION_REFUSALS(X)
#undef X
};

/*
 * Decide if a run of this deployment, NULL if there is none, may start now or
 * wait for its start. wanted says who is charged for it, and has its input.
 */
enum admission admission_check(const struct api *api, struct deployment *deployment,
                               const struct run_request *wanted);

/*
 * Decide if the input, which is JSON, matches the input_schema of the deployment's current
 * generation; set why if not. A run that waits may begin on a later generation, or on the first
 * while none serves yet: that one takes it as it is, and its agent must cope.
 */
enum admission admission_check_input(const struct deployment *deployment,
                                     const struct run_request *wanted, struct why *why);

/* Check that a worker takes an input of this length, and that there is memory to hand it over. */
enum admission admission_check_size(size_t length);

/* Return what a client is told that may not hold more: who alone uses the budget fills it. */
enum admission admission_no_room(const struct api *api);

/*
 * Answer the request with a refusal; its name is the problem's code. facts may be NULL if
 * the words mention none.
 */
void admission_refuse(struct http_request *request, enum admission refusal,
                      const struct admission_facts *facts);

#endif
