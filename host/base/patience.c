/*
 * The clock ticks every TICK_MS. The time since the last tick counts, but at
 * most MOST_MS of it: a tick that comes later tells that the loop did not turn.
 * The bound holds between two ticks too, so a timer that runs before the late
 * tick does not count the absence either.
 *
 * libuv runs timers before it polls. A timer that is started for 1 ms by another
 * one runs in the next turn, after a poll: that is the one more turn.
 */
#include "base/patience.h"

#include "base/time.h"

#define TICK_MS 250
#define MOST_MS (2 * TICK_MS)

/* ---- the clock ---- */

uint64_t patience_now(const uv_loop_t *loop)
{
    const struct patience_clock *clock = loop->data;
    uint64_t since;

    if (clock == NULL)
        return uv_now(loop);
    since = uv_now(loop) - clock->ticked_at;
    return clock->turned + (since < MOST_MS ? since : MOST_MS);
}

static void on_tick(uv_timer_t *tick)
{
    struct patience_clock *clock = tick->data;

    clock->turned = patience_now(tick->loop);
    clock->ticked_at = uv_now(tick->loop);
}

void patience_clock_open(uv_loop_t *loop, struct patience_clock *clock)
{
    uv_timer_init(loop, &clock->tick);
    clock->tick.data = clock;
    clock->ticked_at = uv_now(loop);
    clock->turned = 0;
    loop->data = clock;
    uv_timer_start(&clock->tick, on_tick, TICK_MS, TICK_MS);
    uv_unref((uv_handle_t *)&clock->tick);
}

void patience_clock_close(struct patience_clock *clock)
{
    uv_close((uv_handle_t *)&clock->tick, NULL);
}

/* ---- a timer ---- */

static void on_time(uv_timer_t *timer)
{
    struct patience *patience = timer->data;
    uint64_t now = patience_now(timer->loop);

    if (now < patience->due) {
        uv_timer_start(timer, on_time, patience->due - now, 0);
    } else if (!patience->is_due) {
        patience->is_due = true;
        uv_timer_start(timer, on_time, 1, 0);
    } else {
        patience->over(patience->data);
    }
}

void patience_init(uv_loop_t *loop, struct patience *patience, void *data)
{
    uv_timer_init(loop, &patience->timer);
    patience->timer.data = patience;
    patience->data = data;
}

void patience_start(struct patience *patience, uint64_t ms, void (*over)(void *data))
{
    patience->due = time_after(patience_now(patience->timer.loop), ms);
    patience->is_due = false;
    patience->over = over;
    uv_timer_start(&patience->timer, on_time, ms, 0);
}

void patience_stop(struct patience *patience)
{
    uv_timer_stop(&patience->timer);
}

bool patience_is_active(const struct patience *patience)
{
    return uv_is_active((const uv_handle_t *)&patience->timer);
}
