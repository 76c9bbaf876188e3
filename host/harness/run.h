/*
 * A run as a test sees it: what is scripted for it, its clock, its tasks, and
 * what is recorded. Captures hold references; the test holds that of the last
 * run, and that of the next, which is being scripted.
 *
 * All is guarded by one lock, which is not held while the agent's code is called.
 */
#ifndef HARNESS_RUN_H
#define HARNESS_RUN_H

#include "agent_test.h"
#include "base/buf.h"
#include "base/time.h"
#include "harness/list.h"
#include "worker/vars.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct agent_task;
struct emit;

struct run {
    struct agent_test *test; /* NULL when it is closed */
    unsigned refs;
    bool fibers; /* the plugin's mode */
    bool cancelled;
    bool stopping; /* it has failed: what still runs of it should end */
    bool over;
    uint64_t now_ms;

    /* the script */
    unsigned cancel_emit; /* 0: at none */
    unsigned cancel_wait;
    uint64_t cancel_ms;
    struct list inputs; /* struct run_input, by time */
    size_t inputs_taken;
    struct list answers; /* see exchange.c */

    struct list vars; /* struct var: all that there are */
    const struct var *first;
    size_t vars_bytes; /* of those that the agent has set */

    TAILQ_HEAD(, agent_task) tasks; /* that are not joined; handle()'s is the first */
    unsigned task_count;
    uint64_t order; /* of the task that came last to where it waits */
    struct agent_task *turn;
    TAILQ_HEAD(, agent_http) exchanges; /* that are not closed */

    /* the record */
    unsigned emits;
    unsigned waits;
    struct list events;   /* struct agent_test_emitted */
    struct list requests; /* struct agent_test_requested */
    int returned;         /* by handle() */
    const char *status;   /* "" until it has ended */
    char *code;
    char *message;
    char *result;
    char *text;       /* that was read back */
    char *transcript; /* the same */
};

struct run_input {
    uint64_t at_ms;
    char *json;
};

void run_lock(void);
void run_unlock(void);

/* One reference. */
struct run *run_create(struct agent_test *test);

/* Locked, as all that follows. */
struct run *run_ref(struct run *run);
void run_unref(struct run *run);

void run_script_input(struct run *run, uint64_t at_ms, const char *json);

/* The next input that is there by now, or NULL. */
const char *run_take_input(struct run *run);

/* When the next input comes. */
uint64_t run_next_input_ms(const struct run *run);

/* A link in front of vars, which lives as long as the run. */
const struct var *run_push(struct run *run, const struct var *vars, const char *key,
                           const char *value);

bool run_is_stopped(const struct run *run);
void run_cancel(struct run *run);

/* A call of the task that waits begins: 0; or -ECANCELED, upon which others had their turns. */
int run_enter_wait(struct run *run, struct agent_task *task);

int run_emit(struct run *run, const struct emit *emit, const char *scope);
int run_set_failure(struct run *run, const char *code, const char *message);
int run_set_result(struct run *run, const char *json);

/* Calls fn(arg) as the agent, joins its tasks, and ends the run. Not locked. */
void run_execute(struct run *run, int (*fn)(void *arg), void *arg);

/* What was recorded, made when it is read. Not locked. */
const char *run_text(struct run *run);
const char *run_transcript(struct run *run);

#endif
