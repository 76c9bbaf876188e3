/*
 * The host in a test: the worker's own code, with
 *
 *     a virtual clock   in place of the loop, its fibers and its pool of threads
 *     a record          in place of the link to the front
 *     a script          in place of libcurl, and of clients
 *
 * The plugin gets the worker's table of functions. Those that a test may count
 * (events, and calls that wait) are wrapped: they tell the script, and go on to
 * the worker's.
 *
 * A run is one job with a clock of its own. The clock outlives the run for as
 * long as the agent holds a capture of it.
 */
#include "agent_test.h"

#include "base/json.h"
#include "base/json_fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "harness/record.h"
#include "harness/script.h"
#include "harness/virtual_clock.h"
#include "wire/frames.h"
#include "worker/emit.h"
#include "worker/exchange.h"
#include "worker/execution.h"
#include "worker/host_table.h"
#include "worker/instance.h"
#include "worker/job.h"
#include "worker/outbox.h"
#include "worker/refused.h"
#include "worker/vars.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As the host's, in form. */
#define RUN_ID "00000000000000000000000000"

struct agent_test {
    struct instance instance;
    char *config;
    char *refusal; /* "" if it is fit */
    char *state;
    struct list vars;      /* struct var: for all runs */
    struct script *script; /* of the next run */
    struct record record;  /* of the last run */
    char *log;             /* lines */
    unsigned strays;
    unsigned refused;    /* since the last run began */
    int refused_status;  /* of the first of them */
    char *refused_first; /* "" for none */
    char *refused_last;
    bool strict;
};

/* The run that goes on: the data of its clock. */
struct run {
    struct agent_test *test;
    struct script *script;
    struct virtual_clock *clock;
    struct outbox *outbox;
    struct job *job;
    bool loads; /* create() and selftest(), not handle() */
    bool gave_up;
};

/* What happens outside of a run belongs to this one. */
static struct agent_test *used_last;
static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* of that, and of logs, strays and refusals */

/* ---- what the plugin does at any time ----------------------------------- */

/* test is NULL for the one used last. */
static void test_log(struct agent_test *test, const char *level, const char *text)
{
    char *longer;

    pthread_mutex_lock(&lock);
    if (test == NULL)
        test = used_last;
    if (test) {
        longer = mem_printf("%s%s: %s\n", test->log, level, text);
        free(test->log);
        test->log = longer;
    }
    pthread_mutex_unlock(&lock);
}

static void count_stray(void)
{
    pthread_mutex_lock(&lock);
    if (used_last)
        used_last->strays++;
    pthread_mutex_unlock(&lock);
}

static void test_use(struct agent_test *test)
{
    pthread_mutex_lock(&lock);
    used_last = test;
    pthread_mutex_unlock(&lock);
}

/* Return the run of this task, or NULL if it has ended. Locked. */
static struct run *run_of(const struct task *task)
{
    return virtual_clock_data(job_sched(task->job));
}

/* Return the test whose run the task is in; NULL if the run has ended, or for no task. */
static struct agent_test *test_of(const struct task *task)
{
    struct agent_test *test;

    if (task == NULL)
        return NULL;
    sched_lock(job_sched(task->job));
    test = run_of(task) ? run_of(task)->test : NULL;
    sched_unlock(job_sched(task->job));
    return test;
}

static void on_log(enum agent_log_level level, const char *text)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    test_log(test_of(task_current()), names[level], text);
}

static void on_refused(struct task *task, int status, const char *text, bool is_first)
{
    struct agent_test *test = test_of(task);

    pthread_mutex_lock(&lock);
    if (test == NULL)
        test = used_last;
    if (test) {
        if (test->refused++ == 0) {
            test->refused_status = status;
            mem_set(&test->refused_first, text);
        }
        mem_set(&test->refused_last, text);
    }
    pthread_mutex_unlock(&lock);
    if (is_first)
        test_log(test, "refused", text);
}

/* Count an event, or a text that leaves in pieces, that the worker's code is about to take. */
static void count_emit(struct task *task, const struct emit *emit)
{
    struct run *run;

    sched_lock(job_sched(task->job));
    run = run_of(task);
    if (run && (emit->is_delta || emit_size(emit, task->scope) <= AGENT_EVENT_MAX))
        script_count_emit(run->script);
    sched_unlock(job_sched(task->job));
}

static int test_emit_event(const char *type, const char *json)
{
    struct task *task = task_current();
    struct emit emit;

    if (task == NULL)
        count_stray();
    else if (emit_of_event(&emit, type, json) == 0)
        count_emit(task, &emit);
    return host_table()->emit_event(type, json);
}

static int test_emit_text(const char *utf8)
{
    struct task *task = task_current();
    struct emit emit;

    if (task == NULL)
        count_stray();
    else if (emit_of_text(&emit, utf8) == 0)
        count_emit(task, &emit);
    return host_table()->emit_text(utf8);
}

static void count_wait(void)
{
    struct task *task = task_current();
    struct run *run;

    if (task == NULL)
        return;
    sched_lock(job_sched(task->job));
    run = run_of(task);
    if (run)
        script_count_wait(run->script);
    sched_unlock(job_sched(task->job));
}

static int test_sleep(uint32_t ms)
{
    count_wait();
    return host_table()->sleep(ms);
}

static int test_run_input(uint32_t timeout_ms, const char **json)
{
    if (json)
        count_wait();
    return host_table()->run_input(timeout_ms, json);
}

static int test_ask(const char *question, uint32_t timeout_ms, const char **answer)
{
    struct task *task = task_current();
    struct emit emit;

    if (task && question && answer && emit_of_question(&emit, question) == 0) {
        count_emit(task, &emit);
        count_wait();
    }
    return host_table()->ask(question, timeout_ms, answer);
}

static int test_http_status(struct agent_http *http)
{
    count_wait();
    return host_table()->http_status(http);
}

static long test_http_read(struct agent_http *http, const char **data)
{
    count_wait();
    return host_table()->http_read(http, data);
}

/* The process that executes a plugin's function at the moment; 0 for none. */
static pid_t inside;

/* A plugin that calls exit(0) must not look like a test that succeeded. */
static void on_process_exit(int status, void *unused)
{
    (void)unused;
    if (inside != getpid())
        return;
    fprintf(stderr, "agent_test: the plugin called exit(%d)\n", status);
    fflush(NULL);
    _exit(1);
}

static void set_inside(bool is_inside)
{
    inside = is_inside ? getpid() : 0;
}

static struct agent_host table;

static void make_table(void)
{
    table = *host_table();
    table.emit_event = test_emit_event;
    table.emit_text = test_emit_text;
    table.sleep = test_sleep;
    table.run_input = test_run_input;
    table.ask = test_ask;
    table.http_status = test_http_status;
    table.http_read = test_http_read;
    host_table_set_log(on_log);
    on_exit(on_process_exit, NULL);
    refused_set_listener(on_refused);
}

/* ---- open --------------------------------------------------------------- */

/* Return the JSON, which must be some. */
static const char *checked(const char *what, const char *json)
{
    struct buf fault = {0};

    if (json == NULL)
        log_fatal("%s is NULL, and must be JSON", what);
    json_fault_tell(&fault, json, strlen(json));
    if (buf_length(&fault) > 0)
        log_fatal("%s is %.*s", what, (int)buf_length(&fault), buf_data(&fault));
    return json;
}

static void test_refuse(struct agent_test *test, struct refusal *refusal)
{
    mem_set(&test->refusal, why_text(&refusal->why));
    refusal_finish(refusal);
}

static int test_create(struct agent_test *test, const char *state);

static void test_destroy_plugin(struct agent_test *test)
{
    test_use(test);
    virtual_clock_set_loop(true);
    set_inside(true);
    instance_destroy(&test->instance);
    set_inside(false);
    virtual_clock_set_loop(false);
}

static void test_load(struct agent_test *test, agent_test_entry *entry)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct refusal refusal = {0};

    pthread_once(&once, make_table);
    if (instance_declare(&test->instance, entry(&table), &refusal) < 0)
        test_refuse(test, &refusal);
    else
        test_create(test, NULL);
}

static struct agent_test *test_alloc(const char *config)
{
    struct agent_test *test = mem_alloc(sizeof *test);
    const char *strict = getenv("AGENT_TEST_STRICT");

    log_open("agent_test", "", LOG_INFO);
    test->config = mem_strdup(checked("the configuration", config ? config : "{}"));
    test->refusal = mem_strdup("");
    test->script = script_create();
    record_init(&test->record);
    test->log = mem_strdup("");
    test->refused_first = mem_strdup("");
    test->refused_last = mem_strdup("");
    test->strict = strict && *strict && strcmp(strict, "0") != 0;
    refused_forget_outside();
    return test;
}

struct agent_test *agent_test_open(agent_test_entry *entry, const char *config)
{
    struct agent_test *test = test_alloc(config);

    test_load(test, entry);
    return test;
}

struct agent_test *agent_test_open_file(const char *path, const char *config)
{
    struct agent_test *test = test_alloc(config);
    /* With a slash in it, or the dynamic linker looks elsewhere. */
    char *place = strchr(path, '/') ? mem_strdup(path) : mem_printf("./%s", path);
    void *module = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module ? dlsym(module, "agent_plugin_entry") : NULL;
    agent_test_entry *entry;

    free(place);
    if (symbol) {
        memcpy(&entry, &symbol, sizeof entry);
        test_load(test, entry);
    } else {
        mem_set(&test->refusal, dlerror());
    }
    return test;
}

void agent_test_close(struct agent_test *test)
{
    if (test == NULL)
        return;
    test_destroy_plugin(test);
    test_use(NULL);
    script_destroy(test->script);
    record_finish(&test->record);
    list_finish(&test->vars, free);
    free(test->refused_first);
    free(test->refused_last);
    free(test->log);
    free(test->config);
    free(test->refusal);
    free(test->state);
    free(test);
}

const char *agent_test_refusal(struct agent_test *test)
{
    return test->refusal;
}

const char *agent_test_state(struct agent_test *test)
{
    struct buf why = {0};
    char *state = NULL;

    test_use(test);
    virtual_clock_set_loop(true);
    if (instance_save_state(&test->instance, &state, &why) < 0) {
        char *line =
            mem_printf("save_state() returned %.*s", (int)buf_length(&why), buf_data(&why));
        test_log(test, "warn", line);
        free(line);
    }
    buf_finish(&why);
    virtual_clock_set_loop(false);
    mem_set(&test->state, state ? state : "");
    free(state);
    return test->state;
}

int agent_test_restart(struct agent_test *test, const char *state)
{
    if (test->instance.info.handle == NULL)
        return -ENODEV;
    test_destroy_plugin(test);
    return test_create(test, state && *state ? checked("the state", state) : NULL);
}

/* ---- script ------------------------------------------------------------- */

void agent_test_set(struct agent_test *test, const char *key, const char *value)
{
    if (!vars_key_is_valid(key))
        log_fatal("no variable has this name: %s", key);
    list_add(&test->vars, vars_push(NULL, key, value));
}

void agent_test_input(struct agent_test *test, uint64_t at_ms, const char *json)
{
    script_input(test->script, at_ms, checked("what the client says", json));
}

void agent_test_reply(struct agent_test *test, const char *id, uint32_t delay_ms, const char *json)
{
    if (id == NULL || *id != 'q')
        log_fatal("the question's id is %s, and must be as the host gives it: q1, q2, ...",
                  id ? id : "NULL");
    script_reply(test->script, id, delay_ms, checked("what the person replies", json));
}

void agent_test_cancel_at_emit(struct agent_test *test, unsigned n)
{
    script_cancel_at_emit(test->script, n);
}

void agent_test_cancel_at_wait(struct agent_test *test, unsigned n)
{
    script_cancel_at_wait(test->script, n);
}

void agent_test_cancel_at(struct agent_test *test, uint64_t at_ms)
{
    script_cancel_at(test->script, at_ms);
}

void agent_test_answer(struct agent_test *test, const struct agent_test_response *answer)
{
    script_answer(test->script, answer);
}

/* ---- run ---------------------------------------------------------------- */

static void on_frames(void *data, struct buf *frames)
{
    struct run *run = data;
    const struct list *events = &run->test->record.events;
    uint64_t now = sched_now(virtual_clock_sched(run->clock));

    size_t known = events->count;

    record_take(&run->test->record, frames, now / CLOCK_MS);
    for (; known < events->count; known++) {
        const struct agent_test_emitted *event = events->items[known];
        struct buf id = {0};
        if (strcmp(event->type, WIRE_ASK) == 0 &&
            json_member_text(event->json, strlen(event->json), "id", &id)) {
            buf_append(&id, "", 1);
            script_asked(run->script, buf_data(&id));
        }
        buf_finish(&id);
    }
}

/* Record what was emitted before time passes. */
static void on_settle(void *data)
{
    struct run *run = data;

    outbox_close_turn(run->outbox);
    outbox_hand_over(run->outbox);
}

static bool on_give_up(void *data)
{
    struct run *run = data;

    if (run->gave_up || job_is_stopped(run->job))
        return false;
    run->gave_up = true;
    test_log(run->test, "warn", "the run waits for what never comes, and is cancelled");
    job_cancel(run->job);
    return true;
}

static void on_requested(void *data, struct agent_test_requested *request)
{
    struct run *run = data;

    list_add(&run->test->record.requests, request);
}

static void on_warn(void *data, const char *text)
{
    struct run *run = data;

    test_log(run->test, "warn", text);
}

/* Return the last value that the test has set, or NULL. */
static const char *test_var(const struct agent_test *test, const char *key)
{
    const char *value = NULL;

    for (size_t i = 0; i < test->vars.count; i++) {
        const struct var *var = test->vars.items[i];
        if (strcmp(var->key, key) == 0)
            value = var->value;
    }
    return value;
}

static void test_append_vars(const struct agent_test *test, const char *input, struct buf *pairs)
{
    const struct agent_plugin *plugin = &test->instance.info;

    wire_append_pair(pairs, "input", input);
    wire_append_pair(pairs, "run.id", RUN_ID);
    wire_append_pair(pairs, "run.agent", plugin->name);
    wire_append_pair(pairs, "plugin.version", plugin->version);
    wire_append_pair(pairs, "plugin.generation", "1");
    for (size_t i = 0; i < test->vars.count; i++) {
        const struct var *var = test->vars.items[i];
        const char *value = test_var(test, var->key);
        if (value)
            wire_append_pair(pairs, var->key, value);
    }
}

static void on_thread_ended(const char *function)
{
    log_fatal("%s called pthread_exit(): it must return", function);
}

static const struct clock_owner clock_owner = {.settle = on_settle, .give_up = on_give_up};
static const struct script_handler script_handler = {.requested = on_requested, .warn = on_warn};

static void run_begin(struct run *run, const char *input, const struct subtask_executor *executor)
{
    struct sched *sched = virtual_clock_sched(run->clock);
    struct job_host host = {.sched = sched,
                            .outbox = outbox_create(sched, on_frames, run),
                            .executor = executor,
                            .thread_ended = on_thread_ended,
                            .http = script_driver(run->script)};
    struct buf pairs = {0};

    test_append_vars(run->test, input, &pairs);
    run->outbox = host.outbox;
    run->job = job_create(&host, 1, buf_data(&pairs), buf_length(&pairs));
    buf_finish(&pairs);
    sched_lock(sched);
    job_add_credit(run->job, SIZE_MAX / 2); /* its reader is never behind */
    if (run->loads)
        script_attach(run->script, run->clock, run->job, &script_handler, run);
    else
        script_play(run->script, run->clock, run->job, &script_handler, run);
    sched_unlock(sched);
    virtual_clock_begin(run->clock);
}

/* Locked; not locked on return. */
static void run_end(struct run *run, int status)
{
    if (run->loads)
        exchanges_close_all(run->job);
    else
        execution_end(run->job, status);
    on_settle(run);
    outbox_unref(run->outbox);
    job_unref(run->job);
    virtual_clock_end(run->clock);
    if (!run->loads) /* else it is the next run's */
        script_destroy(run->script);
}

static struct task *loading_task(void *data)
{
    return data;
}

/* What create() and selftest() wait with is like a run, but no task is in it. */
static int test_create(struct agent_test *test, const char *state)
{
    struct run run = {.test = test, .script = test->script, .loads = true};
    struct refusal refusal = {0};
    struct task task;
    int status;

    test_use(test);
    mem_set(&test->refusal, "");
    host_table_forget_error();
    run.clock = virtual_clock_create(&clock_owner, &run, false);
    run_begin(&run, "", NULL);
    task_init(&task, run.job, NULL, NULL);
    task_set_loading(loading_task, &task);
    virtual_clock_set_loop(true);
    set_inside(true);
    status = instance_create(&test->instance, test->config, state, &refusal);
    set_inside(false);
    virtual_clock_set_loop(false);
    task_set_loading(NULL, NULL);
    task_finish(&task);
    sched_lock(virtual_clock_sched(run.clock));
    run_end(&run, status);
    if (status < 0) {
        host_table_add_last_error(&refusal.why);
        test_refuse(test, &refusal);
    }
    return status;
}

static void test_forget_refused(struct agent_test *test)
{
    pthread_mutex_lock(&lock);
    test->refused = 0;
    mem_set(&test->refused_first, "");
    mem_set(&test->refused_last, "");
    pthread_mutex_unlock(&lock);
}

/* In a strict test a run in which a call was refused fails. Locked. */
static int run_judge(const struct run *run, int status)
{
    struct agent_test *test = run->test;

    pthread_mutex_lock(&lock);
    if (test->strict && test->refused > 0 && status == 0 && !job_has_failed(run->job)) {
        job_fail(run->job, "refused", test->refused_first);
        status = test->refused_status;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static int test_run(struct agent_test *test, const char *input, int (*fn)(void *arg), void *arg)
{
    struct run run = {.test = test, .script = test->script};
    struct execution execution = {.fn = fn, .arg = arg};
    struct subtask_executor executor;
    int status;

    if (*test->refusal) {
        fprintf(stderr, "agent_test: the plugin was refused: %s\n", test->refusal);
        return -ENODEV;
    }
    test_use(test);
    test->script = script_create();
    test_forget_refused(test);
    record_finish(&test->record);
    record_init(&test->record);
    run.clock = virtual_clock_create(&clock_owner, &run, test->instance.info.mode == AGENT_FIBER);
    executor = virtual_clock_executor(run.clock);
    run_begin(&run, input, &executor);
    execution.job = run.job;
    set_inside(true);
    status = run_judge(&run, execution_run(&execution));
    set_inside(false);
    run_end(&run, status);
    return status;
}

struct handle_call {
    struct agent_test *test;
    const char *input;
};

static int call_handle(void *arg)
{
    struct handle_call *call = arg;

    return instance_handle(&call->test->instance, call->input);
}

__attribute__((format(printf, 2, 3))) static int fail(const char *code, const char *format, ...)
{
    va_list args;
    int status;

    va_start(args, format);
    status = host_table()->run_fail(code, format, args);
    va_end(args);
    return status;
}

/* The host answers such a request with 422, and no run begins. */
static int call_turn_away(void *arg)
{
    const struct why *why = arg;

    return fail("bad_input", "the input does not match input_schema: %s", why_text(why));
}

int agent_test_run(struct agent_test *test, const char *input)
{
    struct handle_call call = {.test = test};
    struct why why = {0};
    int status;

    call.input = checked("the input", input ? input : "{}");
    /* A plugin that was refused has no card. */
    if (card_check_input(&test->instance.card, call.input, strlen(call.input), &why) < 0)
        status = test_run(test, call.input, call_turn_away, &why);
    else
        status = test_run(test, call.input, call_handle, &call);
    why_finish(&why);
    return status;
}

int agent_test_call(struct agent_test *test, int (*fn)(void *arg), void *arg)
{
    return test_run(test, "{}", fn, arg);
}

/* ---- read back ---------------------------------------------------------- */

size_t agent_test_events(struct agent_test *test)
{
    return test->record.events.count;
}

const struct agent_test_emitted *agent_test_event(struct agent_test *test, size_t i)
{
    static const struct agent_test_emitted none = {.type = "", .json = ""};

    return i < test->record.events.count ? test->record.events.items[i] : &none;
}

const char *agent_test_text(struct agent_test *test)
{
    return record_text(&test->record);
}

const char *agent_test_transcript(struct agent_test *test)
{
    return record_transcript(&test->record);
}

const char *agent_test_status(struct agent_test *test)
{
    return test->record.status;
}

const char *agent_test_code(struct agent_test *test)
{
    return test->record.code;
}

const char *agent_test_message(struct agent_test *test)
{
    return test->record.message;
}

const char *agent_test_result(struct agent_test *test)
{
    return test->record.result;
}

uint64_t agent_test_elapsed_ms(struct agent_test *test)
{
    return test->record.elapsed_ms;
}

size_t agent_test_requests(struct agent_test *test)
{
    return test->record.requests.count;
}

const struct agent_test_requested *agent_test_request(struct agent_test *test, size_t i)
{
    static const struct agent_test_requested none = {
        .method = "", .url = "", .headers = "", .body = ""};

    return i < test->record.requests.count ? test->record.requests.items[i] : &none;
}

const char *agent_test_log(struct agent_test *test)
{
    return test->log;
}

unsigned agent_test_refused(struct agent_test *test)
{
    return test->refused;
}

const char *agent_test_refused_first(struct agent_test *test)
{
    return test->refused_first;
}

const char *agent_test_refused_last(struct agent_test *test)
{
    return test->refused_last;
}

void agent_test_strict(struct agent_test *test, int on)
{
    test->strict = on != 0;
}

unsigned agent_test_strays(struct agent_test *test)
{
    return test->strays;
}
