/* SPDX-License-Identifier: MIT */
/*
 * agent_test.h - test an agent in milliseconds, without a server.
 *
 * The library takes the host's place: it runs the agent in the test's own process,
 * records what the agent emits, and plays a script of what the agent waits for:
 *
 *     #include <sluice/agent_test.h>
 *     #include <assert.h>
 *     #include <string.h>
 *
 *     int main(void)
 *     {
 *         struct agent_test *test = agent_test_open(agent_plugin_entry, "{}");
 *
 *         assert(agent_test_run(test, "{\"text\":\"to be\"}") == 0);
 *         assert(strcmp(agent_test_text(test), "to be") == 0);
 *         agent_test_close(test);
 *         return 0;
 *     }
 *
 *     cc $(pkg-config --cflags sluice-test) test_my.c my.c -o test_my \
 *         $(pkg-config --libs sluice-test)
 *
 * If the agent includes agent_llm.h or agent_sse.h, add sluice-llm to both lists of
 * packages. The library needs no test framework and works with any. It checks calls
 * by the host's own code, so they fail with the host's errors.
 *
 * The life of a test:
 *
 *     open ──┬── script ── run ── read back ──┐── close
 *            └────────────────────────────────┘
 *
 * A script is for the next run; its end drops what was not used. Only
 * agent_test_set() is for all runs that follow. The calls that read back answer for
 * the last run. Strings and structs that they return belong to the test and live
 * until the next run or agent_test_close(), unless their comment says otherwise; they
 * are never NULL. The library copies what it is given.
 *
 * Time is virtual: it stands still while the agent computes; when the agent waits,
 * time jumps to the end of the wait. An hour's agent_sleep() therefore costs nothing.
 * An agent that reads a clock of its own sees the real time.
 *
 * A run is executed on the thread that calls agent_test_run(). Its tasks take turns,
 * in the order in which they were spawned: a task goes on until it waits or ends, so
 * that each run of a test is the same. Threads of the agent's own, which call
 * agent_ctx_bind(), run concurrently; when such a thread waits, time jumps at once.
 *
 * A test that does what no host would do, such as passing an input that is not JSON,
 * is aborted with a message. Only one thread at a time may use a test.
 */
#ifndef SLUICE_AGENT_TEST_H
#define SLUICE_AGENT_TEST_H

#include "agent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A plugin, and the host that records what the plugin does. */
struct agent_test;

/* What AGENT_PLUGIN() defines. */
typedef const struct agent_plugin *agent_test_entry(const struct agent_host *host);
__attribute__((visibility("default"))) agent_test_entry agent_plugin_entry;

/* ---- open and close ----------------------------------------------------- */

/*
 * Create the plugin whose source is compiled into the test: call create(), then
 * selftest(). config is what create() gets, {} if NULL. The result is never NULL: if
 * the plugin is refused, agent_test_refusal() says why. Two tests that are open at
 * once share the plugin's static data.
 */
struct agent_test *agent_test_open(agent_test_entry *entry, const char *config);

/* Create the plugin of an .so, given by its path. The .so stays loaded. */
struct agent_test *agent_test_open_file(const char *path, const char *config);

/*
 * Be strict in all runs that follow, or no longer: a run in which the host refused a call of
 * the agent's ends as failed, with the code "refused" and agent_test_refused_first() as its
 * message, unless handle() failed or the run was cancelled; agent_test_run() returns that call's
 * errno. A test is strict from the start if the environment has AGENT_TEST_STRICT=1.
 */
void agent_test_strict(struct agent_test *test, int on);

/* Call destroy() and free the test; ignore NULL. */
void agent_test_close(struct agent_test *test);

/* Return why the plugin was refused, or "". It lives until restart or close. */
const char *agent_test_refusal(struct agent_test *test);

/*
 * Call save_state(). Return the state without white space, or "" for none. It lives until
 * the next call or close.
 */
const char *agent_test_state(struct agent_test *test);

/*
 * Destroy the plugin and create it again with the state, NULL for none, as a swap does
 * in a new process. Return 0, or what create() or selftest() returned. To try a swap:
 *     agent_test_restart(test, agent_test_state(test));
 * create() and selftest() take their requests' answers from the script of the next run: a
 * plugin that sends requests there is refused by agent_test_open(), for want of answers;
 * script them, then restart.
 * Unlike in a new process, the plugin's static data keeps its values.
 */
int agent_test_restart(struct agent_test *test, const char *state);

/* ---- script the next run ------------------------------------------------ */

/*
 * Set a variable that ctx_get() finds in all runs that follow; NULL removes it. The
 * variables of the host may be set, too: "auth.subject", "traceparent",
 * "request.header.NAME".
 */
void agent_test_set(struct agent_test *test, const char *key, const char *value);

/*
 * Send an input to the run, for agent_run_input(), at_ms milliseconds after its start. If
 * the agent waits without a timeout and no input is left, the run is cancelled.
 */
void agent_test_input(struct agent_test *test, uint64_t at_ms, const char *json);

/*
 * Answer the run's question of this id, delay_ms milliseconds after agent_run_ask() asked it.
 * The ids are "q1", "q2" and so on, in the order of the calls. If the agent waits without a
 * timeout and no reply is left, the run is cancelled.
 */
void agent_test_reply(struct agent_test *test, const char *id, uint32_t delay_ms, const char *json);

/*
 * Cancel the run at its n-th event, counted from 1: that call and all calls after it
 * fail with -ECANCELED. A loop over all events proves that the agent leaves nothing
 * behind, wherever it is stopped:
 *
 *     do {
 *         agent_test_cancel_at_emit(test, ++n);
 *         agent_test_run(test, input);
 *     } while (strcmp(agent_test_status(test), "cancelled") == 0);
 */
void agent_test_cancel_at_emit(struct agent_test *test, unsigned n);

/*
 * Cancel the run at its n-th call that waits: agent_sleep(), agent_run_input(),
 * agent_run_ask(), agent_http_status() and agent_http_read() count.
 */
void agent_test_cancel_at_wait(struct agent_test *test, unsigned n);

/* Cancel the run at_ms milliseconds after its start. */
void agent_test_cancel_at(struct agent_test *test, uint64_t at_ms);

/* A list of strings for the members below; in C only. */
#define AGENT_TEST_LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The answer to one request. A member that is 0 or NULL has its default. */
struct agent_test_response {
    const char *method;         /* of the request that it answers; default any */
    const char *url;            /* a part of the request's URL; default any */
    int status;                 /* default 200, or none if there is an error */
    const char *const *headers; /* each "Name: value"; NULL ends them */
    const char *const *body;    /* pieces, as agent_http_read() returns them; NULL ends them */
    int error;         /* a negative errno: after the pieces or, without a status, at once */
    uint32_t delay_ms; /* before the status, and before each piece */
};

/*
 * Answer one request; several answers are used in the order in which they were given. A
 * request without an answer fails with -ECONNREFUSED. The request's timeouts, except
 * connect_timeout_ms, and its max_bytes apply. Redirects are not followed: script the
 * response of their target.
 */
void agent_test_answer(struct agent_test *test, const struct agent_test_response *answer);

/* ---- run ---------------------------------------------------------------- */

/*
 * Execute one run with this input, {} if NULL. Return what handle() returned; -ENODEV: the
 * plugin was refused. An input that does not match the plugin's input_schema, to which the host
 * answers 422, is -EIO: handle() is not called, and the run ends as failed with the code
 * "bad_input" and a message that says where the input is wrong.
 */
int agent_test_run(struct agent_test *test, const char *input);

/*
 * Execute fn(arg) as a run in place of handle(), to test a piece of an agent by itself.
 * Return what fn returned. Outside of agent_test_run() and agent_test_call() there is no
 * run, and the agent's calls fail with -ENXIO.
 */
int agent_test_call(struct agent_test *test, int (*fn)(void *arg), void *arg);

/* ---- read back the last run --------------------------------------------- */

struct agent_test_emitted {
    const char *type;
    const char *json; /* as clients get it: without white space, with its scope */
    uint64_t at_ms;   /* after the start of the run */
};

/* Return the number of events, and event i, from 0; beyond the end its strings are "". */
size_t agent_test_events(struct agent_test *test);
const struct agent_test_emitted *agent_test_event(struct agent_test *test, size_t i);

/* Return the deltas of all text events, joined: what a person has read. */
const char *agent_test_text(struct agent_test *test);

/*
 * Return the run as text, with a line for each event and a line for the end:
 *     text {"delta":"hello"}
 *     done {"status":"finished"}
 */
const char *agent_test_transcript(struct agent_test *test);

/* Return how the run ended: "finished", "failed" or "cancelled"; "" before the first run. */
const char *agent_test_status(struct agent_test *test);

/* Return a failed run's code and message, of agent_run_fail() or, without it, of the host. */
const char *agent_test_code(struct agent_test *test);
const char *agent_test_message(struct agent_test *test);

/* Return the JSON of agent_run_result(), if the run has finished; else "". */
const char *agent_test_result(struct agent_test *test);

/* Return how long the run took in virtual time. */
uint64_t agent_test_elapsed_ms(struct agent_test *test);

struct agent_test_requested {
    const char *method;
    const char *url;
    const char *headers; /* a line "Name: value" for each */
    const char *body;    /* ends with NUL; "" for none */
    size_t body_length;  /* bytes */
};

/* Return the number of requests, and request i, from 0; beyond the end its strings are "". */
size_t agent_test_requests(struct agent_test *test);
const struct agent_test_requested *agent_test_request(struct agent_test *test, size_t i);

/*
 * Return what agent_log() wrote since the test was opened, also outside of runs, as lines
 * such as "warn: no model is set", and what the host refused, as lines "refused: TEXT". It
 * lives until the agent logs again, or close.
 */
const char *agent_test_log(struct agent_test *test);

/*
 * Return how many calls the host refused for what they were given, or for where they were made,
 * since the last run began: events that are not JSON, reserved types, texts that are not UTF-8,
 * bad keys, URLs and the like, and each call outside of a run. -ECANCELED, -ETIMEDOUT and what
 * became of an HTTP request are no refusals.
 */
unsigned agent_test_refused(struct agent_test *test);

/*
 * Return the first and the last of them as text, such as
 *     emit_event("price"): not JSON at byte 8: found ',', wanted ...
 * or "" if there is none. The first of each kind in a run is also a line "refused: TEXT" of
 * agent_test_log().
 */
const char *agent_test_refused_first(struct agent_test *test);
const char *agent_test_refused_last(struct agent_test *test);

/* Return how often the plugin tried to emit outside of a run, since the test was opened. */
unsigned agent_test_strays(struct agent_test *test);

#ifdef __cplusplus
}
#endif
#endif
