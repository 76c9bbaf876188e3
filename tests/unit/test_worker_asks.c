/* Questions that tasks ask, in both modes. */
#include "../case.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t timeout_ms;

static int task_asks(void *arg)
{
    struct task_note *note = arg;
    const char *answer = NULL;
    char question[64];

    snprintf(question, sizeof question, " { \"message\" : \"%s\" } ", note->name);
    note->status = agent_run_ask(question, timeout_ms, &answer);
    snprintf(note->text[0], sizeof note->text[0], "%s", answer ? answer : "none");
    return 0;
}

/* Ask in two tasks at once. */
static int agent_asks_twice(void)
{
    struct agent_task *tasks[2];

    for (int i = 0; i < 2; i++) {
        tasked[i].name = i ? "b" : "a";
        agent_task_spawn(task_asks, &tasked[i], &tasks[i]);
    }
    for (int i = 0; i < 2; i++)
        agent_task_join(tasks[i]);
    return 0;
}

static int agent_asks(void)
{
    tasked[0].name = "a";
    return task_asks(&tasked[0]);
}

static void start_asking(int (*agent)(void), size_t questions)
{
    timeout_ms = HOUR_MS;
    start(1, agent);
    wait_for_events(1, questions);
}

/* Return the number in the id of the n-th question, and set whose it is. */
static uint32_t asked(size_t nth, char *who)
{
    unsigned number;

    ck_assert_str_eq(nth_event(1, nth)->type, "input_request");
    ck_assert_int_eq(
        sscanf(nth_event(1, nth)->json, "{\"id\":\"q%u\",\"message\":\"%c\"}", &number, who), 2);
    return number;
}

CASES("threads", .setup = setup_threads, .teardown = teardown);
CASES("fibers", .setup = setup_fibers, .teardown = teardown);

CASE_LOOP(each_gets_its_own_answer, 0, 2)
{
    char who[2];
    uint32_t numbers[2];

    start_asking(agent_asks_twice, 2);
    for (size_t i = 0; i < 2; i++)
        numbers[i] = asked(i, &who[i]);
    ck_assert_uint_eq(numbers[0] + numbers[1], 3);
    for (int i = 0; i < 2; i++) {
        int which = i ^ _i;
        worker_input(worker, 1, numbers[which], which ? "\"second\"" : "\"first\"");
    }
    wait_for_end(1);
    expect_finished(1);
    for (int i = 0; i < 2; i++) {
        struct task_note *note = &tasked[who[i] == 'b'];
        ck_assert_int_eq(note->status, 0);
        ck_assert_str_eq(note->text[0], i ? "\"second\"" : "\"first\"");
    }
    ck_assert_uint_eq(accounts[1].closed, 2);
}

/* An answer to another question, an answer too many and a plain input are nobody's. */
CASE(other_answers)
{
    start_asking(agent_asks, 1);
    worker_input(worker, 1, 2, "\"other\"");
    give_input(1, "\"plain\"");
    worker_input(worker, 1, 1, "\"mine\"");
    worker_input(worker, 1, 1, "\"late\"");
    wait_for_end(1);
    ck_assert_str_eq(tasked[0].text[0], "\"mine\"");
    ck_assert_uint_eq(accounts[1].closed, 1);
}

CASE(times_out)
{
    timeout_ms = 5;
    start(1, agent_asks);
    wait_for_end(1);
    ck_assert_int_eq(tasked[0].status, -ETIMEDOUT);
    ck_assert_uint_eq(accounts[1].closed, 1);
}

CASE(cancelled)
{
    start_asking(agent_asks, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    ck_assert_int_eq(tasked[0].status, -ECANCELED);
    expect_cancelled(1);
}

static int agent_asks_nonsense(void)
{
    static const char *const questions[] = {NULL,
                                            "",
                                            "1",
                                            "[]",
                                            "{}",
                                            "{\"message\":1}",
                                            "{\"message\":\"?\",\"id\":null}",
                                            "{\"message\":\"?\",\"schema\":1}",
                                            "{\"message\":\"?\"} x"};
    const char *answer;

    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        note_status(agent_run_ask(questions[i], 1, &answer));
    note_status(agent_run_ask("{\"message\":\"?\"}", 0, &answer));
    note_status(agent_run_ask("{\"message\":\"?\"}", 1, NULL));
    note_status(emit_event("input_request", "{\"message\":\"?\"}"));
    return 0;
}

CASE(refused)
{
    run_agent(agent_asks_nonsense);
    ck_assert_uint_eq(atomic_load(&notes.count), 12);
    for (unsigned i = 0; i < 12; i++)
        ck_assert_int_eq(notes.status[i], -EINVAL);
    ck_assert_uint_eq(accounts[1].events, 0);
}
