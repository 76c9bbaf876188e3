#include "harness/test.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "harness/exchange.h"
#include "harness/run.h"
#include "harness/table.h"
#include "worker/instance.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the host's, in form. */
#define RUN_ID "00000000000000000000000000"

struct agent_test {
    struct instance instance;
    char *config;
    char *refusal; /* "" if it is fit */
    char *state;
    struct list vars; /* struct var: for all runs */
    struct run *next; /* that is being scripted */
    struct run *last; /* that is read back */
    char *log;        /* lines */
    char *error;      /* that was logged last as one */
    unsigned strays;
};

/* What happens outside of a run is that of this one. */
static struct agent_test *used_last;

static _Thread_local bool loading; /* it is in create(), selftest(), save_state() or destroy() */

/* ---- what the plugin does at any time ----------------------------------- */

void test_log(struct agent_test *test, const char *level, const char *text)
{
    char *longer;

    if (test == NULL)
        test = used_last;
    if (test == NULL)
        return;
    longer = mem_printf("%s%s: %s\n", test->log, level, text);
    free(test->log);
    test->log = longer;
    if (strcmp(level, "error") == 0)
        mem_set(&test->error, text);
}

void test_count_stray(void)
{
    if (used_last)
        used_last->strays++;
}

static void test_use(struct agent_test *test)
{
    run_lock();
    used_last = test;
    run_unlock();
}

bool test_is_loading(void)
{
    return loading;
}

/* ---- open --------------------------------------------------------------- */

/* The JSON, which must be some. */
static const char *checked(const char *what, const char *json)
{
    if (json == NULL || json_check(json, strlen(json)) < 0)
        log_fatal("%s is not JSON: %s", what, json ? json : "NULL");
    return json;
}

/* What it is refused for, with what it logged. */
static void test_refuse(struct agent_test *test, struct refusal *refusal)
{
    if (test->error)
        why_set(&refusal->why, 0, "%s: %s", why_text(&refusal->why), test->error);
    mem_set(&test->refusal, why_text(&refusal->why));
    refusal_finish(refusal);
}

static int test_create(struct agent_test *test, const char *state)
{
    struct refusal refusal = {0};
    int status;

    test_use(test);
    mem_set(&test->refusal, "");
    mem_set(&test->error, NULL);
    loading = true;
    status = instance_create(&test->instance, test->config, state, &refusal);
    loading = false;
    if (status < 0)
        test_refuse(test, &refusal);
    return status;
}

static void test_destroy_plugin(struct agent_test *test)
{
    test_use(test);
    loading = true;
    instance_destroy(&test->instance);
    loading = false;
}

static void test_load(struct agent_test *test, agent_test_entry *entry)
{
    struct refusal refusal = {0};

    if (instance_declare(&test->instance, entry(table_host()), &refusal) < 0)
        test_refuse(test, &refusal);
    else
        test_create(test, NULL);
}

static struct agent_test *test_alloc(const char *config)
{
    struct agent_test *test = mem_alloc(sizeof *test);

    log_open("agent_test", "", LOG_INFO);
    test->config = mem_strdup(checked("the configuration", config ? config : "{}"));
    test->refusal = mem_strdup("");
    test->next = run_create(test);
    test->last = run_create(test);
    test->log = mem_strdup("");
    return test;
}

struct agent_test *agent_test_open(agent_test_entry *entry, const char *config)
{
    struct agent_test *test = test_alloc(config);

    test_load(test, entry);
    return test;
}

/* With a slash in it, or the dynamic linker looks elsewhere. */
static void *open_file(const char *path)
{
    char *place = strchr(path, '/') ? mem_strdup(path) : mem_printf("./%s", path);
    void *module = dlopen(place, RTLD_NOW | RTLD_LOCAL);

    free(place);
    return module;
}

struct agent_test *agent_test_open_file(const char *path, const char *config)
{
    struct agent_test *test = test_alloc(config);
    void *module = open_file(path);
    void *symbol = module ? dlsym(module, "agent_plugin_entry") : NULL;
    agent_test_entry *entry;

    if (symbol) {
        memcpy(&entry, &symbol, sizeof entry);
        test_load(test, entry);
    } else {
        mem_set(&test->refusal, dlerror());
    }
    return test;
}

static void run_leave(struct run *run)
{
    run->test = NULL;
    run_unref(run);
}

void agent_test_close(struct agent_test *test)
{
    if (test == NULL)
        return;
    test_destroy_plugin(test);
    run_lock();
    used_last = NULL;
    run_leave(test->next);
    run_leave(test->last);
    run_unlock();
    list_finish(&test->vars, free);
    free(test->log);
    free(test->config);
    free(test->refusal);
    free(test->state);
    free(test->error);
    free(test);
}

const char *agent_test_refusal(struct agent_test *test)
{
    return test->refusal;
}

/* ---- state -------------------------------------------------------------- */

const char *agent_test_state(struct agent_test *test)
{
    char *state = NULL;

    test_use(test);
    loading = true;
    if (instance_save_state(&test->instance, &state) < 0)
        test_log(test, "warn", "save_state() returned what is not JSON, or too long");
    loading = false;
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
    run_script_input(test->next, at_ms, checked("what the client says", json));
}

void agent_test_cancel_at_emit(struct agent_test *test, unsigned n)
{
    test->next->cancel_emit = n;
}

void agent_test_cancel_at_wait(struct agent_test *test, unsigned n)
{
    test->next->cancel_wait = n;
}

void agent_test_cancel_at(struct agent_test *test, uint64_t at_ms)
{
    test->next->cancel_ms = at_ms;
}

void agent_test_answer(struct agent_test *test, const struct agent_test_response *answer)
{
    list_add(&test->next->answers, answer_create(answer));
}

/* ---- run ---------------------------------------------------------------- */

static void run_add_var(struct run *run, const char *key, const char *value)
{
    run->first = run_push(run, run->first, key, value);
}

static void test_set_vars(struct agent_test *test, struct run *run, const char *input)
{
    run_add_var(run, "input", input);
    run_add_var(run, "run.id", RUN_ID);
    run_add_var(run, "run.agent", test->instance.info.name);
    run_add_var(run, "plugin.version", test->instance.info.version);
    run_add_var(run, "plugin.generation", "1");
    for (size_t i = 0; i < test->vars.count; i++) {
        const struct var *var = test->vars.items[i];
        run_add_var(run, var->key, var->value);
    }
}

static int test_run(struct agent_test *test, const char *input, int (*fn)(void *arg), void *arg)
{
    struct run *run = test->next;

    if (*test->refusal) {
        fprintf(stderr, "agent_test: the plugin was refused: %s\n", test->refusal);
        return -ENODEV;
    }
    test_use(test);
    run_lock();
    run_leave(test->last);
    test->last = run;
    test->next = run_create(test);
    run_unlock();
    run->fibers = test->instance.info.mode == AGENT_FIBER;
    test_set_vars(test, run, input);
    run_execute(run, fn, arg);
    return run->returned;
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

int agent_test_run(struct agent_test *test, const char *input)
{
    struct handle_call call = {.test = test};

    call.input = checked("the input", input ? input : "{}");
    return test_run(test, call.input, call_handle, &call);
}

int agent_test_call(struct agent_test *test, int (*fn)(void *arg), void *arg)
{
    return test_run(test, "{}", fn, arg);
}

/* ---- read back ---------------------------------------------------------- */

size_t agent_test_events(struct agent_test *test)
{
    return test->last->events.count;
}

const struct agent_test_emitted *agent_test_event(struct agent_test *test, size_t i)
{
    static const struct agent_test_emitted none = {.type = "", .json = ""};

    return i < test->last->events.count ? test->last->events.items[i] : &none;
}

const char *agent_test_text(struct agent_test *test)
{
    return run_text(test->last);
}

const char *agent_test_transcript(struct agent_test *test)
{
    return run_transcript(test->last);
}

const char *agent_test_status(struct agent_test *test)
{
    return test->last->status;
}

static const char *present(const char *text)
{
    return text ? text : "";
}

const char *agent_test_code(struct agent_test *test)
{
    return present(test->last->code);
}

const char *agent_test_message(struct agent_test *test)
{
    return present(test->last->message);
}

const char *agent_test_result(struct agent_test *test)
{
    return present(test->last->result);
}

uint64_t agent_test_elapsed_ms(struct agent_test *test)
{
    return test->last->now_ms;
}

size_t agent_test_requests(struct agent_test *test)
{
    return test->last->requests.count;
}

const struct agent_test_requested *agent_test_request(struct agent_test *test, size_t i)
{
    static const struct agent_test_requested none = {
        .method = "", .url = "", .headers = "", .body = ""};

    return i < test->last->requests.count ? test->last->requests.items[i] : &none;
}

const char *agent_test_log(struct agent_test *test)
{
    return test->log;
}

unsigned agent_test_strays(struct agent_test *test)
{
    return test->strays;
}
