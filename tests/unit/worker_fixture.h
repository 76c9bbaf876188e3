/* The worker with a sink that takes notes. The plugins are unit_probe.so and unit_probe_fiber.so,
 * in the folder that SLUICE_TEST_PLUGINS names; they call the functions named agent_... of a test
 * as agents. Most cases run once in each mode.
 *
 * Agents may not assert, since a failed assertion leaves by longjmp(): they note what they saw, and
 * the test looks at the notes when their run is over.
 *
 * In every test the sink itself checks that no run overdraws its credit, and that nothing follows a
 * run's end. */
#ifndef TESTS_UNIT_WORKER_FIXTURE_H
#define TESTS_UNIT_WORKER_FIXTURE_H

#include "../plugins/unit_probe.h"
#include "agent.h"
#include "wire/frames.h"
#include "worker/outbox.h"
#include "worker/worker.h"

#include <pthread.h>
#include <stdatomic.h>

#define HOUR_MS (60 * 60 * 1000)
#define RUNS    4096 /* run numbers of the cases are smaller */

struct record {
    uint32_t run;
    char type[WIRE_TYPE_MAX + 1];
    size_t length; /* of the JSON */
    char json[96]; /* cut */
};

/* What the sink knows of a run. */
struct account {
    size_t events;
    size_t credit;
    uint32_t given;          /* inputs */
    uint32_t taken, awaited; /* inputs, by its last report */
    unsigned report_count;   /* number of reports */
    unsigned closed;         /* questions */
    uint32_t held;           /* tasks that wait for credit, by its last report */
    char reports[128];       /* TAKEN/AWAITED, each followed by a space; cut */
    bool ended;
    enum wire_status status;
    char *code;
    char *message;
    char *result;
};

extern uv_loop_t loop;
extern struct worker *worker;
extern struct probe_life life;
extern struct account accounts[RUNS];
extern struct record *records;
extern size_t record_count;
extern unsigned other_frames; /* frames of no run */
extern unsigned times_left;
extern size_t sink_takes; /* the most bytes that the sink takes at once */

struct notes {
    int status[16];
    atomic_uint count;
    char text[8][64];
    struct agent_ctx *captured;
    pthread_t thread;
};

extern struct notes notes;

#define TASKS 8

/* The argument of a task, and its notes. */
struct task_note {
    int result; /* what the task returns */
    int status;
    int join_status;
    atomic_bool called;
    atomic_bool begun;
    const char *name;
    char text[3][64];
    _Atomic(struct agent_task *) handle;
};

extern struct task_note tasked[TASKS];
extern atomic_uint calls;

void note_status(int status);
void note_text(int slot, const char *text);
const char *plugin_path(const char *name);
void open_plugin(const char *name);
int create_plugin(unsigned threads, const char *state, struct refusal *refusal);
void setup(void);
void setup_threads(void);
void setup_one_thread(void);
void setup_two_threads(void);
void setup_fibers(void);
void teardown(void);

/* Start a run whose agent is the plugin itself. */
void start_plugin(uint32_t run, const char *input);

/* Start a run whose agent is this function. */
void start(uint32_t run, int (*agent)(void));
void give_credit(uint32_t run, size_t bytes);
void give_input(uint32_t run, const char *json);

/* Run the loop until this number of tasks of the run wait for an input. */
void wait_for_awaited(uint32_t run, uint32_t count);
void expect_reports(uint32_t run, const char *reports);
void wait_for_end(uint32_t run);
void wait_for_events(uint32_t run, size_t count);

/* Start run 1 with this agent, and wait for its end. */
void run_agent(int (*agent)(void));

/* Turn the loop until it has nothing to do; return false if it never rests. */
bool loop_comes_to_rest(void);
const struct record *nth_event(uint32_t run, size_t nth);
void expect_event(uint32_t run, size_t nth, const char *type, const char *json);
void expect_end(uint32_t run, enum wire_status status, const char *code, const char *message,
                const char *result);
void expect_finished(uint32_t run);
void expect_cancelled(uint32_t run);
int agent_emits(void);

/* Return a JSON string of this number of letters, after this number of blanks; the caller frees it.
 */
char *long_string(size_t letters, size_t white);
int emit_long(size_t letters, size_t white);
int agent_emits_too_much(void);
int agent_nothing(void);

#define CHUNK      (64 * 1024)
#define CHUNK_COST (CHUNK + 1 + WIRE_CHARGE)
#define IN_WINDOW  (WIRE_WINDOW / CHUNK_COST)

/* Emits more than a window takes. */
int agent_floods(void);

#define FLOODS (2 * OUTBOX_MAX / WIRE_WINDOW)

int agent_fills_its_window(void);
int agent_sleeps(void);

extern atomic_int open_gate;

int agent_waits_at_gate(void);
int task_returns(void *arg);

/* Takes an input, and emits it. */
int task_echoes(void *arg);

#endif
