/*
 * Time that counts against others only while this process could notice them.
 *
 * A process that stood still (a debugger, SIGSTOP, a machine that was paused)
 * finds its timers due before it has read what came meanwhile. A patience is a
 * timer that does not blame others for that. It counts only time in which its
 * loop turned, and is over only after one more turn, in which the loop reads
 * what arrived until then. Use a patience wherever the end of a wait says that
 * somebody else was too slow.
 */
#ifndef BASE_PATIENCE_H
#define BASE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Part of the process that owns the loop; uses the loop's data. */
struct patience_clock {
    uv_timer_t tick;
    uint64_t ticked_at; /* ms of the loop's clock */
    uint64_t turned;    /* ms, until then */
};

/*
 * Begin to count. A loop without a clock counts each moment; its data must be NULL,
 * and uv_loop_init() does not set it.
 */
void patience_clock_open(uv_loop_t *loop, struct patience_clock *clock);

/* The clock must stay in place until the loop has closed its handle. */
void patience_clock_close(struct patience_clock *clock);

/* Return how long the loop has turned, in ms; it differs from uv_now(). */
uint64_t patience_now(const uv_loop_t *loop);

struct patience {
    uv_timer_t timer;
    uint64_t due; /* by patience_now() */
    bool is_due;  /* and one more turn is wanted */
    void (*over)(void *data);
    void *data;
};

/* The owner closes &patience->timer. */
void patience_init(uv_loop_t *loop, struct patience *patience, void *data);

/* Call over(data) once, in ms; a second start replaces the first. */
void patience_start(struct patience *patience, uint64_t ms, void (*over)(void *data));

void patience_stop(struct patience *patience);

bool patience_is_active(const struct patience *patience);

#endif
