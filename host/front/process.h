/*
 * A worker process as the front sees it: started, asked to load one plugin,
 * given runs, told to leave, and in the end reaped. What happens to its runs
 * when it dies is done here; what happens next is its owner's business.
 *
 *     starting ──hello──► creating ──ready──► ready ──quit──► leaving ──► dead
 *          └───────refused / died / too slow───────────────────────────────┘
 */
#ifndef FRONT_PROCESS_H
#define FRONT_PROCESS_H

#include "front/run.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct process;

struct process_spec {
    const char *path; /* of the plugin */
    uint64_t generation;
    unsigned start_timeout; /* seconds to become ready */
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
    size_t stack; /* bytes */
    char *config; /* JSON; the process frees it */
};

struct process_handler {
    /* The plugin is loaded. -errno, and why for people, refuses it. */
    int (*hello)(void *data, const struct process_hello *hello, struct process_setup *setup,
                 char *reason, size_t reason_size);
    void (*ready)(void *data);
    /*
     * The last call: it is reaped, and freed when this returns. reason is for
     * people; it tells the step at which it was refused, or how it died. Its
     * runs have been ended.
     */
    void (*gone)(void *data, const char *reason);
};

int process_spawn(uv_loop_t *loop, const struct process_spec *spec,
                  const struct process_handler *handler, void *data, struct process **out);

int process_pid(const struct process *process);
size_t process_live(const struct process *process);

/* How often its plugin emitted outside of a run. */
uint64_t process_stray_emits(const struct process *process);

/* Whether it can take a run now: it is ready, and reads what it is sent. */
bool process_has_room(const struct process *process);

/* Starts the queued run. */
void process_start(struct process *process, struct run *run, const struct run_agent *agent);

/* Tells it to leave; after timeout_ms it is killed. */
void process_quit(struct process *process, uint64_t timeout_ms);

void process_kill(struct process *process);

#endif
