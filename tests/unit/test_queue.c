/* The queue of a deployment: runs that wait for a worker, some of which end while they wait. */
#include "../case.h"
#include "fleet/queue.h"
#include "run_fixture.h"

#define COUNT 4

static struct queue queue;
static struct run *waiting[COUNT]; /* in the order of the queue */

/* Queue COUNT runs, each held by the queue alone. */
static void setup_queue(void)
{
    setup_runs();
    queue_init(&queue);
    for (unsigned i = 0; i < COUNT; i++) {
        waiting[i] = create_run();
        queue_push(&queue, waiting[i]);
        run_unref(waiting[i]);
    }
}

static void teardown_queue(void)
{
    queue_fail(&queue, "the test is over");
    ck_assert_uint_eq(queue.length, 0);
    ck_assert_ptr_null(queue_first(&queue));
    teardown();
}

CASES("queue", .setup = setup_queue, .teardown = teardown_queue);

CASE(first_come_first_served)
{
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(queue.length, COUNT - i);
        ck_assert_ptr_eq(queue_first(&queue), waiting[i]);
        ck_assert_ptr_eq(queue_first(&queue), waiting[i]);
        run_cancel(waiting[i]);
        queue_pop(&queue);
    }
}

CASE(first_passes_over_ended_runs)
{
    run_cancel(waiting[0]);
    run_cancel(waiting[1]);
    ck_assert_uint_eq(queue.length, COUNT);
    ck_assert_ptr_eq(queue_first(&queue), waiting[2]);
    ck_assert_uint_eq(queue.length, COUNT - 2);
}

CASE(purge_keeps_the_order_of_the_others)
{
    run_cancel(waiting[0]);
    run_cancel(waiting[2]);
    queue_purge(&queue);
    ck_assert_uint_eq(queue.length, 2);
    ck_assert_ptr_eq(queue_first(&queue), waiting[1]);
    run_cancel(waiting[1]);
    ck_assert_ptr_eq(queue_first(&queue), waiting[3]);
}

CASE(purge_of_live_runs_removes_none)
{
    queue_purge(&queue);
    ck_assert_uint_eq(queue.length, COUNT);
    ck_assert_ptr_eq(queue_first(&queue), waiting[0]);
}

CASE(fail_ends_each_run_that_has_not_ended)
{
    struct run *kept[COUNT];

    for (unsigned i = 0; i < COUNT; i++)
        kept[i] = run_ref(waiting[i]);
    run_cancel(waiting[1]);
    queue_fail(&queue, "its file is gone");
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_int_eq(run_get_state(kept[i]), i == 1 ? RUN_cancelled : RUN_failed);
        run_unref(kept[i]);
    }
}
