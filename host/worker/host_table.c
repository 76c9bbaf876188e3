/*
 * Each function finds the current task of its thread, and through it the job;
 * without a task it fails with -ENXIO. The way of an event:
 *
 *     1. check and measure type and JSON, without the lock (emit.c);
 *     2. with the lock, wait for credit and for room (job.c);
 *     3. write the frame straight into the outbox.
 *
 * A call that fails for what it was given, or for where it was made, is told by
 * refused(). The reason is found only then, by a second look at the data, so that
 * what is accepted pays nothing for it. -ECANCELED, -ETIMEDOUT and what became of
 * an HTTP request are answers, and are not told.
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
#include "base/json_fault.h"
#include "base/json_schema.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/why.h"
#include "wire/frames.h"
#include "worker/asks.h"
#include "worker/emit.h"
#include "worker/exchange.h"
#include "worker/http_request.h"
#include "worker/inputs.h"
#include "worker/job.h"
#include "worker/refused.h"
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
_Static_assert(WIRE_QUESTION_MAX == AGENT_QUESTION_MAX, "the front takes every question");
_Static_assert(WIRE_QUESTIONS_MAX == AGENT_QUESTIONS_MAX, "the front keeps every question");
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

/* ---- refusals that several calls have ---- */

static int not_in_a_run(const char *call, const char *about)
{
    return refused(NULL, -ENXIO, call, about,
                   "not inside a run; call it in handle(), or on a thread that called ctx_bind() "
                   "with what ctx_capture() returned in the run");
}

static int stray_emit(const char *call, const char *type)
{
    atomic_fetch_add(&stray_emits, 1);
    return not_in_a_run(call, type);
}

/* Return the task in which this thread may send requests: a run's, or a loading's. */
static struct task *http_task(void)
{
    struct task *task = task_current();

    return task ? task : task_loading();
}

/* Pass on what a call that waited returns; say so if create() or selftest() waited for too long. */
static long waited(const struct task *task, const char *call, long status)
{
    if (status == -ECANCELED && task != task_current())
        refused(NULL, -ECANCELED, call, NULL,
                "out of time: create() and selftest() must end within host.start_timeout");
    return status;
}

static int is_null(struct task *task, const char *call, const char *what)
{
    return refused(task, -EINVAL, call, NULL, "%s is NULL", what);
}

static int too_long(struct task *task, const char *call, const char *about, const char *what,
                    size_t length)
{
    return refused(task, -EMSGSIZE, call, about,
                   "%zu bytes of JSON as sent, and %s may have %d; send less, or in pieces", length,
                   what, AGENT_EVENT_MAX);
}

/* ---- emit ---- */

static int refused_event(struct task *task, int status, const char *type, const char *json)
{
    struct buf why = {0};

    emit_tell_event(&why, type, json);
    return refused_because(task, status, "emit_event", type, &why);
}

static int host_emit_event(const char *type, const char *json)
{
    struct task *task = task_current();
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit("emit_event", type);
    status = emit_of_event(&emit, type, json);
    if (status < 0)
        return refused_event(task, status, type, json);
    status = job_emit(task, &emit);
    if (status == -EMSGSIZE)
        too_long(task, "emit_event", type, "an event", emit_size(&emit, task->scope));
    return status;
}

static int host_emit_text(const char *utf8)
{
    struct task *task = task_current();
    struct buf why = {0};
    struct emit emit;
    int status;

    if (task == NULL)
        return stray_emit("emit_text", NULL);
    status = emit_of_text(&emit, utf8);
    if (status < 0) {
        emit_tell_text(&why, utf8);
        return refused_because(task, status, "emit_text", NULL, &why);
    }
    status = job_emit(task, &emit);
    if (status == -EMSGSIZE)
        too_long(task, "emit_text", NULL, "an event with its scope", emit_size(&emit, task->scope));
    return status;
}

/* ---- ctx ---- */

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
        return not_in_a_run("ctx_set", key);
    if (key == NULL)
        return is_null(task, "ctx_set", "the key");
    if (!vars_key_is_valid(key))
        return refused(task, -EINVAL, "ctx_set", key,
                       "the key has %zu bytes; a key is 1 to %d of printable ASCII, without spaces",
                       strlen(key), AGENT_CTX_KEY_MAX);
    if (vars_key_is_host(key))
        return refused(task, -EPERM, "ctx_set", key, "the key is the host's; name another");
    sched_lock(job_sched(task->job));
    status = job_is_over(task->job) ? -ECANCELED : job_set_var(task->job, task, key, value);
    sched_unlock(job_sched(task->job));
    if (status == -ENOSPC)
        refused(task, status, "ctx_set", key,
                "no room for %zu bytes more: all values that a run ever sets have %d",
                vars_size(key, value), AGENT_CTX_MAX);
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

    if (task == NULL) {
        refused(NULL, -ENXIO, "ctx_capture", NULL,
                "not inside a run; capture in the run, and hand the capture to the thread");
        return NULL;
    }
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
        return refused(
            task, -EBUSY, "ctx_bind", NULL,
            task ? "this thread is the host's, and in a run; only threads of the plugin's "
                   "own are bound"
                 : "this thread is the host's; only threads of the plugin's own are bound");
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

/* ---- run ---- */

/* Shorten text that vsnprintf() has cut to whole characters. */
static void end_at_character(char *text, size_t size)
{
    size_t length = size - 1;

    while (length > 0 && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
        length--;
    if (length > 0 && (unsigned char)text[length - 1] >= 0xc0)
        length--;
    text[length] = '\0';
}

/* Tell what of a message for people is lost: the run fails with it anyway. */
static void check_message(struct task *task, const char *code, char *message, size_t size,
                          int length)
{
    struct buf why = {0};

    if (length >= (int)size) {
        end_at_character(message, size);
        refused(task, -EMSGSIZE, "run_fail", code, "the message has %d bytes, and is cut to %zu",
                length, strlen(message));
    }
    utf8_fault_tell(&why, message, strlen(message));
    if (buf_length(&why) > 0)
        refused_because(task, -EINVAL, "run_fail", code, &why);
}

/* The message is what fits of one that has this length. */
static int fail(const char *code, char *message, size_t size, int length)
{
    struct task *task = task_current();
    int status;

    if (task == NULL)
        return not_in_a_run("run_fail", code);
    check_message(task, code, message, size, length);
    if (code == NULL || wire_word_length(code) == 0) {
        refused(task, -EINVAL, "run_fail", code,
                "%s; a code is 1 to %d of letters, digits, '_', '-', '.' and ':'. \"agent_error\" "
                "takes its place",
                code ? "this is no code" : "the code is NULL", AGENT_TYPE_MAX);
        code = "agent_error";
    }
    sched_lock(job_sched(task->job));
    status = job_is_over(task->job) ? -ECANCELED : -EIO;
    if (status == -EIO)
        job_fail(task->job, code, message);
    sched_unlock(job_sched(task->job));
    return status;
}

__attribute__((format(printf, 2, 0))) static int host_run_fail(const char *code, const char *format,
                                                               va_list args)
{
    char message[1024];
    int length = vsnprintf(message, sizeof message, format, args);

    return fail(code, message, sizeof message, length);
}

static int host_fail_text(const char *code, const char *text)
{
    char message[1024];
    int length = snprintf(message, sizeof message, "%s", text ? text : "");

    return fail(code, message, sizeof message, length);
}

static int host_run_result(const char *json)
{
    struct task *task = task_current();
    struct buf why = {0};
    ssize_t length;
    char *result;
    bool over;

    if (task == NULL)
        return not_in_a_run("run_result", NULL);
    if (json == NULL)
        return is_null(task, "run_result", "the JSON");
    length = json_check(json, strlen(json));
    if (length < 0) {
        json_fault_tell(&why, json, strlen(json));
        return refused_because(task, (int)length, "run_result", NULL, &why);
    }
    if (length > AGENT_EVENT_MAX)
        return too_long(task, "run_result", NULL, "a result", (size_t)length);
    result = mem_alloc((size_t)length + 1);
    json_compact(result, json, strlen(json));
    sched_lock(job_sched(task->job));
    over = job_is_over(task->job);
    job_set_result(task->job, result);
    sched_unlock(job_sched(task->job));
    return over ? -ECANCELED : 0;
}

/* ---- wait ---- */

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
        return not_in_a_run("agent_sleep", NULL);
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
        return not_in_a_run("run_input", NULL);
    if (json == NULL)
        return is_null(task, "run_input", "the place for the input");
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

/* Append why the question is none; nothing if it is one. */
static void tell_question(struct buf *why, const char *question, uint32_t timeout_ms)
{
    size_t length = question ? strlen(question) : 0, value_length;
    struct json_schema *schema = NULL;
    struct buf message = {0};
    struct why fault = {0};
    const char *value;

    if (question)
        json_fault_tell(why, question, length);
    if (question == NULL)
        buf_puts(why, "the question is NULL");
    else if (buf_length(why) > 0)
        ;
    else if (question[strspn(question, " \t\r\n")] != '{')
        buf_puts(why, "the question is no JSON object; write {\"message\": \"...\"}");
    else if (json_member_find(question, length, "id", &value, &value_length))
        buf_puts(why,
                 "the question has an \"id\", which is the host's to give; name yours otherwise");
    else if (!json_member_text(question, length, "message", &message))
        buf_puts(why, "the question has no \"message\", which is text for a person");
    else if (timeout_ms == 0)
        buf_puts(why, "a timeout of 0 leaves nobody time to answer; AGENT_FOREVER is no limit");
    else if (json_member_find(question, length, "schema", &value, &value_length) &&
             json_schema_read(value, value_length, &schema, &fault) < 0)
        buf_printf(why, "the question's schema is none: %s", why_text(&fault));
    json_schema_destroy(schema);
    why_finish(&fault);
    buf_finish(&message);
}

static int host_ask(const char *question, uint32_t timeout_ms, const char **answer)
{
    struct task *task = task_current();
    struct buf why = {0};
    char *taken;
    int status;

    if (task == NULL)
        return not_in_a_run("run_ask", NULL);
    if (answer == NULL)
        return is_null(task, "run_ask", "the place for the answer");
    tell_question(&why, question, timeout_ms);
    if (buf_length(&why) > 0)
        return refused_because(task, -EINVAL, "run_ask", NULL, &why);
    sched_lock(job_sched(task->job));
    yield_if_stopped(task);
    sched_unlock(job_sched(task->job));
    status = ask_and_wait(task, question,
                          timeout_ms == AGENT_FOREVER ? NEVER : timeout_ms * CLOCK_MS, &taken);
    if (status == -EMSGSIZE)
        refused(task, status, "run_ask", NULL,
                "a question has at most %d bytes as sent, with its id and scope",
                AGENT_QUESTION_MAX);
    else if (status == -EAGAIN)
        refused(task, status, "run_ask", NULL, "no more questions: a run has at most %d open ones",
                AGENT_QUESTIONS_MAX);
    if (status < 0)
        return status;
    free(task->answer);
    *answer = task->answer = taken;
    return 0;
}

/* ---- task ---- */

static int host_task_spawn(int (*fn)(void *arg), void *arg, struct agent_task **out)
{
    struct task *task = task_current();
    int status;

    if (task == NULL)
        return not_in_a_run("task_spawn", NULL);
    if (fn == NULL || out == NULL)
        return is_null(task, "task_spawn", fn ? "the place for the task" : "the function");
    status = subtask_spawn(task, fn, arg, out);
    if (status == -EAGAIN)
        refused(task, status, "task_spawn", NULL,
                "no more tasks: a run has at most %d that are not joined; join some first",
                AGENT_TASKS_MAX);
    else if (status == -ENOTSUP)
        refused(
            task, status, "task_spawn", NULL,
            "in fiber mode a thread of the plugin's own spawns no tasks; spawn them in handle()");
    else if (status < 0 && status != -ECANCELED)
        refused(task, status, "task_spawn", NULL, "%s", refused_word(status));
    return status;
}

static int host_task_join(struct agent_task *subtask)
{
    struct task *task = task_current();
    int status;

    if (task == NULL)
        return not_in_a_run("task_join", NULL);
    if (subtask == NULL)
        return is_null(task, "task_join", "the task");
    if (!subtask_join(task, subtask, &status))
        refused(task, status, "task_join", NULL,
                "no task of this run has this handle; each is joined once, and not by itself");
    return status;
}

static int host_task_scope(const char *name)
{
    struct task *task = task_current();
    struct buf why = {0};
    int status;

    if (task == NULL)
        return not_in_a_run("task_scope", name);
    status = task_set_scope(task, name);
    if (status < 0) {
        utf8_fault_tell(&why, name, strlen(name));
        refused_because(task, status, "task_scope", NULL, &why);
    }
    return status;
}

/* ---- http ---- */

/* Tell of a request without what may be secret in its URL: user, query, fragment. */
static void refused_request(struct task *task, const struct agent_http_request *request)
{
    char *url = request->url ? mem_strdup(request->url) : NULL, *user;
    struct buf why = {0};

    http_request_check(request, &why);
    if (url) {
        url[strcspn(url, "?#")] = '\0';
        user = strrchr(url, '@');
        memmove(url, user ? user + 1 : url, strlen(user ? user + 1 : url) + 1);
    }
    refused_because(task, -EINVAL, "agent_http_open", url, &why);
    free(url);
}

static int host_http_open(const struct agent_http_request *request, struct agent_http **out)
{
    struct task *task = http_task();
    int status;

    if (task == NULL)
        return not_in_a_run("agent_http_open", NULL);
    if (request == NULL || out == NULL)
        return is_null(task_current(), "agent_http_open",
                       request ? "the place for the exchange" : "the request");
    status = exchange_open(task, request, out);
    if (status == -EINVAL)
        refused_request(task_current(), request);
    return (int)waited(task, "agent_http_open", status);
}

static int is_busy(struct task *task, const char *call)
{
    return refused(task, -EBUSY, call, NULL,
                   "another task waits for this exchange; only one at a time may");
}

static int host_http_status(struct agent_http *http)
{
    struct task *task = http_task();
    int status;

    if (task == NULL)
        return not_in_a_run("agent_http_status", NULL);
    if (http == NULL)
        return is_null(task_current(), "agent_http_status", "the exchange");
    status = exchange_status(http, task);
    return status == -EBUSY ? is_busy(task, "agent_http_status")
                            : (int)waited(task, "agent_http_status", status);
}

static long host_http_read(struct agent_http *http, const char **data)
{
    struct task *task = http_task();
    long length;

    if (task == NULL)
        return not_in_a_run("agent_http_read", NULL);
    if (http == NULL || data == NULL)
        return is_null(task_current(), "agent_http_read",
                       http ? "the place for the data" : "the exchange");
    length = exchange_read(http, task, data);
    return length == -EBUSY ? is_busy(task, "agent_http_read")
                            : waited(task, "agent_http_read", length);
}

static const char *host_http_header(struct agent_http *http, const char *name)
{
    struct task *task = http_task();

    return task && http && name ? exchange_header(http, task, name) : NULL;
}

static const char *host_http_error(struct agent_http *http)
{
    struct task *task = http_task();

    return task && http ? exchange_error(http, task) : "";
}

static void host_http_close(struct agent_http *http)
{
    struct task *task = http_task();

    if (task && http)
        exchange_close(http, task);
}

/* The text is what fits of one that has this length. */
static void write_log(enum agent_log_level level, char *text, size_t size, int length)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    const char *run = host_ctx_get("run.id");

    if (length >= (int)size) {
        end_at_character(text, size);
        refused(task_current(), -EMSGSIZE, "agent_log", NULL,
                "the line has %d bytes, and is cut to %zu", length, strlen(text));
    }
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

__attribute__((format(printf, 2, 0))) static void host_log(enum agent_log_level level,
                                                           const char *format, va_list args)
{
    char text[1024];
    int length = vsnprintf(text, sizeof text, format, args);

    write_log(level, text, sizeof text, length);
}

static void host_log_text(enum agent_log_level level, const char *line)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "%s", line ? line : "");

    write_log(level, text, sizeof text, length);
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
        .ask = host_ask,
        .fail_text = host_fail_text,
        .log_text = host_log_text,
    };

    return &host;
}
