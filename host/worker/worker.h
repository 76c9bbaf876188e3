/*
 * The worker: one plugin and the jobs it executes, as fibers on the loop or on
 * threads of a pool. It knows no processes and no sockets: frames leave through
 * a sink, so that the same code serves a front (main.c) and a terminal
 * (cli/run.c).
 *
 * All calls are for the loop's thread.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "base/buf.h"
#include "base/log.h"
#include "worker/plugin.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define WORKER_JOBS_MAX (1u << 20)

struct worker_settings {
    unsigned threads;  /* at most, in thread mode */
    size_t stack_size; /* bytes of each fiber, in fiber mode */
    /* From worker_create() to the end of selftest(), then the front's patience ends; 0: any. */
    unsigned start_ms;
};

/* How a plugin has ended its process, in words for people, and the run in which it has. */
struct worker_crash {
    const char *text;
    bool has_run;
    uint32_t run;
};

struct worker_sink {
    /* As outbox_take_fn; the frames are those of wire/frames.h. worker_flush() once it can take
     * more. */
    void (*take)(void *data, struct buf *frames);
    /* A crash: write these frames, which are whole, then say how it crashed. From a signal handler,
     * which it must not keep for long. */
    void (*rescue)(void *data, const char *frames, size_t length);
    void (*crashed)(void *data, const struct worker_crash *crash);
    /* After worker_quit(): no job is live, all frames are taken, the plugin is destroyed. */
    void (*left)(void *data);
};

struct worker;

struct worker *worker_create(uv_loop_t *loop, const struct worker_sink *sink, void *data);

/* After left(), or before any job. NULL does nothing. */
void worker_destroy(struct worker *worker);

/* The two halves of loading; see plugin.h. The reason includes what the plugin logged. */
int worker_open(struct worker *worker, const char *path, const char *file, struct refusal *refusal);
int worker_create_plugin(struct worker *worker, const struct worker_settings *settings,
                         const char *config, const char *state, struct refusal *refusal);

/* Have fibers that hold the loop told of at this level, or no longer; see watchdog.h. On threads
 * nothing holds it. */
void worker_watch(struct worker *worker, bool is_watched, enum log_level level);

/* Return what the plugin declares; NULL unless worker_open() succeeded. */
const struct agent_plugin *worker_plugin(const struct worker *worker);

/* Return what the plugin, which must be open, declares for clients. */
const struct card *worker_card(const struct worker *worker);

/* Queue a STATE frame with what the plugin saves. */
void worker_save_state(struct worker *worker);

/* Start a job; -EPROTO if the number is taken or the pairs are malformed. */
int worker_start(struct worker *worker, uint32_t number, const char *pairs, size_t length);

/* For a number that is unknown, as its job has just ended, nothing happens. */
void worker_cancel(struct worker *worker, uint32_t number);
/* question: the number of the one that the input answers, or 0. */
void worker_input(struct worker *worker, uint32_t number, uint32_t question, const char *json);
void worker_credit(struct worker *worker, uint32_t number, size_t bytes);

/* Queue a frame that is about no job. */
void worker_send(struct worker *worker, int type, const void *data, size_t length);

/* The sink can take more. */
void worker_flush(struct worker *worker);

/* Cancel all jobs and leave when they are over. */
void worker_quit(struct worker *worker);

/* ---- of a crash: any thread, from a signal handler ---- */

/* Take the worker's lock, if nobody has it. */
bool worker_try_lock(struct worker *worker);

/* Hand what was emitted to the sink, and how the plugin ended its process. */
void worker_rescue(struct worker *worker, const struct worker_crash *crash);

/* If the fiber that executes has used up its stack, return the stack's size; else 0. */
size_t worker_overflow(const struct worker *worker, uintptr_t address, uintptr_t stack_pointer);

#endif
