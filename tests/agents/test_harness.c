/* The harness records, scripts and refuses like the host. */
#include "../case.h"
#include "refusals.h"

#include <sluice/agent_http.h>
#include <sluice/agent_test.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct agent_test *test;

/* ---- the plugin, whose handle() calls the function of the case ---- */

static int create_status, selftest_status, destroyed;
static const char *selftest_asks; /* NULL: nobody */
static char created_with[64];

static int create(const char *config, const char *state, void **self)
{
    *self = NULL;
    snprintf(created_with, sizeof created_with, "%s %s", config, state ? state : "none");
    if (create_status < 0)
        agent_log(AGENT_LOG_ERROR, "there is no %s", "disk");
    ck_assert_int_eq(emit_event("early", "{}"), -ENXIO);
    ck_assert_ptr_null(ctx_get("input"));
    return create_status;
}

static int selftest(void *self)
{
    struct agent_http_request request = {.url = selftest_asks};
    struct agent_http *http;
    int status;

    (void)self;
    if (selftest_asks == NULL)
        return selftest_status;
    ck_assert_int_eq(agent_sleep(1000), -ENXIO);
    ck_assert_int_eq(agent_http_open(&request, &http), 0);
    status = agent_http_status(http);
    ck_assert_int_eq(emit_event("late", "{}"), -ENXIO);
    agent_http_close(http);
    return status == 200 ? 0 : status < 0 ? status : -EIO;
}

static int handle(void *self, const char *input)
{
    (void)self;
    return emit_event("input", input);
}

static char *save_state(void *self)
{
    (void)self;
    return strdup("{ \"n\": 1 }");
}

static void destroy(void *self)
{
    (void)self;
    destroyed++;
}

AGENT_PLUGIN(.name = "probe", .version = "1.5", .create = create, .selftest = selftest,
             .handle = handle, .save_state = save_state, .destroy = destroy)

static void open_probe(void)
{
    create_status = selftest_status = destroyed = 0;
    selftest_asks = NULL;
    test = agent_test_open(agent_plugin_entry, "{\"key\":\"value\"}");
}

static void close_probe(void)
{
    agent_test_close(test);
}

/* The log begins with what create() is refused. */
static void expect_log_ends(const char *text)
{
    const char *log = agent_test_log(test);
    size_t length = strlen(log), wanted = strlen(text);

    ck_assert_ptr_nonnull(strstr(log, "refused: emit_event(\"early\"): not inside a run; "));
    ck_assert_uint_ge(length, wanted);
    ck_assert_str_eq(log + length - wanted, text);
}

/* ---- records ---- */

CASES("harness", .setup = open_probe, .teardown = close_probe);

CASE(handle_gets_the_input)
{
    ck_assert_int_eq(agent_test_run(test, "{ \"a\": [1, 2] }"), 0);
    ck_assert_uint_eq(agent_test_events(test), 1);
    ck_assert_str_eq(agent_test_event(test, 0)->type, "input");
    ck_assert_str_eq(agent_test_event(test, 0)->json, "{\"a\":[1,2]}");
    ck_assert_str_eq(agent_test_event(test, 1)->type, "");
    agent_test_run(test, NULL);
    ck_assert_str_eq(agent_test_transcript(test), "input {}\ndone {\"status\":\"finished\"}\n");
}

CASE(nothing_before_the_first_run)
{
    ck_assert_uint_eq(agent_test_events(test), 0);
    ck_assert_str_eq(agent_test_status(test), "");
    ck_assert_str_eq(agent_test_transcript(test), "");
    ck_assert_str_eq(agent_test_text(test), "");
    ck_assert_str_eq(agent_test_code(test), "");
}

/* ---- agents that end their process or thread ---- */

static int call_exit(void *arg)
{
    (void)arg;
    exit(0);
}

static int call_pthread_exit(void *arg)
{
    pthread_exit(arg);
}

/* Return the wait status of a process that makes this call. */
static int end_of_call(int (*fn)(void *arg))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        agent_test_call(test, fn, NULL);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

CASE(exit_in_an_agent_is_no_success)
{
    int status = end_of_call(call_exit);

    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 1);
}

CASE(pthread_exit_in_an_agent_is_fatal)
{
    ck_assert(WIFSIGNALED(end_of_call(call_pthread_exit)));
}

static int say(void *arg)
{
    (void)arg;
    emit_text("tab\t\"quote\" ");
    emit_event("other", "{\"delta\":\"no text\"}");
    emit_event("text", "{\"delta\":\"caf\\u00e9\"}");
    return 0;
}

CASE(text_is_what_a_person_reads)
{
    ck_assert_int_eq(agent_test_call(test, say, NULL), 0);
    ck_assert_str_eq(agent_test_text(test), "tab\t\"quote\" café");
    ck_assert_str_eq(agent_test_event(test, 0)->json, "{\"delta\":\"tab\\t\\\"quote\\\" \"}");
}

static int emit_wrongly(void *arg)
{
    char *large = calloc(1, AGENT_EVENT_MAX + 2);

    (void)arg;
    ck_assert_int_eq(emit_event("done", "{}"), -EINVAL);
    ck_assert_int_eq(emit_event("error", "{}"), -EINVAL);
    ck_assert_int_eq(emit_event("a b", "{}"), -EINVAL);
    ck_assert_int_eq(emit_event(NULL, "{}"), -EINVAL);
    ck_assert_int_eq(emit_event("a", "{"), -EINVAL);
    ck_assert_int_eq(emit_event("a", NULL), -EINVAL);
    ck_assert_int_eq(emit_text("\xff"), -EINVAL);
    ck_assert_int_eq(emit_text(NULL), -EINVAL);
    memset(large, '1', AGENT_EVENT_MAX + 1);
    ck_assert_int_eq(emit_event("a", large), -EMSGSIZE);
    large[AGENT_EVENT_MAX] = '\0';
    ck_assert_int_eq(emit_event("a", large), 0);
    free(large);
    return 0;
}

CASE(bad_events_are_refused)
{
    agent_test_call(test, emit_wrongly, NULL);
    ck_assert_uint_eq(agent_test_events(test), 1);
}

CASE(selftest_asks_a_server)
{
    struct agent_test_response yes = {.url = "model/health"}, no = {.status = 503};

    selftest_asks = "http://model/health";
    ck_assert_int_eq(agent_test_restart(test, NULL), -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(agent_test_refusal(test), "selftest() returned -111 "));
    agent_test_answer(test, &yes);
    ck_assert_int_eq(agent_test_restart(test, NULL), 0);
    ck_assert_str_eq(agent_test_refusal(test), "");
    ck_assert_uint_eq(agent_test_requests(test), 2);
    ck_assert_str_eq(agent_test_request(test, 1)->url, "http://model/health");
    ck_assert_str_eq(agent_test_status(test), "");
    agent_test_answer(test, &no);
    ck_assert_int_eq(agent_test_restart(test, NULL), -EIO);
    selftest_asks = NULL;
    ck_assert_int_eq(agent_test_restart(test, NULL), 0);
    ck_assert_int_eq(agent_test_run(test, "1"), 0);
    ck_assert_uint_eq(agent_test_requests(test), 0);
}

/* What is scripted for the next run stays for it. */
CASE(restart_keeps_the_script)
{
    agent_test_cancel_at_emit(test, 1);
    ck_assert_int_eq(agent_test_restart(test, NULL), 0);
    ck_assert_int_eq(agent_test_run(test, "1"), -ECANCELED);
    ck_assert_str_eq(agent_test_status(test), "cancelled");
}

/* ---- refusals, by the same table as the worker ---- */

static int emit_one(void *arg)
{
    const struct refused_event *event = arg;

    return emit_event(event->type, event->json);
}

CASE(refused_events_are_told)
{
    for (size_t i = 0; i < refused_event_count; i++) {
        const struct refused_event *event = &refused_events[i];
        agent_test_call(test, emit_one, (void *)event);
        ck_assert_uint_eq(agent_test_refused(test), *event->text != '\0');
        ck_assert_str_eq(agent_test_refused_first(test), event->text);
        ck_assert_str_eq(agent_test_message(test), event->text);
        ck_assert_ptr_nonnull(strstr(agent_test_log(test), event->text));
    }
}

static int call_one(void *arg)
{
    const struct refusal_case *refusal = arg;

    ck_assert_int_eq(refusal->call(), refusal->status);
    return 0;
}

CASE(refused_calls_are_told)
{
    for (size_t i = 0; i < refusal_count; i++) {
        agent_test_call(test, call_one, (void *)&refusals[i]);
        ck_assert_uint_eq(agent_test_refused(test), 1);
        ck_assert_str_eq(agent_test_refused_first(test), refusals[i].text);
    }
}

static int emit_two_wrongly(void *arg)
{
    (void)arg;
    emit_event("one", "{");
    emit_event("one", "[");
    emit_text("\xff");
    return 0;
}

CASE(first_and_last_refusal)
{
    const char *log;

    ck_assert_int_eq(agent_test_call(test, emit_two_wrongly, NULL), 0);
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_uint_eq(agent_test_refused(test), 3);
    ck_assert_ptr_nonnull(strstr(agent_test_refused_first(test), "emit_event(\"one\"): "));
    ck_assert_ptr_nonnull(strstr(agent_test_refused_last(test), "emit_text(): "));
    log = strstr(agent_test_log(test), "refused: emit_event(\"one\"): ");
    ck_assert_ptr_nonnull(log);
    ck_assert_ptr_null(strstr(log + 1, "refused: emit_event(\"one\"): "));
    ck_assert_int_eq(agent_test_call(test, say, NULL), 0);
    ck_assert_uint_eq(agent_test_refused(test), 0);
    ck_assert_str_eq(agent_test_refused_first(test), "");
    ck_assert_str_eq(agent_test_refused_last(test), "");
}

CASE(strict)
{
    agent_test_strict(test, 1);
    ck_assert_int_eq(agent_test_call(test, say, NULL), 0);
    ck_assert_str_eq(agent_test_status(test), "finished");
    ck_assert_int_eq(agent_test_call(test, emit_two_wrongly, NULL), -EINVAL);
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_str_eq(agent_test_code(test), "refused");
    ck_assert_str_eq(agent_test_message(test), agent_test_refused_first(test));
    agent_test_cancel_at_emit(test, 1);
    agent_test_call(test, emit_two_wrongly, NULL); /* no event of which is one */
    ck_assert_str_eq(agent_test_status(test), "failed");
    agent_test_strict(test, 0);
    ck_assert_int_eq(agent_test_call(test, emit_two_wrongly, NULL), 0);
}

CASE(strict_by_the_environment)
{
    struct agent_test *strict;

    setenv("AGENT_TEST_STRICT", "1", 1);
    strict = agent_test_open(agent_plugin_entry, NULL);
    unsetenv("AGENT_TEST_STRICT");
    ck_assert_int_eq(agent_test_call(strict, emit_two_wrongly, NULL), -EINVAL);
    agent_test_close(strict);
}

CASE(outside_of_a_run)
{
    const char *json;

    ck_assert_uint_eq(agent_test_strays(test), 1); /* create() */
    ck_assert_int_eq(emit_event("a", "{}"), -ENXIO);
    ck_assert_int_eq(emit_text("a"), -ENXIO);
    ck_assert_uint_eq(agent_test_strays(test), 3);
    ck_assert_int_eq(ctx_set("a", "b"), -ENXIO);
    ck_assert_ptr_null(ctx_capture());
    ck_assert_int_eq(run_cancelled(), 0);
    ck_assert_int_eq(run_fail("a", "b"), -ENXIO);
    ck_assert_int_eq(run_result("1"), -ENXIO);
    ck_assert_int_eq(agent_sleep(1), -ENXIO);
    ck_assert_int_eq(run_input(1, &json), -ENXIO);
    ck_assert_int_eq(task_spawn(say, NULL, NULL), -ENXIO);
    ck_assert_int_eq(task_scope("a"), -ENXIO);
    ck_assert_int_eq(agent_http_open(NULL, NULL), -ENXIO);
}

/* ---- ends ---- */

static int fail_twice(void *arg)
{
    ck_assert_int_eq(run_result("{ \"half\": true }"), 0);
    run_fail("no_model", "there is no model %d", 7);
    run_fail("later", "is ignored");
    return *(int *)arg;
}

CASE(failure_has_its_reason)
{
    int status = -EIO;

    ck_assert_int_eq(agent_test_call(test, fail_twice, &status), -EIO);
    ck_assert_str_eq(agent_test_status(test), "failed");
    ck_assert_str_eq(agent_test_code(test), "no_model");
    ck_assert_str_eq(agent_test_message(test), "there is no model 7");
    ck_assert_str_eq(agent_test_result(test), "");
    ck_assert_str_eq(agent_test_transcript(test),
                     "done {\"status\":\"failed\",\"error\":{\"code\":\"no_model\","
                     "\"message\":\"there is no model 7\"}}\n");
    status = 0;
    agent_test_call(test, fail_twice, &status);
    ck_assert_str_eq(agent_test_status(test), "failed");
}

static int return_status(void *arg)
{
    ck_assert_int_eq(run_result("{"), -EINVAL);
    ck_assert_int_eq(run_result("[ 1 ]"), 0);
    return *(int *)arg;
}

CASE(result_and_status)
{
    int status = -EINVAL;

    agent_test_call(test, return_status, &status);
    ck_assert_str_eq(agent_test_code(test), "agent_error");
    ck_assert_str_eq(agent_test_message(test),
                     "run_result(): not JSON at byte 1: it ends, wanted a name in double quotes "
                     "or '}': {▸");
    status = -EACCES;
    agent_test_call(test, return_status, &status);
    ck_assert_str_eq(agent_test_message(test), "handle() returned -13 (Permission denied)");
    status = 0;
    agent_test_call(test, return_status, &status);
    ck_assert_str_eq(agent_test_result(test), "[1]");
    ck_assert_str_eq(agent_test_transcript(test),
                     "done {\"status\":\"finished\",\"result\":[1]}\n");
}

/* ---- variables ---- */

static int use_variables(void *arg)
{
    (void)arg;
    ck_assert_str_eq(ctx_get("run.agent"), "probe");
    ck_assert_str_eq(ctx_get("plugin.version"), "1.5");
    ck_assert_str_eq(ctx_get("plugin.generation"), "1");
    ck_assert_str_eq(ctx_get("input"), "{}");
    ck_assert_str_eq(ctx_get("auth.subject"), "ann");
    ck_assert_ptr_null(ctx_get("traceparent"));
    ck_assert_ptr_null(ctx_get("mine"));
    ck_assert_int_eq(ctx_set("mine", "1"), 0);
    ck_assert_str_eq(ctx_get("mine"), "1");
    ck_assert_int_eq(ctx_set("mine", NULL), 0);
    ck_assert_ptr_null(ctx_get("mine"));
    ck_assert_int_eq(ctx_set("mine", "2"), 0);
    ck_assert_int_eq(ctx_set("run.id", "1"), -EPERM);
    ck_assert_int_eq(ctx_set("a b", "1"), -EINVAL);
    ck_assert_int_eq(ctx_set(NULL, "1"), -EINVAL);
    return 0;
}

CASE(variables)
{
    agent_test_set(test, "auth.subject", "bob");
    agent_test_set(test, "auth.subject", "ann");
    agent_test_set(test, "traceparent", "00-1");
    agent_test_set(test, "traceparent", NULL);
    agent_test_call(test, use_variables, NULL);
    agent_test_call(test, use_variables, NULL);
}

/* ---- time and inputs ---- */

static int wait_long(void *arg)
{
    (void)arg;
    ck_assert_int_eq(agent_sleep(0), 0);
    emit_event("a", "1");
    ck_assert_int_eq(agent_sleep(3600000), 0);
    emit_event("a", "2");
    return agent_sleep(1);
}

CASE(time_is_virtual)
{
    agent_test_call(test, wait_long, NULL);
    ck_assert_uint_eq(agent_test_event(test, 0)->at_ms, 0);
    ck_assert_uint_eq(agent_test_event(test, 1)->at_ms, 3600000);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 3600001);
}

static int ask(void *arg)
{
    const char *json;

    (void)arg;
    ck_assert_int_eq(run_input(0, NULL), -EINVAL);
    ck_assert_int_eq(run_input(0, &json), 0);
    ck_assert_str_eq(json, "\"first\"");
    ck_assert_int_eq(run_input(0, &json), -ETIMEDOUT);
    ck_assert_int_eq(run_input(100, &json), -ETIMEDOUT);
    ck_assert_int_eq(run_input(1000, &json), 0);
    ck_assert_str_eq(json, "\"second\"");
    return run_input(AGENT_FOREVER, &json);
}

static int ask_two(void *arg)
{
    const char *answer;

    (void)arg;
    ck_assert_int_eq(run_ask("{\"message\":\"1?\"}", 100, &answer), -ETIMEDOUT);
    ck_assert_int_eq(run_ask("{\"message\":\"2?\"}", AGENT_FOREVER, &answer), 0);
    ck_assert_str_eq(answer, "\"two\"");
    return run_ask("{\"message\":\"3?\"}", AGENT_FOREVER, &answer);
}

CASE(questions_are_answered_by_their_ids)
{
    agent_test_reply(test, "q2", 5000, "\"two\"");
    agent_test_reply(test, "q1", 200, "\"one\"");
    ck_assert_int_eq(agent_test_call(test, ask_two, NULL), -ECANCELED);
    ck_assert_uint_eq(agent_test_event(test, 1)->at_ms, 100);
    ck_assert_str_eq(agent_test_event(test, 1)->json, "{\"id\":\"q2\",\"message\":\"2?\"}");
    ck_assert_uint_eq(agent_test_event(test, 2)->at_ms, 5100);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 5100);
}

CASE(inputs_come_when_they_should)
{
    agent_test_input(test, 500, "\"second\"");
    agent_test_input(test, 0, "\"first\"");
    ck_assert_int_eq(agent_test_call(test, ask, NULL), -ECANCELED);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 500);
    ck_assert_str_eq(agent_test_status(test), "cancelled");
    expect_log_ends("warn: the run waits for what never comes, and is cancelled\n");
}

/* ---- cancellation ---- */

static int work(void *arg)
{
    int status = 0;

    (void)arg;
    for (int i = 0; i < 3 && status == 0; i++) {
        status = emit_event("a", "{}");
        if (status == 0)
            status = agent_sleep(10);
    }
    ck_assert_int_eq(run_cancelled(), status < 0);
    return status;
}

CASE(cancelled_anywhere)
{
    for (unsigned n = 1; n <= 4; n++) {
        agent_test_cancel_at_emit(test, n);
        ck_assert_int_eq(agent_test_call(test, work, NULL), n <= 3 ? -ECANCELED : 0);
        ck_assert_uint_eq(agent_test_events(test), n - 1);
        agent_test_cancel_at_wait(test, n);
        ck_assert_int_eq(agent_test_call(test, work, NULL), n <= 3 ? -ECANCELED : 0);
        ck_assert_uint_eq(agent_test_events(test), n <= 3 ? n : 3);
        ck_assert_str_eq(agent_test_status(test), n <= 3 ? "cancelled" : "finished");
    }
    agent_test_cancel_at(test, 15);
    ck_assert_int_eq(agent_test_call(test, work, NULL), -ECANCELED);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 15);
    agent_test_cancel_at(test, 0);
    agent_test_call(test, work, NULL);
    ck_assert_str_eq(agent_test_transcript(test),
                     "done {\"status\":\"cancelled\",\"reason\":\"client\"}\n");
}

/* ---- tasks ---- */

struct steps {
    const char *name;
    uint32_t ms;
    int status;
};

static int take_steps(void *arg)
{
    const struct steps *steps = arg;
    char json[16];

    task_scope(steps->name);
    ck_assert_str_eq(ctx_get("mine"), "parent");
    ctx_set("mine", steps->name);
    for (int i = 1; i <= 2; i++) {
        snprintf(json, sizeof json, "[%d]", i);
        emit_event("array", json);
        emit_text(steps->name);
        agent_sleep(steps->ms);
    }
    ck_assert_str_eq(ctx_get("mine"), steps->name);
    return steps->status;
}

static int do_two(void *arg)
{
    struct steps slow = {"slow", 100, -5}, quick = {"quick", 60, 7};
    struct agent_task *a, *b;

    (void)arg;
    ctx_set("mine", "parent");
    ck_assert_int_eq(task_spawn(take_steps, &slow, &a), 0);
    ck_assert_int_eq(task_spawn(take_steps, &quick, &b), 0);
    emit_event("spawned", "{}");
    ck_assert_int_eq(task_join(a), -5);
    ck_assert_int_eq(task_join(b), 7);
    ck_assert_str_eq(ctx_get("mine"), "parent");
    return emit_event("joined", "{}");
}

CASE(tasks_take_turns)
{
    ck_assert_int_eq(agent_test_call(test, do_two, NULL), 0);
    ck_assert_str_eq(agent_test_transcript(test),
                     "spawned {}\n"
                     "array [1]\ntext {\"scope\":\"slow\",\"delta\":\"slow\"}\n"
                     "array [1]\ntext {\"scope\":\"quick\",\"delta\":\"quick\"}\n"
                     "array [2]\ntext {\"scope\":\"quick\",\"delta\":\"quick\"}\n"
                     "array [2]\ntext {\"scope\":\"slow\",\"delta\":\"slow\"}\n"
                     "joined {}\n"
                     "done {\"status\":\"finished\"}\n");
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 200);
}

static int heartbeat(void *arg)
{
    const int *over = arg;

    while (!*over && agent_sleep(100) == 0)
        emit_event("alive", "{}");
    return 0;
}

static int beat_while_working(void *arg)
{
    struct agent_task *task;
    int over = 0;

    (void)arg;
    ck_assert_int_eq(task_spawn(heartbeat, &over, &task), 0);
    agent_sleep(350);
    over = 1;
    return task_join(task);
}

CASE(tasks_go_on_while_others_wait)
{
    ck_assert_int_eq(agent_test_call(test, beat_while_working, NULL), 0);
    ck_assert_uint_eq(agent_test_events(test), 4);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 400);
}

static int wait_regardless(void *arg)
{
    const int *over = arg;

    while (!*over)
        agent_sleep(100);
    return 0;
}

static int tell_it(void *arg)
{
    struct agent_task *task;
    int over = 0;

    (void)arg;
    task_spawn(wait_regardless, &over, &task);
    ck_assert_int_eq(agent_sleep(1000), -ECANCELED);
    ck_assert_int_eq(agent_sleep(1000), -ECANCELED);
    over = 1;
    return task_join(task);
}

CASE(tasks_that_ignore_their_end)
{
    agent_test_cancel_at(test, 250);
    ck_assert_int_eq(agent_test_call(test, tell_it, NULL), 0);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 250);
}

static int join_by_another(void *arg)
{
    struct agent_task **task = arg;

    return task_join(*task);
}

static int join_wrongly(void *arg)
{
    static struct steps steps = {"one", 100, 3};
    static struct agent_task *one, *other;

    (void)arg;
    ctx_set("mine", "parent");
    ck_assert_int_eq(task_join(NULL), -EINVAL);
    ck_assert_int_eq(task_spawn(take_steps, &steps, &one), 0);
    ck_assert_int_eq(task_spawn(join_by_another, &one, &other), 0);
    agent_sleep(0);
    ck_assert_int_eq(task_join(one), -EINVAL); /* the other task joins it */
    ck_assert_int_eq(task_join(other), 3);
    ck_assert_int_eq(task_join(other), -EINVAL);
    ck_assert_int_eq(task_spawn(take_steps, &steps, &one), 0);
    ck_assert_int_eq(task_spawn(join_by_another, &one, &other), 0);
    return 0; /* without joining either */
}

CASE(joins_that_are_wrong)
{
    ck_assert_int_eq(agent_test_call(test, join_wrongly, NULL), 0);
    ck_assert_uint_eq(agent_test_events(test), 8);
}

static int emit_and_sleep(void *arg)
{
    emit_event("begun", "{}");
    if (agent_sleep(1000) == -ECANCELED)
        return 0;
    emit_event("ended", "{}");
    (void)arg;
    return 0;
}

static int leave_behind(void *arg)
{
    struct agent_task *task;

    ck_assert_int_eq(task_spawn(emit_and_sleep, NULL, &task), 0);
    agent_sleep(10);
    return *(int *)arg;
}

CASE(tasks_that_nobody_joins)
{
    int status = 0;

    agent_test_call(test, leave_behind, &status);
    ck_assert_str_eq(agent_test_transcript(test),
                     "begun {}\nended {}\ndone {\"status\":\"finished\"}\n");
    status = -EIO;
    agent_test_call(test, leave_behind, &status);
    ck_assert_uint_eq(agent_test_events(test), 1); /* the task was told to stop */
    ck_assert_str_eq(agent_test_status(test), "failed");
    status = 0;
    agent_test_cancel_at(test, 500);
    agent_test_call(test, leave_behind, &status);
    ck_assert_str_eq(agent_test_status(test), "cancelled");
}

static int spawn_many(void *arg)
{
    struct agent_task *tasks[AGENT_TASKS_MAX], *one_more;

    (void)arg;
    ck_assert_int_eq(task_spawn(NULL, NULL, tasks), -EINVAL);
    for (int i = 0; i < AGENT_TASKS_MAX; i++)
        ck_assert_int_eq(task_spawn(emit_and_sleep, NULL, &tasks[i]), 0);
    ck_assert_int_eq(task_spawn(emit_and_sleep, NULL, &one_more), -EAGAIN);
    for (int i = AGENT_TASKS_MAX - 1; i >= 0; i--)
        ck_assert_int_eq(task_join(tasks[i]), 0);
    return 0;
}

CASE(many_tasks)
{
    ck_assert_int_eq(agent_test_call(test, spawn_many, NULL), 0);
    ck_assert_uint_eq(agent_test_events(test), 2 * AGENT_TASKS_MAX);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 1000);
}

static int jump_about(void *arg)
{
    unsigned n = *(unsigned *)arg;
    char json[16];

    snprintf(json, sizeof json, "%u", n);
    for (unsigned i = 0; i < 3; i++) {
        emit_event("jump", json);
        agent_sleep((n * 7 + i) % 5);
    }
    return 0;
}

static int let_many_jump(void *arg)
{
    static unsigned numbers[20];
    struct agent_task *tasks[20];

    (void)arg;
    for (unsigned i = 0; i < 20; i++) {
        numbers[i] = i;
        ck_assert_int_eq(task_spawn(jump_about, &numbers[i], &tasks[i]), 0);
    }
    for (unsigned i = 20; i-- > 0;)
        ck_assert_int_eq(task_join(tasks[i]), 0);
    return 0;
}

CASE(each_run_is_the_same)
{
    char *first;

    agent_test_call(test, let_many_jump, NULL);
    first = strdup(agent_test_transcript(test));
    ck_assert_uint_eq(agent_test_events(test), 60);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(atoi(agent_test_event(test, (size_t)i)->json), i);
        agent_test_call(test, let_many_jump, NULL);
        ck_assert_str_eq(agent_test_transcript(test), first);
    }
    free(first);
}

static int emit_a_lot(void *arg)
{
    char *json = malloc(AGENT_EVENT_MAX + 1);
    int status = 0;

    (void)arg;
    memset(json, '1', AGENT_EVENT_MAX);
    json[AGENT_EVENT_MAX] = '\0';
    for (unsigned i = 0; i < 12 && status == 0; i++)
        status = emit_event("long", json);
    free(json);
    return status;
}

/* More than the worker's code keeps at once. */
CASE(much_without_a_wait)
{
    ck_assert_int_eq(agent_test_call(test, emit_a_lot, NULL), 0);
    ck_assert_uint_eq(agent_test_events(test), 12);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 0);
}

/* ---- threads of the agent's own ---- */

static struct agent_ctx *kept;

static void *emit_bound(void *ctx)
{
    struct agent_task *task;
    const char *json;

    ck_assert_int_eq(emit_text("unbound"), -ENXIO);
    ck_assert_int_eq(ctx_bind(ctx), 0);
    ck_assert_str_eq(ctx_get("run.agent"), "probe");
    ck_assert_int_eq(emit_text("bound"), 0);
    ck_assert_int_eq(agent_sleep(250), 0);
    ck_assert_int_eq(run_input(1000, &json), 0);
    ck_assert_str_eq(json, "1");
    ck_assert_int_eq(task_spawn(emit_and_sleep, NULL, &task), 0);
    ck_assert_int_eq(task_join(task), 0);
    return NULL; /* still bound */
}

static int use_thread(void *arg)
{
    pthread_t thread;

    (void)arg;
    kept = ctx_capture();
    ck_assert_int_eq(ctx_bind(kept), -EBUSY);
    pthread_create(&thread, NULL, emit_bound, kept);
    pthread_join(thread, NULL);
    return 0;
}

CASE(bound_threads)
{
    agent_test_input(test, 300, "1");
    agent_test_call(test, use_thread, NULL);
    ck_assert_str_eq(
        agent_test_transcript(test),
        "text {\"delta\":\"bound\"}\nbegun {}\nended {}\ndone {\"status\":\"finished\"}\n");
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 1300);
    ck_assert_uint_eq(agent_test_strays(test), 2); /* one of them in create() */
    ck_assert_int_eq(ctx_bind(kept), 0);
    ck_assert_int_eq(emit_text("late"), -ECANCELED);
    ck_assert_int_eq(ctx_set("a", "b"), -ECANCELED);
    ck_assert_int_eq(run_cancelled(), 1);
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ctx_release(kept);
}

/* ---- http; test_fetch.c has more ---- */

static int collect(void *arg)
{
    struct agent_http_request request = {.url = "http://a.test/", .max_bytes = *(size_t *)arg};
    struct agent_http *http;
    char *body;
    int status;

    ck_assert_int_eq(agent_http_open(NULL, &http), -EINVAL);
    ck_assert_int_eq(agent_http_open(&request, &http), 0);
    ck_assert_ptr_null(agent_http_header(http, "Content-Type"));
    body = agent_http_collect(http, &status);
    if (body) {
        ck_assert_str_eq(agent_http_header(http, "content-type"), "text/plain");
        ck_assert_ptr_null(agent_http_header(http, "Content"));
        ck_assert_str_eq(body, "0123456789");
        ck_assert_str_eq(agent_http_error(http), "");
    } else {
        ck_assert_str_ne(agent_http_error(http), "");
    }
    free(body);
    return status; /* with the request open */
}

CASE(whole_bodies)
{
    struct agent_test_response answer = {.method = "GET",
                                         .status = 201,
                                         .headers = AGENT_TEST_LIST("Content-Type: text/plain"),
                                         .body = AGENT_TEST_LIST("01234", "", "56789")};
    size_t most = 10;

    agent_test_answer(test, &answer);
    ck_assert_int_eq(agent_test_call(test, collect, &most), 201);
    most = 9;
    agent_test_answer(test, &answer);
    ck_assert_int_eq(agent_test_call(test, collect, &most), -EMSGSIZE);
    answer.method = "POST";
    agent_test_answer(test, &answer);
    ck_assert_int_eq(agent_test_call(test, collect, &most), -ECONNREFUSED);
}

static int read_it(void *arg)
{
    const char *data;

    return (int)agent_http_read((struct agent_http *)arg, &data);
}

static int share(void *arg)
{
    struct agent_http_request request = {.url = "http://a.test/"};
    struct agent_http *http;
    struct agent_task *task;

    (void)arg;
    agent_http_open(&request, &http);
    ck_assert_int_eq(agent_http_status(http), 200);
    task_spawn(read_it, http, &task);
    agent_sleep(10);
    ck_assert_int_eq(agent_http_status(http), -EBUSY);
    agent_http_close(http);
    return task_join(task);
}

CASE(one_waits_for_an_exchange)
{
    struct agent_test_response answer = {.body = AGENT_TEST_LIST("a"), .delay_ms = 100};

    agent_test_answer(test, &answer);
    ck_assert_int_eq(agent_test_call(test, share, NULL), -ECANCELED);
    ck_assert_uint_eq(agent_test_elapsed_ms(test), 110);
}

/* ---- the plugin's life ---- */

CASE(refused)
{
    ck_assert_str_eq(agent_test_refusal(test), "");
    create_status = -ENODEV;
    ck_assert_int_eq(agent_test_restart(test, NULL), -ENODEV);
    ck_assert_str_eq(agent_test_refusal(test),
                     "create() returned -19 (No such device): there is no disk");
    expect_log_ends("error: there is no disk\n");
    ck_assert_int_eq(agent_test_run(test, "{}"), -ENODEV);
    ck_assert_str_eq(agent_test_status(test), "");
    create_status = 0;
    selftest_status = -EIO;
    ck_assert_int_eq(agent_test_restart(test, NULL), -EIO);
    ck_assert_str_eq(agent_test_refusal(test), "selftest() returned -5 (Input/output error)");
}

CASE(state_over_a_swap)
{
    ck_assert_str_eq(created_with, "{\"key\":\"value\"} none");
    ck_assert_str_eq(agent_test_state(test), "{\"n\":1}");
    ck_assert_int_eq(agent_test_restart(test, agent_test_state(test)), 0);
    ck_assert_str_eq(created_with, "{\"key\":\"value\"} {\"n\":1}");
    ck_assert_int_eq(destroyed, 1);
    ck_assert_int_eq(agent_test_restart(test, ""), 0);
    ck_assert_str_eq(created_with, "{\"key\":\"value\"} none");
}

CASE(no_such_file)
{
    struct agent_test *none = agent_test_open_file("none.so", NULL);

    ck_assert_ptr_nonnull(strstr(agent_test_refusal(none), "./none.so"));
    ck_assert_int_eq(agent_test_run(none, NULL), -ENODEV);
    agent_test_close(none);
}

static int emit_input(void *self, const char *input)
{
    (void)self;
    return emit_event("input", input);
}

/* An agent that declares what it takes. */
static const struct agent_plugin *declaring_entry(const struct agent_host *host)
{
    static const struct agent_plugin plugin = {
        .size = sizeof plugin,
        .abi = AGENT_ABI,
        .name = "declaring",
        .version = "1",
        .handle = emit_input,
        .input_schema =
            AGENT_JSON({"type" : "object", "properties" : {"n" : {"type" : "integer"}}}),
    };

    (void)host;
    return &plugin;
}

CASE(inputs_are_held_against_the_schema)
{
    struct agent_test *declaring = agent_test_open(declaring_entry, NULL);

    ck_assert_str_eq(agent_test_refusal(declaring), "");
    ck_assert_int_eq(agent_test_run(declaring, "{\"n\":1}"), 0);
    ck_assert_uint_eq(agent_test_events(declaring), 1);
    ck_assert_int_eq(agent_test_run(declaring, "{\"n\":\"x\"}"), -EIO);
    ck_assert_uint_eq(agent_test_events(declaring), 0);
    ck_assert_str_eq(agent_test_status(declaring), "failed");
    ck_assert_str_eq(agent_test_code(declaring), "bad_input");
    ck_assert_str_eq(agent_test_message(declaring), "the input does not match input_schema: at "
                                                    "\"/n\": found \"x\", wanted an integer");
    agent_test_close(declaring);
}

CASE_SIGNAL(mistakes_of_the_test_abort, SIGABRT)
{
    agent_test_run(test, "no JSON");
}
