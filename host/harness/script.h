/*
 * The plan that a test has for a run: what its client says, when it is
 * cancelled, and the answers to its requests. Also the driver of the run's
 * exchanges: it answers from the script, on the virtual clock.
 */
#ifndef HARNESS_SCRIPT_H
#define HARNESS_SCRIPT_H

#include "agent_test.h"
#include "harness/list.h"
#include "harness/virtual_clock.h"
#include "worker/exchange.h"

#include <stdint.h>

struct job;
struct script;

struct script_handler {
    /* The agent has made a request, which the handler owns from now on. Locked. */
    void (*requested)(void *data, struct agent_test_requested *request);
    /* Something is to be said to the author of the test. Locked. */
    void (*warn)(void *data, const char *text);
};

struct script *script_create(void);
void script_destroy(struct script *script);

/* ---- planning ---- */

void script_input(struct script *script, uint64_t at_ms, const char *json);
void script_reply(struct script *script, const char *id, uint64_t delay_ms, const char *json);
void script_answer(struct script *script, const struct agent_test_response *answer);
void script_cancel_at_emit(struct script *script, unsigned n);
void script_cancel_at_wait(struct script *script, unsigned n);
void script_cancel_at(struct script *script, uint64_t at_ms);

/* ---- playing ---- */

/* Valid as long as the script. */
const struct http_driver *script_driver(struct script *script);

/* Answer the requests of this job. Locked. */
void script_attach(struct script *script, struct virtual_clock *clock, struct job *job,
                   const struct script_handler *handler, void *data);

/* The same, and set the alarms of this run. Locked. */
void script_play(struct script *script, struct virtual_clock *clock, struct job *job,
                 const struct script_handler *handler, void *data);

/* The run has asked the question of this id: reply to it, if that was planned. Locked. */
void script_asked(struct script *script, const char *id);

/* The run emits an event, or begins to wait: cancel it, if that was planned for this one. Locked.
 */
void script_count_emit(struct script *script);
void script_count_wait(struct script *script);

#endif
