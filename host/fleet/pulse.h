/*
 * The pulse of a worker process: whether its loop turns, and how much memory it has.
 *
 *     answers ◄──any PONG── silent ──timeout──► stuck ──timeout──► dead
 *
 * A process that a debugger holds is never silent.
 */
#ifndef FLEET_PULSE_H
#define FLEET_PULSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Time between two pings. */
#define PULSE_MS 250

/* A plain part of its process; zeroed, it answers. */
struct pulse {
    unsigned pings;     /* not yet answered */
    uint64_t silent_ms; /* since the last PONG, while the front listened */
    bool is_stuck;
    size_t memory; /* resident bytes at the last ping */
};

enum pulse_change {
    PULSE_SAME,
    PULSE_STUCK, /* from now on */
    PULSE_DEAD,
};

/* The next ping is due and the last one is not answered: count PULSE_MS of silence. */
enum pulse_change pulse_miss(struct pulse *pulse, pid_t pid, unsigned timeout_s);

/* A ping is answered. Return true if the process was stuck until now. */
bool pulse_answer(struct pulse *pulse);

/* Read how much memory the process has. */
void pulse_weigh(struct pulse *pulse, pid_t pid);

#endif
