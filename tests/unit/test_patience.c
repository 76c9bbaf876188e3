/* Patience with others: the time in which the loop stood still does not count. */
#include "../case.h"
#include "base/patience.h"

#include <unistd.h>

#define WAIT_MS 600
#define HOLD_MS 3000

static uv_loop_t loop;
static struct patience_clock loop_clock;
static struct patience patience;
static uv_timer_t holder;
static uv_poll_t reader;
static int pipe_fds[2];
static bool was_read;
static unsigned over_count;
static uint64_t over_at; /* ms of the loop's clock */

static void on_over(void *data)
{
    ck_assert_ptr_eq(data, &patience);
    over_count++;
    over_at = uv_now(&loop);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    char byte;

    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(events, UV_READABLE);
    ck_assert_uint_eq(over_count, 0);
    ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
    was_read = true;
    uv_poll_stop(handle);
}

/* Stand still, as if the process was stopped; the peer's answer arrives meanwhile. */
static void on_hold(uv_timer_t *timer)
{
    (void)timer;
    usleep(HOLD_MS * 1000);
    ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
    uv_update_time(&loop);
}

static void setup(void)
{
    was_read = false;
    over_count = 0;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    uv_timer_init(&loop, &holder);
    uv_poll_init(&loop, &reader, pipe_fds[0]);
    uv_poll_start(&reader, UV_READABLE, on_readable);
    patience_init(&loop, &patience, &patience);
}

static void teardown(void)
{
    uv_close((uv_handle_t *)&holder, NULL);
    uv_close((uv_handle_t *)&reader, NULL);
    uv_close((uv_handle_t *)&patience.timer, NULL);
    if (loop.data)
        patience_clock_close(&loop_clock);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

CASES("patience", .setup = setup, .teardown = teardown);

CASE(runs_out_once)
{
    uint64_t began = uv_now(&loop);

    uv_poll_stop(&reader);
    patience_clock_open(&loop, &loop_clock);
    patience_start(&patience, WAIT_MS, on_over);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(over_count, 1);
    ck_assert_uint_ge(over_at - began, WAIT_MS);
}

CASE(does_not_count_an_absence)
{
    uint64_t began = uv_now(&loop);

    patience_clock_open(&loop, &loop_clock);
    uv_timer_start(&holder, on_hold, 1, 0);
    patience_start(&patience, WAIT_MS, on_over);
    ck_assert(patience_is_active(&patience));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(over_count, 1);
    ck_assert(was_read);
    ck_assert_uint_ge(over_at - began, HOLD_MS + 50);
    ck_assert_uint_lt(patience_now(&loop), HOLD_MS);
}

CASE(reads_before_it_is_over_without_a_clock)
{
    uv_timer_start(&holder, on_hold, 1, 0);
    patience_start(&patience, WAIT_MS, on_over);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(over_count, 1);
    ck_assert(was_read);
}

CASE(reads_before_it_is_over_with_a_clock)
{
    /* Due while the loop stands still. */
    patience_clock_open(&loop, &loop_clock);
    uv_timer_start(&holder, on_hold, 1, 0);
    patience_start(&patience, 10, on_over);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(over_count, 1);
    ck_assert(was_read);
}

CASE(is_stopped)
{
    uv_poll_stop(&reader);
    patience_start(&patience, 1, on_over);
    patience_stop(&patience);
    ck_assert(!patience_is_active(&patience));
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(over_count, 0);
}
