/* What the worker tells of calls that it refuses. tests/agents/refusals.c has the table; the
 * harness is tested with it, too. */
#include "../agents/refusals.h"
#include "../case.h"
#include "base/log.h"
#include "worker/refused.h"
#include "worker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char told[64][512]; /* by the listener; cut */
static unsigned told_count, first_count;

static void on_told(struct task *task, int status, const char *text, bool is_first)
{
    (void)task;
    (void)status;
    snprintf(told[told_count++ % 64], sizeof told[0], "%s", text);
    first_count += is_first;
}

static void setup_listener(void)
{
    told_count = first_count = 0;
    refused_forget_outside();
    refused_set_listener(on_told);
}

static void setup_on_threads(void)
{
    setup_threads();
    setup_listener();
}

static void setup_on_fibers(void)
{
    setup_fibers();
    setup_listener();
}

CASES("refused on threads", .setup = setup_on_threads, .teardown = teardown);
CASES("refused on fibers", .setup = setup_on_fibers, .teardown = teardown);

static const struct refused_event *an_event;

static int agent_emits_one(void)
{
    note_status(emit_event(an_event->type, an_event->json));
    return notes.status[0];
}

/* handle() returns the errno: the reason is the run's message. */
CASE(events)
{
    for (unsigned i = 0; i < refused_event_count; i++) {
        uint64_t before = refused_count();
        an_event = &refused_events[i];
        told_count = notes.count = 0;
        start(i, agent_emits_one);
        wait_for_end(i);
        if (*an_event->text == '\0') {
            ck_assert_int_eq(notes.status[0], 0);
            ck_assert_uint_eq(told_count, 0);
            expect_finished(i);
            continue;
        }
        ck_assert_int_eq(notes.status[0], -EINVAL);
        ck_assert_str_eq(told[0], an_event->text);
        ck_assert_uint_eq(told_count, 1);
        ck_assert_uint_eq(refused_count(), before + 1);
        expect_end(i, WIRE_FAILED, "agent_error", an_event->text, "");
    }
}

static const struct refusal_case *a_call;

static int agent_calls_one(void)
{
    note_status(a_call->call());
    return 0;
}

CASE(calls)
{
    for (unsigned i = 0; i < refusal_count; i++) {
        a_call = &refusals[i];
        told_count = notes.count = 0;
        start(i, agent_calls_one);
        wait_for_end(i);
        ck_assert_msg(told_count > 0, "not told: %s", a_call->text);
        ck_assert_str_eq(told[0], a_call->text);
        ck_assert_uint_eq(told_count, 1);
        ck_assert_int_eq(notes.status[0], a_call->status);
    }
}

static int agent_is_refused_again(void)
{
    for (int i = 0; i < 20; i++) {
        emit_event("one", "{");
        emit_event("two", "[");
        emit_text("\xff");
    }
    ctx_set("run.id", "1");
    emit_event("one", "{\"a\":1,}");
    return -EINVAL;
}

CASE(first_of_each_kind_is_logged_and_the_last_is_the_message)
{
    uint64_t before = refused_count();

    run_agent(agent_is_refused_again);
    ck_assert_uint_eq(first_count, 4);
    ck_assert_uint_eq(refused_count(), before + 62);
    expect_end(
        1, WIRE_FAILED, "agent_error",
        "emit_event(\"one\"): not JSON at byte 7: found '}', wanted a name in double quotes: "
        "{\"a\":1,▸}; take away the ',' before it",
        "");
    start(2, agent_is_refused_again);
    wait_for_end(2);
    ck_assert_uint_eq(first_count, 8);
}

static int agent_is_refused_in_many_ways(void)
{
    char type[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(type, sizeof type, "t%d", i);
        emit_event(type, "{");
    }
    return 0;
}

/* Return how many lines of standard error hold this text while the agent runs. */
static unsigned lines_logged(int (*agent)(void), const char *text)
{
    FILE *file = tmpfile();
    int standard_error = dup(STDERR_FILENO);
    unsigned count = 0;
    char line[1024];

    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    log_open("test", "", LOG_WARN);
    run_agent(agent);
    log_open("test", "", LOG_FATAL);
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    rewind(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

CASE(lines_of_a_run_are_bounded)
{
    ck_assert_uint_eq(lines_logged(agent_is_refused_in_many_ways, " run=abc\n"), REFUSED_KINDS + 1);
    ck_assert_uint_eq(first_count, REFUSED_KINDS);
}

static int agent_returns_no_errno(void)
{
    emit_event("x", "{");
    return -ENOENT;
}

CASE(other_errnos_have_their_own_words)
{
    run_agent(agent_returns_no_errno);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned -2 (No such file or directory)",
               "");
}

static int agent_returns_enxio(void)
{
    return -ENXIO;
}

CASE(enxio_is_not_inside_a_run)
{
    run_agent(agent_returns_enxio);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned -6 (not inside a run)", "");
}

static int agent_says_why_itself(void)
{
    emit_event("x", "{");
    run_fail("own", "words");
    return -EINVAL;
}

CASE(words_of_the_agent_come_first)
{
    run_agent(agent_says_why_itself);
    expect_end(1, WIRE_FAILED, "own", "words", "");
}

static int task_is_refused(void *arg)
{
    (void)arg;
    return emit_event("task", "nope");
}

static int agent_joins_a_refused_task(void)
{
    struct agent_task *task;

    return task_spawn(task_is_refused, NULL, &task) < 0 ? 0 : task_join(task);
}

CASE(refusal_in_a_task_is_the_runs)
{
    run_agent(agent_joins_a_refused_task);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_str_eq(accounts[1].message, told[0]);
}
