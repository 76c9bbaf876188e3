/*
 * A generation: one version of a plugin, loaded from one image by one or more
 * workers that are kept alive.
 *
 *     starting ─ready─► serving ⇄ crash_loop
 *        │                 └──────┬─────┘
 *        │ failed                 │ drain, quit
 *        └──────────► draining ◄──┘ ──last worker gone──► closed
 *
 * Policy: it has `workers` seats. A new worker takes the seat of a worker that
 * died: at once after the first death, then after pauses that double. A seat
 * whose worker lived for ten seconds starts counting anew. After five deaths in
 * a row on every seat the generation is in a crash loop until a worker is ready.
 *
 * A worker that has had its max_runs or uses more than its memory_limit leaves its
 * seat, too, but may finish its runs. A worker that uses twice its limit is killed.
 *
 * A worker that is stuck lends its seat to another. It has the seat back as soon as
 * it answers, and is killed if it stays silent for stuck_timeout once more.
 */
#ifndef FLEET_GENERATION_H
#define FLEET_GENERATION_H

#include "config/config.h"
#include "fleet/process.h"

struct generation;

struct generation_spec {
    struct image *image; /* the generation takes a reference */
    uint64_t number;
    const struct config *config; /* read while it starts */
    struct output_rate *output;  /* of all the plugin's workers; outlives the generation */
};

struct generation_handler {
    /* The plugin is loaded and waits for generation_create() or generation_refuse(). */
    void (*hello)(void *data, struct generation *generation, const struct process_hello *hello);
    /* The answer to generation_save_state(). */
    void (*saved)(void *data, struct generation *generation, const char *state);
    /* It serves, for the first time or after a crash loop. */
    void (*ready)(void *data, struct generation *generation);
    /* A run that found no room may find some now. */
    void (*room)(void *data, struct generation *generation);
    /* It never served, and is closing. The reason is for people. */
    void (*failed)(void *data, struct generation *generation, const char *reason);
    /* It is in a crash loop: runs must not wait for it. */
    void (*crashing)(void *data, struct generation *generation, const char *reason);
    /* The last call: no worker is left. It is freed after the call. */
    void (*closed)(void *data, struct generation *generation);
};

/* The facts of a generation, valid until the loop goes on; state is the word for people. */
struct generation_snapshot {
    uint64_t number;
    const char *name, *version, *description, *mode; /* NULL until the plugin is loaded */
    const char *state;
    const char *reason; /* of the last death; NULL if there was none */
    unsigned restarts;
    uint64_t age_ms;
    size_t live_runs;
    uint64_t stray_emits;
    uint64_t refused_calls;
    unsigned processes; /* see generation_process() */
};

/* Start a generation; its handler is called from the loop only. */
struct generation *generation_start(uv_loop_t *loop, const struct generation_spec *spec,
                                    const struct generation_handler *handler, void *data);

/* The answers to hello(). state is JSON, or NULL. */
void generation_create(struct generation *generation, const char *state);
void generation_refuse(struct generation *generation, const char *reason);

/* Ask for the plugin's state; saved() answers. Return false if no worker can be asked. */
bool generation_save_state(struct generation *generation);

struct image *generation_image(const struct generation *generation);
uint64_t generation_number(const struct generation *generation);

/* Return what the plugin declares for clients; empty until it is loaded. Valid as long as the
 * generation. */
const struct card *generation_card(const struct generation *generation);

/* Return true if this configuration has the settings that the generation was created with. */
bool generation_is_configured(const struct generation *generation, const struct config *config);

/* Start the queued run on the least loaded worker; return false if none has room. */
bool generation_take(struct generation *generation, struct run *run);

/* Take no more runs; see process_drain(), with drain_timeout. */
void generation_drain(struct generation *generation);

/* Let every worker quit, whatever it runs. */
void generation_quit(struct generation *generation);

size_t generation_live(const struct generation *generation); /* runs */

void generation_snapshot(const struct generation *generation, struct generation_snapshot *out);

bool generation_has_process(const struct generation *generation, int pid);

/* Return one of its workers, oldest first; index < snapshot.processes. */
const struct process *generation_process(const struct generation *generation, unsigned index);

#endif
