/*
 * A generation: one version of a plugin, loaded from one image by one or more
 * workers, and what keeps those alive.
 *
 *     STARTING ─► SERVING ─► DRAINING ─► closed
 *         └─ failed ──────────────────────┘
 *
 * It has `workers` seats. A worker that dies leaves its seat, and a new one
 * takes it: at once after the first death, then after pauses that double; a
 * seat whose worker lived STABLE_MS begins anew. After CRASH_LOOP deaths in a
 * row and with no worker left, the generation is in a crash loop and says so.
 *
 * A worker that is stuck, has had its max_runs or uses more than its
 * memory_limit leaves its seat too, but may finish its runs; one that uses
 * twice its limit is killed.
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
};

struct generation_handler {
    /* Its plugin is loaded, and waits for generation_create() or generation_refuse(). */
    void (*hello)(void *data, const struct process_hello *hello);
    /* The answer to generation_save_state(). */
    void (*saved)(void *data, const char *state);
    /* It serves, for the first time or again, or may have room again. */
    void (*ready)(void *data);
    /* It never served, and is closing. The reason is for people. */
    void (*failed)(void *data, const char *reason);
    /* It is in a crash loop: runs should not wait for it. */
    void (*crashing)(void *data, const char *reason);
    /* The last call: no worker is left; it is freed when this returns. */
    void (*closed)(void *data);
};

struct generation *generation_start(uv_loop_t *loop, const struct generation_spec *spec,
                                    const struct generation_handler *handler, void *data);

/* The answers to hello(). state is JSON, or NULL. */
void generation_create(struct generation *generation, const char *state);
void generation_refuse(struct generation *generation, const char *reason);

/* Whether it can be asked for its state; if so, saved() answers. */
bool generation_save_state(struct generation *generation);

struct image *generation_image(const struct generation *generation);
uint64_t generation_number(const struct generation *generation);
const char *generation_version(const struct generation *generation);
bool generation_is_crashing(const struct generation *generation);

/* Whether the settings it was created with are those of this configuration. */
bool generation_is_configured(const struct generation *generation, const struct config *config);

/* Starts the queued run on its least loaded worker; false if none has room. */
bool generation_take(struct generation *generation, struct run *run);

/* No more runs; see process_drain(). */
void generation_drain(struct generation *generation, uint64_t timeout_ms);

/* Every worker quits, whatever runs. */
void generation_quit(struct generation *generation, uint64_t timeout_ms);

size_t generation_live(const struct generation *generation);

/* Appends the members of an agent in GET /agents. */
void generation_describe(const struct generation *generation, struct buf *json);

/* Appends an object with all that an operator may want to know. */
void generation_report(const struct generation *generation, struct buf *json);

#endif
