/* Sleeping agents, and cancelling them. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdatomic.h>

static int agent_sleeps_long(void)
{
    note_status(run_cancelled());
    emit_event("asleep", "1"); /* the test cancels the run after this event */
    note_status(agent_sleep(HOUR_MS));
    note_status(run_cancelled());
    note_status(emit_event("late", "1"));
    note_status(emit_text("late"));
    note_status(agent_sleep(HOUR_MS));
    return 0;
}

CASES("sleep on threads", .setup = setup_threads, .teardown = teardown);
CASES("sleep on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(cancel_wakes_a_sleeper)
{
    start(1, agent_sleeps_long);
    wait_for_events(1, 1);
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], 1);
    ck_assert_int_eq(notes.status[3], -ECANCELED);
    ck_assert_int_eq(notes.status[4], -ECANCELED);
    ck_assert_int_eq(notes.status[5], -ECANCELED);
    ck_assert_uint_eq(record_count, 1);
}

CASE(cancel_wakes_only_its_run)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sleeps);
    for (uint32_t run = 1; run <= 10; run++)
        wait_for_events(run, 1);
    for (uint32_t run = 1; run <= 10; run++) {
        ck_assert(!accounts[run].ended);
        worker_cancel(worker, run);
        worker_cancel(worker, run);
        wait_for_end(run);
        expect_cancelled(run);
    }
}

CASE(cancel_unknown)
{
    worker_cancel(worker, 0);
    worker_cancel(worker, 5);
    worker_cancel(worker, UINT32_MAX);
    worker_credit(worker, 5, 1);
    worker_credit(worker, UINT32_MAX, 1);
    start(5, agent_nothing);
    wait_for_end(5);
    worker_cancel(worker, 5);
    worker_credit(worker, 5, 1);
    expect_finished(5);
}

static int agent_naps(void)
{
    note_status(agent_sleep(0));
    note_status(agent_sleep(1));
    note_status(agent_sleep(3));
    return 0;
}

CASE(sleep_returns)
{
    run_agent(agent_naps);
    expect_finished(1);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(notes.status[i], 0);
}

static int agent_sleeps_50(void)
{
    agent_sleep(50);
    return emit_event("up", "50");
}

static int agent_sleeps_1(void)
{
    agent_sleep(1);
    return emit_event("up", "1");
}

CASE(sleepers_do_not_hold_each_other_up)
{
    start(1, agent_sleeps_50);
    start(2, agent_sleeps_1);
    wait_for_end(1);
    wait_for_end(2);
    ck_assert_str_eq(records[0].json, "1");
    ck_assert_str_eq(records[1].json, "50");
}

CASES("two threads", .setup = setup_two_threads, .teardown = teardown);

/* Both threads are taken, so that the third run waits. */
CASE(cancelled_before_it_has_a_thread)
{
    atomic_store(&open_gate, 0);
    start(1, agent_waits_at_gate);
    start(2, agent_waits_at_gate);
    start(3, agent_emits);
    wait_for_events(1, 1);
    wait_for_events(2, 1);
    worker_cancel(worker, 3);
    atomic_store(&open_gate, 1);
    for (uint32_t run = 1; run <= 3; run++)
        wait_for_end(run);
    expect_finished(1);
    expect_finished(2);
    expect_cancelled(3);
    ck_assert_uint_eq(accounts[3].events, 0);
    ck_assert_uint_eq(notes.count, 0);
}

static atomic_int running, most_running;

static int agent_counts_itself(void)
{
    int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&most_running);

    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
        ;
    agent_sleep(2);
    atomic_fetch_sub(&running, 1);
    return 0;
}

CASE(no_more_threads_than_allowed)
{
    atomic_store(&running, 0);
    atomic_store(&most_running, 0);
    for (uint32_t run = 1; run <= 12; run++)
        start(run, agent_counts_itself);
    for (uint32_t run = 1; run <= 12; run++)
        wait_for_end(run);
    ck_assert_int_ge(atomic_load(&most_running), 1);
    ck_assert_int_le(atomic_load(&most_running), 2);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* Credit wakes the run in the same turn of the loop in which its sleep is over. */
CASE(woken_twice_in_one_turn)
{
    uint64_t started = uv_hrtime();

    start(1, agent_sleeps_1);
    while (uv_hrtime() - started < 3 * 1000 * 1000)
        ;
    give_credit(1, 1);
    wait_for_end(1);
    ck_assert(loop_comes_to_rest());
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, 1);
}

CASE(thousands_at_once)
{
    for (uint32_t run = 1; run <= 2000; run++)
        start(run, agent_sleeps_1);
    for (uint32_t run = 1; run <= 2000; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 1);
    }
}
