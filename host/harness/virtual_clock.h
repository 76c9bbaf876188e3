/*
 * The scheduler's driver in a test: time is virtual, and tasks take turns, so
 * that each run of a test is the same. One clock is one run.
 *
 * Each task has a thread, in both modes of a plugin; only the task that has the
 * turn executes, until it waits or ends. The thread that calls
 * virtual_clock_begin() executes the first task. A thread that the agent has
 * bound to the run has no turn: it executes as it likes, and when it waits, the
 * clock jumps to where it wants to be.
 */
#ifndef HARNESS_VIRTUAL_CLOCK_H
#define HARNESS_VIRTUAL_CLOCK_H

#include "worker/sched.h"
#include "worker/subtask.h"

/* Whose clock it is. Both are called locked. */
struct clock_owner {
    /* Time may pass now: take note of what happened until now. */
    void (*settle)(void *data);
    /* All tasks wait for what never comes: end that. Return false if that was tried before. */
    bool (*give_up)(void *data);
};

struct virtual_clock;

/* fibers: what a thread of the agent's own may not do in that mode, it may not here. */
struct virtual_clock *virtual_clock_create(const struct clock_owner *owner, void *data,
                                           bool fibers);

/* One reference, which virtual_clock_end() gives back; a job holds another. */
struct sched *virtual_clock_sched(struct virtual_clock *clock);

/* The owner's data; NULL after virtual_clock_end(). Locked. */
void *virtual_clock_data(struct sched *sched);

/* Return where subtasks are executed: on threads that take turns. */
struct subtask_executor virtual_clock_executor(struct virtual_clock *clock);

/* This thread executes the first task, and has the turn. Not locked. */
void virtual_clock_begin(struct virtual_clock *clock);

/* The first task has ended, and all others. The clock stays for threads that are late. Locked; not
 * locked on return. */
void virtual_clock_end(struct virtual_clock *clock);

/* An alarm rings when time reaches its moment, before any task executes then. */
struct clock_alarm {
    uint64_t at; /* nanoseconds; the run starts at 0 */
    void (*ring)(struct clock_alarm *alarm);
    bool set;
    TAILQ_ENTRY(clock_alarm) in_alarms;
};

/* Locked. */
void virtual_clock_set_alarm(struct virtual_clock *clock, struct clock_alarm *alarm);
void virtual_clock_clear_alarm(struct virtual_clock *clock, struct clock_alarm *alarm);

/* Note if this thread is in a callback that a host makes on its loop. */
void virtual_clock_set_loop(bool loop);

#endif
