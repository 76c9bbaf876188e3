/*
 * Each function finds the current task of its thread, as the host's do;
 * without one it fails with -ENXIO.
 */
#include "harness/table.h"

#include "base/mem.h"
#include "harness/exchange.h"
#include "harness/run.h"
#include "harness/test.h"
#include "harness/turn.h"
#include "wire/frames.h"
#include "worker/emit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- emit --------------------------------------------------------------- */

static int stray_emit(void)
{
    run_lock();
    test_count_stray();
    run_unlock();
    return -ENXIO;
}

static int task_emit(struct agent_task *task, const struct emit *emit)
{
    int status;

    run_lock();
    status = run_emit(task->run, emit, task->scope);
    run_unlock();
    return status;
}

static int table_emit_event(const char *type, const char *json)
{
    struct agent_task *task = task_current();
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit();
    status = emit_of_event(&emit, type, json);
    return status < 0 ? status : task_emit(task, &emit);
}

static int table_emit_text(const char *utf8)
{
    struct agent_task *task = task_current();
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit();
    status = emit_of_text(&emit, utf8);
    return status < 0 ? status : task_emit(task, &emit);
}

/* ---- ctx ---------------------------------------------------------------- */

static const char *table_ctx_get(const char *key)
{
    struct agent_task *task = task_current();

    return task && key ? vars_find(task->vars, key) : NULL;
}

/* Locked. */
static int task_set(struct agent_task *task, const char *key, const char *value)
{
    struct run *run = task->run;
    size_t size = vars_size(key, value);

    if (run->over)
        return -ECANCELED;
    if (run->vars_bytes + size > AGENT_CTX_MAX)
        return -ENOSPC;
    run->vars_bytes += size;
    task->vars = run_push(run, task->vars, key, value);
    return 0;
}

static int table_ctx_set(const char *key, const char *value)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    if (key == NULL || !vars_key_is_valid(key))
        return -EINVAL;
    if (vars_key_is_host(key))
        return -EPERM;
    run_lock();
    status = task_set(task, key, value);
    run_unlock();
    return status;
}

/* What ctx_capture() gives out. */
struct agent_ctx {
    struct run *run;
    const struct var *vars;
};

static struct agent_ctx *table_ctx_capture(void)
{
    struct agent_task *task = task_current();
    struct agent_ctx *captured;

    if (task == NULL)
        return NULL;
    captured = mem_alloc(sizeof *captured);
    run_lock();
    captured->run = run_ref(task->run);
    captured->vars = task->vars;
    run_unlock();
    return captured;
}

static void table_ctx_release(struct agent_ctx *captured)
{
    if (captured == NULL)
        return;
    run_lock();
    run_unref(captured->run);
    run_unlock();
    free(captured);
}

/* Ends the binding of this thread; also when the thread ends while bound. */
static void unbind(void *bound)
{
    struct agent_task *task = bound;

    task_set_current(NULL);
    run_lock();
    run_unref(task->run);
    run_unlock();
    task_finish(task);
    free(task);
}

static pthread_key_t bound_task;

static void make_bound_task_key(void)
{
    pthread_key_create(&bound_task, unbind);
}

static struct agent_task *bind_task(const struct agent_ctx *captured)
{
    struct agent_task *task = mem_alloc(sizeof *task);

    run_lock();
    task_init(task, run_ref(captured->run), NULL);
    run_unlock();
    task->vars = captured->vars;
    task->bound = true;
    return task;
}

static int table_ctx_bind(struct agent_ctx *captured)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct agent_task *task = task_current(), *next;

    /* A task of the host's is one that it calls, also where that is on a bound thread. */
    if ((task && (!task->bound || task->fn)) || (captured && test_is_loading()))
        return -EBUSY;
    pthread_once(&once, make_bound_task_key);
    next = captured ? bind_task(captured) : NULL;
    if (task)
        unbind(task);
    pthread_setspecific(bound_task, next);
    task_set_current(next);
    return 0;
}

/* ---- run ---------------------------------------------------------------- */

static int table_run_cancelled(void)
{
    struct agent_task *task = task_current();
    int stopped;

    if (task == NULL)
        return 0;
    run_lock();
    stopped = run_is_stopped(task->run);
    run_unlock();
    return stopped;
}

static int table_run_fail(const char *code, const char *format, va_list args)
{
    struct agent_task *task = task_current();
    char message[1024];
    int status;

    if (task == NULL)
        return -ENXIO;
    if (code == NULL || wire_word_length(code) == 0)
        code = "agent_error";
    vsnprintf(message, sizeof message, format, args);
    run_lock();
    status = run_set_failure(task->run, code, message);
    run_unlock();
    return status;
}

static int table_run_result(const char *json)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    run_lock();
    status = run_set_result(task->run, json);
    run_unlock();
    return status;
}

/* ---- wait --------------------------------------------------------------- */

/* Locked. */
static int task_sleep(struct agent_task *task, uint32_t ms)
{
    struct run *run = task->run;
    uint64_t until = run->now_ms + ms;

    if (run_enter_wait(run, task) < 0)
        return -ECANCELED;
    do {
        task_wait(task, until);
    } while (!run_is_stopped(run) && run->now_ms < until);
    return run_is_stopped(run) ? -ECANCELED : 0;
}

static int table_sleep(uint32_t ms)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    run_lock();
    status = task_sleep(task, ms);
    run_unlock();
    return status;
}

/* Locked. */
static int task_input(struct agent_task *task, uint32_t timeout_ms, const char **json)
{
    struct run *run = task->run;
    uint64_t until = timeout_ms == AGENT_FOREVER ? NEVER : run->now_ms + timeout_ms;
    const char *taken;

    if (run_enter_wait(run, task) < 0)
        return -ECANCELED;
    while ((taken = run_take_input(run)) == NULL && run->now_ms < until) {
        uint64_t next = run_next_input_ms(run);
        task_wait(task, next < until ? next : until);
        if (run_is_stopped(run))
            return -ECANCELED;
    }
    if (taken == NULL)
        return -ETIMEDOUT;
    mem_set(&task->input, taken);
    *json = task->input;
    return 0;
}

static int table_run_input(uint32_t timeout_ms, const char **json)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    if (json == NULL)
        return -EINVAL;
    run_lock();
    status = task_input(task, timeout_ms, json);
    run_unlock();
    return status;
}

/* ---- task --------------------------------------------------------------- */

static int table_task_spawn(int (*fn)(void *arg), void *arg, struct agent_task **out)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    if (fn == NULL || out == NULL)
        return -EINVAL;
    run_lock();
    status = turn_spawn(task, fn, arg, out);
    run_unlock();
    return status;
}

static int table_task_join(struct agent_task *other)
{
    struct agent_task *task = task_current();
    int result;

    if (task == NULL)
        return -ENXIO;
    run_lock();
    result = turn_join(task, other);
    run_unlock();
    return result;
}

static int table_task_scope(const char *name)
{
    struct agent_task *task = task_current();
    char *scope;
    int status;

    if (task == NULL)
        return -ENXIO;
    status = emit_scope(name, &scope);
    if (status < 0)
        return status;
    free(task->scope);
    task->scope = scope;
    return 0;
}

/* ---- http --------------------------------------------------------------- */

static int table_http_open(const struct agent_http_request *request, struct agent_http **out)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    if (request == NULL || out == NULL)
        return -EINVAL;
    run_lock();
    status = exchange_open(task, request, out);
    run_unlock();
    return status;
}

static int table_http_status(struct agent_http *http)
{
    struct agent_task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    run_lock();
    status = task->run->over ? -ECANCELED : exchange_status(http, task);
    run_unlock();
    return status;
}

static const char *table_http_header(struct agent_http *http, const char *name)
{
    struct agent_task *task = task_current();
    const char *value = NULL;

    run_lock();
    if (task && name && !task->run->over) /* else the exchange is gone */
        value = exchange_header(http, name);
    run_unlock();
    return value;
}

static long table_http_read(struct agent_http *http, const char **data)
{
    struct agent_task *task = task_current();
    long length;

    if (task == NULL)
        return -ENXIO;
    run_lock();
    length = task->run->over ? -ECANCELED : exchange_read(http, task, data);
    run_unlock();
    return length;
}

static const char *table_http_error(struct agent_http *http)
{
    struct agent_task *task = task_current();
    const char *message = "";

    run_lock();
    if (task && !task->run->over)
        message = exchange_error(http);
    run_unlock();
    return message;
}

static void table_http_close(struct agent_http *http)
{
    struct agent_task *task = task_current();

    run_lock();
    if (task && http && !task->run->over)
        exchange_close(http);
    run_unlock();
}

/* ---- log ---------------------------------------------------------------- */

static void table_log(enum agent_log_level level, const char *format, va_list args)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    struct agent_task *task = task_current();
    char text[1024];

    vsnprintf(text, sizeof text, format, args);
    if ((unsigned)level >= sizeof names / sizeof *names)
        level = AGENT_LOG_INFO;
    run_lock();
    test_log(task ? task->run->test : NULL, names[level], text);
    run_unlock();
}

const struct agent_host *table_host(void)
{
    static const struct agent_host host = {
        .size = sizeof host,
        .abi = AGENT_ABI,
        .emit_event = table_emit_event,
        .emit_text = table_emit_text,
        .ctx_get = table_ctx_get,
        .ctx_set = table_ctx_set,
        .ctx_capture = table_ctx_capture,
        .ctx_bind = table_ctx_bind,
        .ctx_release = table_ctx_release,
        .run_cancelled = table_run_cancelled,
        .run_fail = table_run_fail,
        .run_result = table_run_result,
        .sleep = table_sleep,
        .log = table_log,
        .run_input = table_run_input,
        .task_spawn = table_task_spawn,
        .task_join = table_task_join,
        .task_scope = table_task_scope,
        .http_open = table_http_open,
        .http_status = table_http_status,
        .http_header = table_http_header,
        .http_read = table_http_read,
        .http_error = table_http_error,
        .http_close = table_http_close,
    };

    return &host;
}
