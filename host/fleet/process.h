/*
 * A worker process as the front sees it: started, asked to load one plugin,
 * given runs, drained, and in the end reaped. What happens to its runs when it
 * dies is done here; what happens next is its owner's business.
 *
 *     STARTING ─hello─► CREATING ─ready─► READY ─drain─► DRAINING ─idle─► LEAVING ─► gone
 *         └────── refused, died, too slow ──────┴─ died, stuck ──┴── out of time ──┘
 */
#ifndef FLEET_PROCESS_H
#define FLEET_PROCESS_H

#include "fleet/image.h"
#include "run/run.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define PROCESS_PING_MS 250

struct process;

struct process_spec {
    struct image *image; /* the process takes a reference */
    uint64_t generation;
    unsigned start_timeout; /* seconds to become ready */
    unsigned stuck_timeout; /* seconds without an answer to a ping until it counts as stuck */
};

/* What a plugin says of itself; valid until the callback returns. */
struct process_hello {
    const char *name;
    const char *version;
    const char *description; /* "" for none */
    const char *mode;        /* fiber or thread */
};

/* What the plugin is to be created with. */
struct process_setup {
    unsigned threads;
    size_t stack;       /* bytes */
    const char *config; /* JSON */
    const char *state;  /* JSON, NULL for none */
};

struct process_handler {
    /* The plugin is loaded, and waits for process_create() or process_refuse(). */
    void (*hello)(void *data, const struct process_hello *hello);
    void (*ready)(void *data);
    /* The answer to process_save_state(); "" for none. May be NULL. */
    void (*saved)(void *data, const char *state);
    /* Its loop does not answer; it takes no runs until it does. May be NULL. */
    void (*stuck)(void *data);
    /* One of its runs has ended. May be NULL. */
    void (*freed)(void *data);
    /* One of its agents ignores that its run was cancelled. May be NULL. */
    void (*ignored)(void *data);
    /* What is known of it was brought up to date, as every PROCESS_PING_MS. May be NULL. */
    void (*pinged)(void *data);
    /*
     * The last call: it is reaped, and freed when this returns; its runs have
     * been ended. reason is for people: the step at which it was refused, or
     * how it died. was_told: it was drained or told to quit, and did.
     */
    void (*gone)(void *data, const char *reason, bool was_told);
};

int process_spawn(uv_loop_t *loop, const struct process_spec *spec,
                  const struct process_handler *handler, void *data, struct process **out);

/* The answers to hello(); the reason is for people. */
void process_create(struct process *process, const struct process_setup *setup);
void process_refuse(struct process *process, const char *reason);

/* Asks for the plugin's state. */
void process_save_state(struct process *process);

int process_pid(const struct process *process);
size_t process_live(const struct process *process);
uint64_t process_started(const struct process *process); /* runs, ever */
size_t process_memory(const struct process *process);    /* resident bytes, as of the last ping */

/* How often its plugin emitted outside of a run. */
uint64_t process_stray_emits(const struct process *process);

/* A word for people: starting, serving, stuck, draining or leaving. */
const char *process_state(const struct process *process);

bool process_is_ready(const struct process *process);

/* Whether it can take a run now: it is ready, answers, and reads what it is sent. */
bool process_has_room(const struct process *process);

/* Starts the queued run. */
void process_start(struct process *process, struct run *run, const struct run_agent *agent);

/*
 * No more runs: it leaves when its last has ended. After timeout_ms those that
 * are left are cancelled, and what does not stop then is killed with it. A
 * second call may shorten the time.
 */
void process_drain(struct process *process, uint64_t timeout_ms);

/* Cancels its runs and tells it to leave; after timeout_ms it is killed. */
void process_quit(struct process *process, uint64_t timeout_ms);

/* Ends it at once; its runs end with this error. The reason is for people. */
void process_kill(struct process *process, enum run_error error, const char *reason);

#endif
