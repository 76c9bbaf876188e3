/*
 * Each function finds the current task of its thread, and through it the job;
 * without a task it fails with -ENXIO. The way of an event:
 *
 *     1. check and measure type and JSON, without the lock (emit.c);
 *     2. with the lock, wait for credit and for room (job.c);
 *     3. write the frame straight into the outbox.
 *
 * Threads of the plugin's own get a task by ctx_bind(), and lose it by another
 * ctx_bind() or at their end. Such a thread may call when its run is over and the
 * worker is gone: see job.c.
 *
 * To add a call: a member at the end of struct agent_host, its wrapper in agent.h,
 * a function here and its line in the table at the end. If a test may want to
 * count it, wrap it in harness/test.c.
 */
#include "worker/host_table.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/why.h"
#include "wire/frames.h"
#include "worker/emit.h"
#include "worker/exchange.h"
#include "worker/inputs.h"
#include "worker/job.h"
#include "worker/subtask.h"
#include "worker/vars.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(WIRE_EVENT_MAX == AGENT_EVENT_MAX, "the wire carries every event");
_Static_assert(WIRE_STATE_MAX == AGENT_STATE_MAX, "the wire carries every state");
_Static_assert(JSON_DEPTH_MAX == AGENT_JSON_DEPTH_MAX, "events nest as deep as promised");
_Static_assert(WIRE_TYPE_MAX == AGENT_TYPE_MAX, "the wire carries every type");
_Static_assert(AGENT_EVENT_MAX + AGENT_TYPE_MAX + WIRE_CHARGE <= WIRE_WINDOW, "a window takes any");

static atomic_uint_fast64_t stray_emits;
static _Thread_local char last_error[1024];
static void (*own_log)(enum agent_log_level level, const char *text); /* NULL: the host's */

uint64_t host_table_stray_emits(void)
{
    return atomic_load(&stray_emits);
}

void host_table_add_last_error(struct why *why)
{
    if (last_error[0])
        why_set(why, 0, "%s: %s", why_text(why), last_error);
}

void host_table_forget_error(void)
{
    last_error[0] = '\0';
}

void host_table_set_log(void (*log)(enum agent_log_level level, const char *text))
{
    own_log = log;
}

static int stray_emit(const char *type)
{
    if (atomic_fetch_add(&stray_emits, 1) == 0)
        log_plugin("it emitted outside of a run; further ones are only counted. A thread of the "
                   "plugin's own must call ctx_bind() first. type=%.64s",
                   type);
    return -ENXIO;
}

static int host_emit_event(const char *type, const char *json)
{
    struct task *task = task_current();
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit(type ? type : "");
    status = emit_of_event(&emit, type, json);
    return status < 0 ? status : job_emit(task, &emit);
}

static int host_emit_text(const char *utf8)
{
    struct task *task = task_current();
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit("text");
    status = emit_of_text(&emit, utf8);
    return status < 0 ? status : job_emit(task, &emit);
}

static const char *host_ctx_get(const char *key)
{
    struct task *task = task_current();

    return task && key ? vars_find(task->vars, key) : NULL;
}

static int host_ctx_set(const char *key, const char *value)
{
    struct task *task = task_current();
    int status;

    if (task == NULL)
        return -ENXIO;
    if (key == NULL || !vars_key_is_valid(key))
        return -EINVAL;
    if (vars_key_is_host(key))
        return -EPERM;
    sched_lock(job_sched(task->job));
    status = job_is_over(task->job) ? -ECANCELED : job_set_var(task->job, task, key, value);
    sched_unlock(job_sched(task->job));
    return status;
}

/* What ctx_capture() returns. */
struct agent_ctx {
    struct job *job;
    const struct var *vars;
};

static struct agent_ctx *host_ctx_capture(void)
{
    struct task *task = task_current();
    struct agent_ctx *captured;

    if (task == NULL)
        return NULL;
    captured = mem_alloc(sizeof *captured);
    sched_lock(job_sched(task->job));
    captured->job = job_ref(task->job);
    captured->vars = task->vars;
    sched_unlock(job_sched(task->job));
    return captured;
}

static void job_give_back(struct job *job)
{
    struct sched *sched = job_sched(job);

    sched_lock(sched);
    job_unref(job);
    sched_unlock(sched);
}

static void host_ctx_release(struct agent_ctx *captured)
{
    if (captured == NULL)
        return;
    job_give_back(captured->job);
    free(captured);
}

/* End the binding of this thread, by ctx_bind() or at the thread's end. */
static void unbind(void *bound)
{
    struct task *task = bound;

    task_set_current(NULL);
    job_give_back(task->job);
    task_finish(task);
    free(task);
}

static pthread_key_t bound_task;

static void make_bound_task_key(void)
{
    pthread_key_create(&bound_task, unbind);
}

static struct task *bind_task(const struct agent_ctx *captured)
{
    struct task *task = mem_alloc(sizeof *task);

    task_init(task, captured->job, captured->vars, NULL);
    task->bound = true;
    sched_lock(job_sched(captured->job));
    job_ref(captured->job);
    sched_unlock(job_sched(captured->job));
    return task;
}

static int host_ctx_bind(struct agent_ctx *captured)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct task *task = task_current();
    struct task *next;

    if ((task && !task->bound) || (captured && sched_is_loop(job_sched(captured->job))))
        return -EBUSY;
    pthread_once(&once, make_bound_task_key);
    next = captured ? bind_task(captured) : NULL;
    if (task)
        unbind(task);
    pthread_setspecific(bound_task, next);
    task_set_current(next);
    return 0;
}

static int host_run_cancelled(void)
{
    struct task *task = task_current();

    return task && job_is_stopped(task->job);
}

__attribute__((format(printf, 2, 0))) static int host_run_fail(const char *code, const char *format,
                                                               va_list args)
{
    struct task *task = task_current();
    char message[1024];
    int status;

    if (task == NULL)
        return -ENXIO;
    if (code == NULL || wire_word_length(code) == 0)
        code = "agent_error";
    vsnprintf(message, sizeof message, format, args);
    sched_lock(job_sched(task->job));
    status = job_is_over(task->job) ? -ECANCELED : -EIO;
    if (status == -EIO)
        job_fail(task->job, code, message);
    sched_unlock(job_sched(task->job));
    return status;
}

static int host_run_result(const char *json)
{
    struct task *task = task_current();
    ssize_t length = json ? json_check(json, strlen(json)) : -EINVAL;
    char *result;
    bool over;

    if (task == NULL)
        return -ENXIO;
    if (length < 0)
        return (int)length;
    if (length > AGENT_EVENT_MAX)
        return -EMSGSIZE;
    result = mem_alloc((size_t)length + 1);
    json_compact(result, json, strlen(json));
    sched_lock(job_sched(task->job));
    over = job_is_over(task->job);
    job_set_result(task->job, result);
    sched_unlock(job_sched(task->job));
    return over ? -ECANCELED : 0;
}

/* Let others go on before a stopped run's agent is told so once more: it may ignore that. Locked.
 */
static void yield_if_stopped(struct task *task)
{
    if (job_is_stopped(task->job))
        job_wait(task, 0);
}

static int host_sleep(uint32_t ms)
{
    struct task *task = task_current();
    uint64_t deadline;
    int status = 0;

    if (task == NULL)
        return -ENXIO;
    sched_lock(job_sched(task->job));
    deadline = sched_now(job_sched(task->job)) + ms * CLOCK_MS;
    yield_if_stopped(task);
    while (!job_is_stopped(task->job) && status == 0)
        status = job_wait(task, deadline);
    sched_unlock(job_sched(task->job));
    return job_is_stopped(task->job) ? -ECANCELED : 0;
}

static int host_run_input(uint32_t timeout_ms, const char **json)
{
    struct task *task = task_current();
    uint64_t deadline;
    char *taken;
    int status;

    if (task == NULL)
        return -ENXIO;
    if (json == NULL)
        return -EINVAL;
    sched_lock(job_sched(task->job));
    deadline = timeout_ms == AGENT_FOREVER ? NEVER
               : timeout_ms > 0            ? sched_now(job_sched(task->job)) + timeout_ms * CLOCK_MS
                                           : 0;
    yield_if_stopped(task);
    status = inputs_take(task, deadline, &taken);
    sched_unlock(job_sched(task->job));
    if (status < 0)
        return status;
    free(task->input);
    *json = task->input = taken;
    return 0;
}

static int host_task_spawn(int (*fn)(void *arg), void *arg, struct agent_task **out)
{
    struct task *task = task_current();

    if (task == NULL)
        return -ENXIO;
    if (fn == NULL || out == NULL)
        return -EINVAL;
    return subtask_spawn(task, fn, arg, out);
}

static int host_task_join(struct agent_task *subtask)
{
    struct task *task = task_current();

    if (task == NULL)
        return -ENXIO;
    return subtask ? subtask_join(task, subtask) : -EINVAL;
}

static int host_task_scope(const char *name)
{
    struct task *task = task_current();

    return task ? task_set_scope(task, name) : -ENXIO;
}

static int host_http_open(const struct agent_http_request *request, struct agent_http **out)
{
    struct task *task = task_current();

    if (task == NULL)
        return -ENXIO;
    return request && out ? exchange_open(task, request, out) : -EINVAL;
}

static int host_http_status(struct agent_http *http)
{
    struct task *task = task_current();

    return task ? exchange_status(http, task) : -ENXIO;
}

static long host_http_read(struct agent_http *http, const char **data)
{
    struct task *task = task_current();

    return task ? exchange_read(http, task, data) : -ENXIO;
}

static const char *host_http_header(struct agent_http *http, const char *name)
{
    struct task *task = task_current();

    return task && name ? exchange_header(http, task, name) : NULL;
}

static const char *host_http_error(struct agent_http *http)
{
    struct task *task = task_current();

    return task ? exchange_error(http, task) : "";
}

static void host_http_close(struct agent_http *http)
{
    struct task *task = task_current();

    if (task && http)
        exchange_close(http, task);
}

__attribute__((format(printf, 2, 0))) static void host_log(enum agent_log_level level,
                                                           const char *format, va_list args)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    const char *run = host_ctx_get("run.id");
    char text[1024];

    vsnprintf(text, sizeof text, format, args);
    if (run == NULL && level == AGENT_LOG_ERROR)
        snprintf(last_error, sizeof last_error, "%s", text);
    if ((unsigned)level >= sizeof levels / sizeof *levels)
        level = AGENT_LOG_INFO;
    if (own_log)
        own_log(level, text);
    else if (run)
        log_line(levels[level], "%s run=%s", text, run);
    else
        log_line(levels[level], "%s", text);
}

const struct agent_host *host_table(void)
{
    static const struct agent_host host = {
        .size = sizeof host,
        .abi = AGENT_ABI,
        .emit_event = host_emit_event,
        .emit_text = host_emit_text,
        .ctx_get = host_ctx_get,
        .ctx_set = host_ctx_set,
        .ctx_capture = host_ctx_capture,
        .ctx_bind = host_ctx_bind,
        .ctx_release = host_ctx_release,
        .run_cancelled = host_run_cancelled,
        .run_fail = host_run_fail,
        .run_result = host_run_result,
        .sleep = host_sleep,
        .log = host_log,
        .run_input = host_run_input,
        .task_spawn = host_task_spawn,
        .task_join = host_task_join,
        .task_scope = host_task_scope,
        .http_open = host_http_open,
        .http_status = host_http_status,
        .http_header = host_http_header,
        .http_read = host_http_read,
        .http_error = host_http_error,
        .http_close = host_http_close,
    };

    return &host;
}
