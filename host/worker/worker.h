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
#include "worker/plugin.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define WORKER_JOBS_MAX (1u << 20)

struct worker_settings {
    unsigned threads;  /* at most, in thread mode */
    size_t stack_size; /* bytes of each fiber, in fiber mode */
};

struct worker_sink {
    /* As outbox_take_fn; the frames are those of wire/frames.h. worker_flush() once it can take
     * more. */
    void (*take)(void *data, struct buf *frames);
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

/* Return what the plugin declares; NULL unless worker_open() succeeded. */
const struct agent_plugin *worker_plugin(const struct worker *worker);

/* Queue a STATE frame with what the plugin saves. */
void worker_save_state(struct worker *worker);

/* Start a job; -EPROTO if the number is taken or the pairs are malformed. */
int worker_start(struct worker *worker, uint32_t number, const char *pairs, size_t length);

/* For a number that is unknown, as its job has just ended, nothing happens. */
void worker_cancel(struct worker *worker, uint32_t number);
void worker_input(struct worker *worker, uint32_t number, const char *json);
void worker_credit(struct worker *worker, uint32_t number, size_t bytes);

/* Queue a frame that is about no job. */
void worker_send(struct worker *worker, int type, const void *data, size_t length);

/* The sink can take more. */
void worker_flush(struct worker *worker);

/* Cancel all jobs and leave when they are over. */
void worker_quit(struct worker *worker);

#endif
