/*
 * A worker process as the front sees it: started, asked to load one plugin,
 * given runs, drained, and in the end reaped. The process ends its runs when it
 * dies; its owner decides what happens next.
 *
 *     loading ─hello─► greeted ─create─► creating ─ready─► ready ─drain─► draining
 *        │                │                  │               │               │ idle
 *        │                │                  │               │               ▼
 *        │                │                  │               │            leaving
 *        └────────────────┴── refused, ──────┴─ died, stuck ─┴─ time over ───┴──► gone
 *                             died, too slow
 */
#ifndef FLEET_PROCESS_H
#define FLEET_PROCESS_H

#include "base/card.h"
#include "fleet/confinement.h"
#include "fleet/image.h"
#include "fleet/output.h"
#include "run/run.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* How long a process without runs may take to leave. */
#define PROCESS_QUIT_MS 2000

/* Runs that a snapshot names. */
#define PROCESS_SNAPSHOT_RUNS 8

struct process;

struct process_spec {
    struct image *image; /* the process takes a reference */
    uint64_t generation;
    struct output_rate *output; /* of what it prints and logs; NULL: it shares standard error */
    const struct confinement *confinement; /* stays until the process is gone; NULL: none */
    bool names; /* it says on standard error which of the plugin's names the host's replace */
    unsigned start_timeout; /* seconds to become ready */
    unsigned stuck_timeout; /* seconds without an answer to a ping until it counts as stuck, and
                               again until it is killed */
};

/* The plugin's own data, valid until the callback returns. */
struct process_hello {
    const char *name;
    const char *version;
    const char *description; /* "" for none */
    const char *mode;        /* fiber or thread */
    struct card *card;       /* whoever takes it over leaves it zeroed */
};

/* The arguments of the plugin's create(). */
struct process_setup {
    unsigned threads;
    size_t stack;       /* bytes */
    const char *config; /* JSON */
    const char *state;  /* JSON, NULL for none */
};

struct process_handler {
    /* The plugin is loaded and waits for process_create() or process_refuse(). */
    void (*hello)(void *data, struct process *process, const struct process_hello *hello);
    void (*ready)(void *data, struct process *process);
    /* The answer to process_save_state(); "" for none. May be NULL. */
    void (*saved)(void *data, struct process *process, const char *state);
    /* The loop does not answer; the process takes no runs until it does. May be NULL. */
    void (*stuck)(void *data, struct process *process);
    /* The loop of a process that was stuck answers again. May be NULL. */
    void (*answered)(void *data, struct process *process);
    /* A run of this process has ended. May be NULL. */
    void (*freed)(void *data, struct process *process);
    /* An agent ignores that its run was cancelled. May be NULL. */
    void (*ignored)(void *data, struct process *process);
    /* The memory figure is new, as every PULSE_MS. May be NULL. */
    void (*pinged)(void *data, struct process *process);
    /*
     * The last call: the process is reaped, or SIGKILL does not end it; its runs
     * have been ended, and the owner must forget it. reason is for people: the step at which the
     * plugin was refused, or how the process died. was_told: it left as drain or quit asked it to.
     */
    void (*gone)(void *data, struct process *process, const char *reason, bool was_told);
};

/* The facts of a process; state is the word for people. */
struct process_snapshot {
    int pid;
    const char *state;
    size_t live_runs;
    uint64_t started_runs;  /* ever */
    uint64_t stray_emits;   /* emits outside of a run */
    uint64_t refused_calls; /* of the plugin, those emits among them */
    size_t memory;          /* resident bytes at the last ping */
    uint64_t age_ms;        /* since it became ready; before, since it was started */
    bool drains;
    uint64_t drain_left_ms;                  /* until its runs are ended; NEVER if they are not */
    const char *runs[PROCESS_SNAPSHOT_RUNS]; /* ids, of the first ones */
    unsigned run_count;
};

/* Start a process; its handler is called from the loop only. Return -errno if it cannot start. */
int process_spawn(uv_loop_t *loop, const struct process_spec *spec,
                  const struct process_handler *handler, void *data, struct process **out);

/* The answers to hello(); the reason is for people. */
void process_create(struct process *process, const struct process_setup *setup);
void process_refuse(struct process *process, const char *reason);

/* Ask for the plugin's state. */
void process_save_state(struct process *process);

int process_pid(const struct process *process);
size_t process_live(const struct process *process);      /* runs */
uint64_t process_started(const struct process *process); /* runs, ever */
size_t process_memory(const struct process *process);
uint64_t process_age_ms(const struct process *process);
void process_snapshot(const struct process *process, struct process_snapshot *out);

/* Return true if it is a worker that SIGKILL did not end, and that its owner has forgotten. */
bool process_is_lost(int pid);

bool process_is_ready(const struct process *process);

/* Return true if it can take a run now: it is ready, answers, and reads what it is sent. */
bool process_has_room(const struct process *process);

/* Start the queued run. */
void process_start(struct process *process, struct run *run, const struct run_agent *agent);

/*
 * Take no more runs and leave when the last has ended, or when all agents that are
 * left ignore that they were cancelled. After timeout_ms, which may be NEVER, the runs
 * that are left end as failed; if their agents do not stop, the process is killed. A
 * second call may shorten the time.
 */
void process_drain(struct process *process, uint64_t timeout_ms);

/* Cancel the runs and leave; after timeout_ms the process is killed. */
void process_quit(struct process *process, uint64_t timeout_ms);

/* Kill it; its runs end with this error. The reason is for people. */
void process_kill(struct process *process, enum run_error error, const char *reason);

#endif
