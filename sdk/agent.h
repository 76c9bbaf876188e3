/* SPDX-License-Identifier: MIT */
/*
 * agent.h - write an agent as a plugin of sluice.
 *
 * An agent is a shared object with one function that matters, handle(). The
 * host calls handle() once per run. The host streams what handle() emits, from
 * any depth of its call stack, to the client:
 *
 *     #include <sluice/agent.h>
 *
 *     static void greet(const char *who)
 *     {
 *         emit_text("hello ");
 *         emit_text(who);
 *     }
 *
 *     static int handle(void *self, const char *input)
 *     {
 *         greet("world");
 *         return 0;
 *     }
 *
 *     AGENT_PLUGIN(.name = "hello", .version = "1.0", .handle = handle)
 *
 *     cc -shared -fPIC $(pkg-config --cflags sluice) hello.c -o hello.so
 *
 * Who calls whom: the host loads the plugin into a worker process and calls the
 * plugin's callbacks. The plugin calls the host through the functions below.
 * They are wrappers over a table that the host hands over when it loads the
 * plugin, so a plugin has no undefined symbols and needs no library of sluice.
 *
 * The life of a plugin:
 *
 *     load ── create() ── selftest() ──┬── handle() ──┐── destroy() ── gone
 *                                      ├── handle() ──┤
 *                                      └── handle() ──┘
 *
 *     phase       errors are seen by                     not allowed there
 *     load        the operator: the plugin is refused    any call of the host
 *     create      the operator: the plugin is refused    emitting, ctx, sleeping
 *     selftest    the operator: the plugin is refused    emitting, ctx, sleeping
 *     handle      the client: the run ends as failed     blocking, in fiber mode
 *     save_state  the operator, in the log               emitting, ctx, sleeping
 *     destroy     nobody                                 emitting, ctx, sleeping
 *
 * A plugin is never unloaded: its process ends. Static data, atexit() and
 * thread-local destructors therefore work as in any program. A worker that is
 * killed runs none of them, and not destroy() either.
 *
 * The tag at the end of each comment says where the call may be made:
 *
 *     [run]         inside a run: in handle(), in anything that handle() calls,
 *                   and on a thread of the plugin's own that called
 *                   agent_ctx_bind(). Elsewhere the call does nothing and fails
 *                   with -ENXIO (NULL from ctx_get() and agent_ctx_capture(), 0
 *                   from agent_run_cancelled()).
 *     [any-thread]  anywhere once the plugin is loaded
 *     [loader]      the host calls it, on the worker's main thread
 *
 * In create() and selftest(), and only there, the calls of agent_http.h work outside of a
 * run, on the thread that the host calls. Both together must end within
 * host.start_timeout, 10 seconds unless the operator sets another time; shortly before
 * that the calls return -ECANCELED. Exchanges that are left open are closed when
 * selftest() has returned.
 *
 * A call that is refused for what it was given, or for where it was made, is told to
 * the author: the first refusal of each kind in a run is a line on standard error with
 * `sluice run`, and of the log with `sluice serve`. The line says which call, why, at
 * which byte and what to write. If handle() returns the errno, the line is the run's
 * message. The words for the errnos that mean refusal:
 *
 *     -EINVAL    Invalid argument: not JSON, not UTF-8, a bad type, key, URL, NULL
 *     -EMSGSIZE  Message too long: more than AGENT_EVENT_MAX bytes
 *     -ENXIO     not inside a run: [run] was not heeded
 *     -EPERM     Operation not permitted: a variable of the host's
 *     -ENOSPC    No space left on device: more than AGENT_CTX_MAX
 *     -EAGAIN    Resource temporarily unavailable: more than AGENT_TASKS_MAX or
 *                AGENT_QUESTIONS_MAX
 *     -EBUSY     Device or resource busy: a thread of the host's, a response that
 *                another task waits for
 *     -ENOTSUP   Operation not supported: agent_task_spawn() on a bound thread
 *
 * -ECANCELED and -ETIMEDOUT, and what becomes of an HTTP request, are answers.
 *
 * A signal handler must not make any call.
 *
 * Strings are UTF-8 and end with NUL. The host copies each string that it is
 * given before the call returns. Calls return 0 or a negative errno unless their
 * comment says otherwise. The header compiles as C99 or later and as C++20.
 *
 * Names: all public names begin with agent_ or AGENT_, except emit_event(),
 * emit_text(), ctx_get() and ctx_set(). Short names, such as run_fail for
 * agent_run_fail, are macros. If a short name collides with a name of your own
 * or of another library, define AGENT_NO_SHORT_NAMES before the first include.
 *
 * Changes of the ABI:
 *     1.0  first
 *     1.1  agent_run_input(), agent_task_spawn(), agent_task_join(),
 *          agent_task_scope(), agent_http.h
 *          later, for any host: the member cxx_globals of struct agent_plugin
 *     1.2  agent_run_ask(), agent_run_fail_text(), agent_log_text(); the members title,
 *          input_schema, output_schema, examples and tags of struct agent_plugin
 */
#ifndef SLUICE_AGENT_H
#define SLUICE_AGENT_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define AGENT_EXTERN_C extern "C"
#define AGENT_OPTIONAL \
    {                  \
    } /* a member that may be left out */
#else
#define AGENT_EXTERN_C extern
#define AGENT_OPTIONAL
#endif

/*
 * Short names. They rename a word wherever it stands, so a function's address,
 * and members of struct agent_host, have them too.
 */
#ifndef AGENT_NO_SHORT_NAMES
#define ctx_bind      agent_ctx_bind
#define ctx_capture   agent_ctx_capture
#define ctx_release   agent_ctx_release
#define run_ask       agent_run_ask
#define run_cancelled agent_run_cancelled
#define run_fail      agent_run_fail
#define run_fail_text agent_run_fail_text
#define run_input     agent_run_input
#define run_result    agent_run_result
#define task_join     agent_task_join
#define task_scope    agent_task_scope
#define task_spawn    agent_task_spawn
#endif

/* A plugin loads if its major equals the host's and its minor is not greater than the host's. */
#define AGENT_ABI_MAJOR 1
#define AGENT_ABI_MINOR 2
#define AGENT_ABI       (AGENT_ABI_MAJOR * UINT32_C(65536) + AGENT_ABI_MINOR)

/* Limits, in bytes without the terminating NUL. */
#define AGENT_NAME_MAX       64            /* a plugin's name */
#define AGENT_TITLE_MAX      256           /* a plugin's title */
#define AGENT_TAGS_MAX       1024          /* a plugin's tags */
#define AGENT_SCHEMA_MAX     (64 * 1024)   /* each of a plugin's schemas */
#define AGENT_EXAMPLES_MAX   (64 * 1024)   /* a plugin's examples */
#define AGENT_TYPE_MAX       64            /* an event's type */
#define AGENT_EVENT_MAX      (960 * 1024)  /* an event's JSON, and a result */
#define AGENT_JSON_DEPTH_MAX 512           /* levels of an event's JSON */
#define AGENT_STATE_MAX      (1024 * 1024) /* what save_state() returns */
#define AGENT_TASKS_MAX      256           /* unjoined tasks of one run */
#define AGENT_QUESTION_MAX   (64 * 1024)   /* a question's JSON */
#define AGENT_QUESTIONS_MAX  32            /* open questions of one run */
#define AGENT_CTX_KEY_MAX    128
#define AGENT_CTX_MAX        (1024 * 1024) /* everything that one run's ctx_set() calls store */

enum agent_mode {
    /* Each run has a thread of the worker's pool and may block anywhere. */
    AGENT_THREAD = 0,
    /*
     * Each run is a fiber on the worker's loop: thousands at once need little
     * memory. A fiber may wait only in the calls below and must not compute for
     * long between them. Calls that wait (emit_event(), emit_text(),
     * agent_sleep(), agent_run_input(), agent_run_ask(), agent_task_join(), agent_http_status(),
     * agent_http_read()) may let other runs, and other tasks of this run, go on
     * on the same thread: static and thread-local data may change meanwhile, and
     * the caller must not hold a mutex across them. The stack of a run, and of
     * each of its tasks, has 256 KiB unless the operator sets another size.
     */
    AGENT_FIBER = 1
};

/* clang-format off */
/*
 * What AGENT_PLUGIN() fills in. Only name, version and handle are required.
 * In C++ the members must be given in this order.
 */
struct agent_plugin {
    size_t size;  /* set by AGENT_PLUGIN() */
    uint32_t abi; /* set by AGENT_PLUGIN() */
    uint32_t mode AGENT_OPTIONAL; /* enum agent_mode */
    /* Letters, digits, '-', '_' and '.', but no '.' first; the agent's name in URLs. */
    const char *name;
    const char *version;                    /* any text for people, such as "1.4.2" */
    const char *description AGENT_OPTIONAL; /* one line for people, or NULL */

    /*
     * Prepare what all runs share and store it in *self. Called once in each
     * process. config is a JSON object with a string member for each key of the
     * plugin's section of the configuration. state is NULL, or what save_state()
     * of the previous generation returned. Both live until create() returns. A
     * negative errno refuses the plugin; say why with agent_log(). [loader]
     */
    int (*create)(const char *config, const char *state, void **self) AGENT_OPTIONAL;

    /* Prove that the plugin works, before its first run. Errors are as in create(). [loader] */
    int (*selftest)(void *self) AGENT_OPTIONAL;

    /*
     * Execute one run. input is the request's body, any valid JSON, and lives as
     * long as the run. In thread mode several threads call handle() at once.
     * Return 0, or a negative errno, which ends the run as failed; give the
     * reason with agent_run_fail(). handle() must return: it must not be left by
     * an exception, longjmp() or pthread_exit(). [run]
     */
    int (*handle)(void *self, const char *input);

    /*
     * Return JSON for create() of the next generation, or NULL for none. The
     * memory comes from malloc(); the host frees it. The host drops a state that
     * is not JSON or longer than AGENT_STATE_MAX, and logs that. Runs are live
     * meanwhile, in thread mode on other threads, and go on afterwards. [loader]
     */
    char *(*save_state)(void *self) AGENT_OPTIONAL;

    /*
     * Free what create() made; the last call, made only if create() succeeded. No
     * run is live. End the plugin's own threads here. [loader]
     */
    void (*destroy)(void *self) AGENT_OPTIONAL;

    /*
     * Set by AGENT_PLUGIN(): __cxa_get_globals() of the plugin's C++ runtime, NULL
     * without one. The host keeps the exceptions of each fiber apart with it. [loader]
     */
    void *(*cxx_globals)(void) AGENT_OPTIONAL;

    /*
     * What clients are told of the agent, by GET /agents/NAME and by the protocols that they
     * speak. All of it is optional, and read once, when the plugin is loaded. A plugin whose
     * declarations are not valid is refused; the reason names the member, the place, the keyword.
     *
     * The two schemas are JSON Schema 2020-12 as text, of "type":"object", with keywords of the
     * subset that docs/writing-agents.md lists. The host refuses an input that does not match
     * input_schema, with 422 and the place, before the run begins. output_schema describes what
     * agent_run_result() is given; the host does not check that.
     */
    const char *title AGENT_OPTIONAL; /* one line for people, such as "Ask the manual" */
    const char *input_schema AGENT_OPTIONAL;
    const char *output_schema AGENT_OPTIONAL;
    const char *examples AGENT_OPTIONAL; /* a JSON list of inputs, each valid */
    const char *tags AGENT_OPTIONAL;     /* words with commas between them: "docs,search" */
};

/*
 * JSON in C, without quotes around it and backslashes in it:
 *     .input_schema = AGENT_JSON({"type": "object", "required": ["text"]})
 */
#define AGENT_JSON(...) #__VA_ARGS__
/* clang-format on */

enum agent_log_level {
    AGENT_LOG_ERROR = 0,
    AGENT_LOG_WARN = 1,
    AGENT_LOG_INFO = 2,
    AGENT_LOG_DEBUG = 3
};

/* A captured context; see agent_ctx_capture(). */
struct agent_ctx;

/* A task; see agent_task_spawn(). */
struct agent_task;

/* A request to another server and its response; see agent_http.h. */
struct agent_http;

/* clang-format off */
/* A member that is 0 or NULL has its default. agent_http_open() copies everything. */
struct agent_http_request {
    const char *method AGENT_OPTIONAL;          /* GET, or POST if there is a body */
    const char *url;                            /* http or https */
    const char *const *headers AGENT_OPTIONAL;  /* each "Name: value"; NULL ends them */
    const char *body AGENT_OPTIONAL;            /* NULL for none */
    size_t body_length AGENT_OPTIONAL;          /* bytes; 0: the body ends with NUL */
    uint32_t connect_timeout_ms AGENT_OPTIONAL; /* name lookup included; default 10 s */
    /* No byte moves on the connection and the agent has read everything; default 60 s. */
    uint32_t idle_timeout_ms AGENT_OPTIONAL;
    uint32_t timeout_ms AGENT_OPTIONAL;         /* for the whole exchange; default none */
    size_t max_bytes AGENT_OPTIONAL;            /* of the decoded response body; default 16 MiB */
    int http2 AGENT_OPTIONAL;                   /* 1: use HTTP/2 if the server has it over TLS */
    uint32_t reserved[5] AGENT_OPTIONAL;        /* 0 */
};
/* clang-format on */

/*
 * The host's table. Plugins call the wrappers below; tests may pass a table of
 * their own to agent_plugin_entry(). New members are added at the end.
 */
struct agent_host {
    size_t size;
    uint32_t abi;
    int (*emit_event)(const char *type, const char *json);
    int (*emit_text)(const char *utf8);
    const char *(*ctx_get)(const char *key);
    int (*ctx_set)(const char *key, const char *value);
    struct agent_ctx *(*ctx_capture)(void);
    int (*ctx_bind)(struct agent_ctx *captured);
    void (*ctx_release)(struct agent_ctx *captured);
    int (*run_cancelled)(void);
    int (*run_fail)(const char *code, const char *format, va_list args);
    int (*run_result)(const char *json);
    int (*sleep)(uint32_t ms);
    void (*log)(enum agent_log_level level, const char *format, va_list args);
    int (*run_input)(uint32_t timeout_ms, const char **json); /* from here on: 1.1 */
    int (*task_spawn)(int (*fn)(void *arg), void *arg, struct agent_task **task);
    int (*task_join)(struct agent_task *task);
    int (*task_scope)(const char *name);
    int (*http_open)(const struct agent_http_request *request, struct agent_http **http);
    int (*http_status)(struct agent_http *http);
    const char *(*http_header)(struct agent_http *http, const char *name);
    long (*http_read)(struct agent_http *http, const char **data);
    const char *(*http_error)(struct agent_http *http);
    void (*http_close)(struct agent_http *http);
    int (*ask)(const char *question, uint32_t timeout_ms,
               const char **answer); /* from here on: 1.2 */
    int (*fail_text)(const char *code, const char *message);
    void (*log_text)(enum agent_log_level level, const char *text);
};

/* One per plugin, shared by all its source files and static libraries, hidden from all others. */
extern const struct agent_host *agent_host_table;
__attribute__((weak, visibility("hidden"))) const struct agent_host *agent_host_table;

#if defined(__GNUC__)
#define AGENT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define AGENT_PRINTF(text, first)
#endif

/* ---- emit ---------------------------------------------------------------
 *
 * These calls append an event to the run's stream, in the order of the calls.
 * They never wait for the network; they wait for space only while the run's
 * buffer is full because its reader is slow. Events leave the worker within one
 * turn of its loop; if the agent crashes, they leave before the worker ends.
 *
 *     -ENXIO      not inside a run
 *     -EINVAL     type or JSON is not valid; nothing is emitted
 *     -EMSGSIZE   more than AGENT_EVENT_MAX bytes of JSON as sent, without white
 *                 space and with the task's scope
 *     -ECANCELED  the run was cancelled, or has ended
 */

/*
 * Emit an event.
 * type: 1 to AGENT_TYPE_MAX of letters, digits, '_', '-', '.', ':'. "run", "gap"
 * and "done" are refused because the host emits them; "error" and "open" are
 * refused because the EventSource of browsers uses them; "input_request" is refused because
 * agent_run_ask() emits it, and waits for the answer.
 * json: any JSON value (RFC 8259) in UTF-8, at most AGENT_JSON_DEPTH_MAX levels
 * deep. The host removes white space between tokens; all other bytes reach the
 * client unchanged.
 *
 * Clients know these types; all others are the author's own:
 *     text {delta}  reasoning {delta}  step {name, status?}
 *     tool_call {id, name, arguments, client?}  tool_result {id, content}
 *     state {...}   usage {input_tokens, output_tokens}
 *     input_request {id, message, schema?}, by agent_run_ask()
 * client is true if the client is to execute the call, and not the agent.
 * [run]
 */
static inline int emit_event(const char *type, const char *json)
{
    return agent_host_table ? agent_host_table->emit_event(type, json) : -ENXIO;
}

/*
 * Emit the event text {"delta": utf8}. A text that is too long for one event leaves as
 * several, cut between characters, with no event of another task between them.
 * -EINVAL: not UTF-8; nothing is emitted. [run]
 */
static inline int emit_text(const char *utf8)
{
    return agent_host_table ? agent_host_table->emit_text(utf8) : -ENXIO;
}

/* ---- ctx ----------------------------------------------------------------
 *
 * Variables of the run, visible at any depth. The host sets
 *     input, run.id, run.agent, plugin.version, plugin.generation,
 *     auth.subject          who asks, if the host authenticates clients
 *     traceparent           of the request (W3C Trace Context)
 *     request.header.NAME   each header that the operator passes on; NAME in
 *                           lower case
 */

/*
 * Return the variable's value, or NULL. The value lives until the run ends; on a
 * thread that called agent_ctx_bind(), at least as long as the thread stays bound.
 * [run]
 */
static inline const char *ctx_get(const char *key)
{
    return agent_host_table ? agent_host_table->ctx_get(key) : NULL;
}

/*
 * Set a variable for the rest of this run; NULL removes it. Previous values stay
 * in memory until the run ends and count against AGENT_CTX_MAX, so do not keep a
 * counter in a variable. -EINVAL: bad key; -EPERM: the key is the host's;
 * -ENOSPC: more than AGENT_CTX_MAX; -ECANCELED: the run has ended. [run]
 */
static inline int ctx_set(const char *key, const char *value)
{
    return agent_host_table ? agent_host_table->ctx_set(key, value) : -ENXIO;
}

/*
 * Capture this run for a thread of the plugin's own: capture in the run, pass the
 * capture to the thread, bind it there. The thread is then in the run and sees
 * the variables as they were at the capture; only the thread itself sees the
 * variables that it sets. A capture may outlive its run: calls that need the run
 * then fail with -ECANCELED.
 *
 * The caller owns the capture until agent_ctx_release(). NULL: not in a run. [run]
 */
static inline struct agent_ctx *agent_ctx_capture(void)
{
    return agent_host_table ? agent_host_table->ctx_capture() : NULL;
}

/*
 * Put this thread into the captured run; NULL takes it out. -EBUSY: the thread is
 * the host's. [any-thread]
 */
static inline int agent_ctx_bind(struct agent_ctx *captured)
{
    return agent_host_table ? agent_host_table->ctx_bind(captured) : -ENXIO;
}

/* Free a capture, or ignore NULL; threads that are bound to it stay bound. [any-thread] */
static inline void agent_ctx_release(struct agent_ctx *captured)
{
    if (agent_host_table)
        agent_host_table->ctx_release(captured);
}

/* ---- run ---------------------------------------------------------------- */

/*
 * Return 1 if the run must stop or has ended, else 0. A run must stop when a client
 * cancelled it, when its clients left and did not return in time, or when its
 * deadline has passed. The host reports an agent that does not stop, and finally
 * replaces its worker. [run]
 */
static inline int agent_run_cancelled(void)
{
    return agent_host_table ? agent_host_table->run_cancelled() : 0;
}

/*
 * Say why the run fails. code is a word for programs, spelled like an event's type;
 * an invalid code becomes "agent_error". The message is for people, made as by
 * printf(), at most 1023 bytes. The first reason stays. The run ends as failed when
 * handle() returns, unless it was cancelled. The result is always negative, so that
 * handle() can `return agent_run_fail(...)`. [run]
 */
AGENT_PRINTF(2, 3) static inline int agent_run_fail(const char *code, const char *format, ...)
{
    int status = -ENXIO;
    if (agent_host_table) {
        va_list args;
        va_start(args, format);
        status = agent_host_table->run_fail(code, format, args);
        va_end(args);
    }
    return status;
}

/* The same with a finished message, for languages that cannot call the other. [run] */
static inline int agent_run_fail_text(const char *code, const char *message)
{
    return agent_host_table ? agent_host_table->fail_text(code, message) : -ENXIO;
}

/*
 * Set the result that the run's last event carries; a later call replaces it.
 * -EINVAL: not JSON; -EMSGSIZE: more than AGENT_EVENT_MAX bytes; -ECANCELED: the
 * run has ended. [run]
 */
static inline int agent_run_result(const char *json)
{
    return agent_host_table ? agent_host_table->run_result(json) : -ENXIO;
}

/* ---- wait --------------------------------------------------------------- */

/*
 * Wait without holding up other runs; 0 ms lets them go on for one turn. Return 0
 * after the time, never earlier; a fiber wakes up to 2 ms later, so that fibers
 * wake in groups. -ECANCELED: as soon as the run is cancelled. [run]
 */
static inline int agent_sleep(uint32_t ms)
{
    return agent_host_table ? agent_host_table->sleep(ms) : -ENXIO;
}

/* A timeout that never expires. */
#define AGENT_FOREVER UINT32_MAX

/*
 * Wait for an input that a client sends to this run (POST /runs/{id}/input). The
 * run's state is "waiting" meanwhile. The host queues inputs in their order, also
 * those that arrive before the call; each is taken once. On success *json is the
 * JSON as the client sent it; it lives until the next agent_run_input() on this
 * thread or fiber, until handle() returns, or until the thread is bound to another
 * capture. -ETIMEDOUT: no input in time; a timeout of 0 does not wait. -EINVAL:
 * json is NULL. -ECANCELED: as soon as the run is cancelled. [run]
 */
static inline int agent_run_input(uint32_t timeout_ms, const char **json)
{
    return agent_host_table ? agent_host_table->run_input(timeout_ms, json) : -ENXIO;
}

/*
 * Ask a person, and wait for the answer. question is a JSON object:
 *
 *     {"message": "Shall I delete 3 files?", "schema": {"type": "boolean"}}
 *
 * message is text for the person; schema, which may be left out, is a JSON Schema of the
 * answer; other members are the author's own. The host adds the member "id", which must not
 * be there, emits the object as the event input_request, and keeps it among the run's open
 * questions until the call returns. The answer comes by that id (POST
 * /runs/{id}/input?question=ID), so several tasks may ask at the same time, and each gets the
 * answer to its own question. The run's state is "waiting" meanwhile.
 *
 * On success *answer is the JSON as the client sent it; it lives until the next
 * agent_run_ask() on this thread or fiber, until handle() returns, or until the thread is
 * bound to another capture. -ETIMEDOUT: no answer within timeout_ms of the event; the
 * question is closed. -EINVAL: not such an object, or a timeout of 0; -EMSGSIZE: more than
 * AGENT_QUESTION_MAX bytes with id and scope; -EAGAIN: more than AGENT_QUESTIONS_MAX;
 * -ECANCELED: as soon as the run is cancelled. If no client reads the run, it is cancelled
 * when plugin.NAME.input_timeout is over, 600 seconds unless the operator sets another
 * time. [run]
 */
static inline int agent_run_ask(const char *question, uint32_t timeout_ms, const char **answer)
{
    return agent_host_table ? agent_host_table->ask(question, timeout_ms, answer) : -ENXIO;
}

/* ---- task ---------------------------------------------------------------
 *
 * Tasks do several things at once inside one run. A task is a fiber in fiber mode
 * and a thread of the pool in thread mode, and may make every call of a run. When
 * handle() returns, the host waits for the tasks that nobody joined before the run
 * ends; if handle() failed, the host tells them to stop. Cancelling a run cancels
 * all of its tasks.
 *
 *     struct search { const char *where; int found; };
 *     ...
 *     agent_task_spawn(search, &first, &a);
 *     agent_task_spawn(search, &second, &b);
 *     agent_task_join(a);
 *     agent_task_join(b);
 */

/*
 * Start a task that calls fn(arg). The task sees the caller's variables as they are
 * now; variables that it sets stay its own. arg must live until the task has ended:
 * join the task before you leave the function whose variable arg points to. In
 * fiber mode the task begins when the caller waits. In thread mode it begins when a
 * thread of the pool is free, or inside of agent_task_join() on the joining thread;
 * so a task must not wait for another task in any way but by joining it. -EINVAL:
 * fn or task is NULL; -EAGAIN: more than AGENT_TASKS_MAX; -ECANCELED; -ENOMEM;
 * -ENOTSUP: in fiber mode, on a thread that called agent_ctx_bind(). [run]
 */
static inline int agent_task_spawn(int (*fn)(void *arg), void *arg, struct agent_task **task)
{
    return agent_host_table ? agent_host_table->task_spawn(fn, arg, task) : -ENXIO;
}

/*
 * Wait for the end of a task. Return what its function returned, or -ECANCELED if
 * the run was cancelled before the task began. The call waits also in a cancelled
 * run, because the task may still use the caller's memory; the task's own waiting
 * calls return at once then. Each task may be joined once, by any other task of the
 * run; its handle is no longer valid afterwards. -EINVAL: the handle is not valid.
 * [run]
 */
static inline int agent_task_join(struct agent_task *task)
{
    return agent_host_table ? agent_host_table->task_join(task) : -ENXIO;
}

/*
 * Add the member "scope": name to all further events of this task, and of the tasks
 * that it spawns, whose JSON is an object, so that clients can tell apart tasks that
 * run at the same time. NULL ends that. -EINVAL: not UTF-8. [run]
 */
static inline int agent_task_scope(const char *name)
{
    return agent_host_table ? agent_host_table->task_scope(name) : -ENXIO;
}

/* ---- log ---------------------------------------------------------------- */

/*
 * Write one line to the host's log, with the plugin, its generation, and the run if
 * there is one. Clients do not see it. At most 1023 bytes; what is longer is cut, and
 * that is told like a refusal. [any-thread]
 */
AGENT_PRINTF(2, 3) static inline void agent_log(enum agent_log_level level, const char *format, ...)
{
    if (agent_host_table) {
        va_list args;
        va_start(args, format);
        agent_host_table->log(level, format, args);
        va_end(args);
    }
}

/* The same with a finished text, for languages that cannot call the other. [any-thread] */
static inline void agent_log_text(enum agent_log_level level, const char *text)
{
    if (agent_host_table)
        agent_host_table->log_text(level, text);
}

/* The plugin's own, also if it is hidden; with a name of ours, as C++ has others for its type. */
extern void *agent_cxx_globals(void) __asm__("__cxa_get_globals") __attribute__((weak));

/*
 * Register the plugin, once, in one of its source files, without a semicolon:
 *     AGENT_PLUGIN(.name = "hello", .version = "1.0", .handle = handle)
 */
#define AGENT_PLUGIN(...)                                                             \
    AGENT_EXTERN_C __attribute__((visibility("default"))) const struct agent_plugin * \
    agent_plugin_entry(const struct agent_host *host);                                \
    const struct agent_plugin *agent_plugin_entry(const struct agent_host *host)      \
    {                                                                                 \
        static struct agent_plugin plugin = {                                         \
            .size = sizeof(struct agent_plugin), .abi = AGENT_ABI, __VA_ARGS__};      \
        plugin.cxx_globals = agent_cxx_globals;                                       \
        agent_host_table = host;                                                      \
        return &plugin;                                                               \
    }

#ifdef __cplusplus
}
#endif
#endif
