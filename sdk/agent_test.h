/*
 * agent_test.h - test an agent in milliseconds, without a server.
 *
 * The library takes the host's place: the agent runs in the test's own process,
 * what it emits is recorded, and what it would wait for is scripted:
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
 * It needs no framework, and works with any. Calls are checked as the host
 * checks them, by the same code, and fail with the same errors.
 *
 * The life of a test:
 *
 *     open ──┬── script ── run ── read back ──┐── close
 *            └────────────────────────────────┘
 *
 * What is scripted is for the next run, and what of it was not used is dropped
 * at its end; only agent_test_set() is for all runs that follow. What is read
 * back is that of the last run. Strings and structs that are returned belong to
 * the test and live until the next run or agent_test_close(), unless their call
 * says otherwise; none is NULL. What is given is copied.
 *
 * Time is virtual: it stands still while the agent computes, and when it waits
 * it jumps to when that is over. So an hour's agent_sleep() costs nothing. An
 * agent that reads a clock of its own sees the real one.
 *
 * A run is executed on the thread that calls agent_test_run(). Its tasks take
 * turns, in the order in which they were spawned: one goes on until it waits
 * or ends, so that each run of a test is the same. Threads of the agent's own,
 * which call ctx_bind(), run as they like; when they wait, the clock jumps at once.
 *
 * What no host would pass on, such as an input that is not JSON, is a mistake
 * of the test and aborts it with a message. One thread at a time may use a test.
 */
#ifndef SLUICE_AGENT_TEST_H
#define SLUICE_AGENT_TEST_H

#include "agent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A plugin, and the host that records what it does. */
struct agent_test;

/* What AGENT_PLUGIN() defines. */
typedef const struct agent_plugin *agent_test_entry(const struct agent_host *host);
__attribute__((visibility("default"))) agent_test_entry agent_plugin_entry;

/* ---- open and close ----------------------------------------------------- */

/*
 * Creates the plugin whose source is compiled into the test: calls create(),
 * then selftest(). config is what create() gets, {} if NULL. Never NULL: if the
 * plugin is refused, agent_test_refusal() says why. Two that are open at once
 * share the plugin's static data.
 */
struct agent_test *agent_test_open(agent_test_entry *entry, const char *config);

/* The same with a plugin that is built: the path of an .so. It stays loaded. */
struct agent_test *agent_test_open_file(const char *path, const char *config);

/* Calls destroy() and frees all. NULL is fine. */
void agent_test_close(struct agent_test *test);

/* Why the plugin is not fit to serve; "" if it is. Lives until restart or close. */
const char *agent_test_refusal(struct agent_test *test);

/* What save_state() returns, without white space; "" for none. Lives until the next call or close.
 */
const char *agent_test_state(struct agent_test *test);

/*
 * Destroys the plugin and creates it anew with the state, as a swap would in a
 * new process; NULL for none. 0, or what create() or selftest() returned. To
 * try a swap:
 *     agent_test_restart(test, agent_test_state(test));
 * Static data of the plugin stays as it is, other than in a new process.
 */
int agent_test_restart(struct agent_test *test, const char *state);

/* ---- script the next run ------------------------------------------------ */

/*
 * Sets a variable that ctx_get() finds, as the host does: also "auth.subject",
 * "traceparent", "request.header.NAME". For all runs that follow; NULL takes it
 * away.
 */
void agent_test_set(struct agent_test *test, const char *key, const char *value);

/*
 * What a client says to the run, so many milliseconds after its start, for
 * run_input(). An agent that waits without a timeout for what never comes has its
 * run cancelled.
 */
void agent_test_input(struct agent_test *test, uint64_t at_ms, const char *json);

/*
 * Cancels the run at its n-th event, counted from 1: that call and all that
 * follow fail with -ECANCELED. A test of all of them proves that the agent
 * leaves nothing behind, wherever it is stopped:
 *
 *     do {
 *         agent_test_cancel_at_emit(test, ++n);
 *         agent_test_run(test, input);
 *     } while (strcmp(agent_test_status(test), "cancelled") == 0);
 */
void agent_test_cancel_at_emit(struct agent_test *test, unsigned n);

/*
 * The same at its n-th call that waits: agent_sleep(), run_input(),
 * agent_http_status() and agent_http_read() count.
 */
void agent_test_cancel_at_wait(struct agent_test *test, unsigned n);

/* The same so many milliseconds after its start. */
void agent_test_cancel_at(struct agent_test *test, uint64_t at_ms);

/* Lists of strings, for the members below; in C. */
#define AGENT_TEST_LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The answer to one request. What is 0 or NULL has the default. */
struct agent_test_response {
    const char *method;         /* of the request that it answers: any */
    const char *url;            /* a part of its URL: any */
    int status;                 /* 200, or none if there is an error */
    const char *const *headers; /* each "Name: value"; NULL ends them */
    const char *const *body;    /* its pieces, as agent_http_read() returns them; NULL ends them */
    int error;         /* a negative errno: behind the pieces or, without status, at once */
    uint32_t delay_ms; /* before the status, and before each piece */
};

/*
 * Answers one request; several are used in the order in which they were given.
 * A request for which there is none fails with -ECONNREFUSED. The timeouts of a
 * request, but for that of the connection, and its max_bytes are heeded.
 * Redirects are not followed: answer with what is behind them.
 */
void agent_test_answer(struct agent_test *test, const struct agent_test_response *answer);

/* ---- run ---------------------------------------------------------------- */

/* One run with this input, {} if NULL: what handle() returned; -ENODEV if the plugin was refused.
 */
int agent_test_run(struct agent_test *test, const char *input);

/*
 * The same with a function in place of handle(), to test a piece of an agent by
 * itself: what fn(arg) returned. Outside of both there is no run, and the
 * agent's calls fail with -ENXIO.
 */
int agent_test_call(struct agent_test *test, int (*fn)(void *arg), void *arg);

/* ---- read back the last run --------------------------------------------- */

struct agent_test_emitted {
    const char *type;
    const char *json; /* as a client gets it: without white space, with its scope */
    uint64_t at_ms;   /* since the start of the run */
};

/* How many events there are, and each of them from 0; beyond the end one with empty strings. */
size_t agent_test_events(struct agent_test *test);
const struct agent_test_emitted *agent_test_event(struct agent_test *test, size_t i);

/* The deltas of all events text, joined: what a person has read. */
const char *agent_test_text(struct agent_test *test);

/*
 * All of it, a line for each event and for how the run ended:
 *     text {"delta":"hello"}
 *     done {"status":"finished"}
 */
const char *agent_test_transcript(struct agent_test *test);

/* How it ended: "finished", "failed" or "cancelled"; "" if there was none. */
const char *agent_test_status(struct agent_test *test);

/* Of a failed run: code and message of run_fail(), or what the host says if it was not called. */
const char *agent_test_code(struct agent_test *test);
const char *agent_test_message(struct agent_test *test);

/* The JSON of run_result(), if the run has finished. */
const char *agent_test_result(struct agent_test *test);

/* How long it took, on its virtual clock. */
uint64_t agent_test_elapsed_ms(struct agent_test *test);

struct agent_test_requested {
    const char *method;
    const char *url;
    const char *headers; /* "Name: value" and a line's end, for each */
    const char *body;    /* terminated; "" for none */
    size_t body_length;  /* bytes */
};

/* How many requests were made, and each of them from 0; beyond the end one with empty strings. */
size_t agent_test_requests(struct agent_test *test);
const struct agent_test_requested *agent_test_request(struct agent_test *test, size_t i);

/*
 * What agent_log() wrote since the test was opened, also outside of runs: lines
 * such as "warn: no model is set". Lives until the agent logs again, or close.
 */
const char *agent_test_log(struct agent_test *test);

/* How often the plugin tried to emit outside of a run, since the test was opened. */
unsigned agent_test_strays(struct agent_test *test);

#ifdef __cplusplus
}
#endif
#endif
