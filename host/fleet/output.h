/*
 * The log of a worker and the output of its plugin, as the front puts them into its own
 * log:
 *
 *     … info worker asked for row 7 run=… plugin=echo generation=1 pid=4711   agent_log()
 *     … info output row 7                 plugin=echo generation=1 pid=4711   printf()
 *
 * A line that a plugin prints is of the module "output", whatever it says; its keys
 * plugin, generation and pid are the last ones. Whoever prints or logs too much is slowed
 * down and its lines are dropped, counted and told; nobody waits for the log.
 */
#ifndef FLEET_OUTPUT_H
#define FLEET_OUTPUT_H

#include <stdint.h>
#include <uv.h>

/* How many lines the workers of one plugin may log; zeroed but for the rate at the start. */
struct output_rate {
    unsigned lines_per_s; /* 0: no limit */
    uint64_t allowance;   /* thousandths of a line */
    uint64_t refilled_at; /* ms of the loop's clock, 0: never */
    uint64_t dropped;     /* lines, not told yet */
    uint64_t told_at;     /* ms of the loop's clock */
};

struct output;

struct output_settings {
    int out_fd; /* a pipe that the worker and its plugin print into */
    int log_fd; /* a socket for records of base/log_fact.h */
    const char *file;
    uint64_t generation;
    int pid;
    struct output_rate *rate; /* outlives the output */
};

/* Read both descriptors from now on, which the output closes. */
struct output *output_open(uv_loop_t *loop, const struct output_settings *settings);

/* Say the plugin's name; until then lines have the file's. */
void output_set_plugin(struct output *output, const char *name);

/*
 * Read what is left, which is bounded: whoever still holds the other end is not waited
 * for. Then close. NULL does nothing.
 */
void output_close(struct output *output);

#endif
