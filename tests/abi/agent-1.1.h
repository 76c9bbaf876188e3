/*
 * agent.h - write an agent as a plugin of sluice.
 *
 * An agent is a shared object with one function that matters, handle(). The
 * host calls it once per run; whatever it emits, from any depth of its call
 * stack, is streamed to the client as server-sent events:
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
 * Who calls whom: the host loads the plugin into a worker process and calls
 * its callbacks; the plugin calls the host through the functions below. They
 * are wrappers over a table that the host hands over when it loads the
 * plugin, so a plugin has no undefined symbols and needs no library of ours.
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
 * A plugin is never unloaded: its process ends. So static data, atexit() and
 * thread-local destructors behave as in any program; a worker that is killed
 * gets none of them, nor destroy().
 *
 * Where a call may be made is said by the tag at its end:
 *
 *     [run]         inside a run: in handle(), in anything it calls, and on a
 *                   thread of the plugin's own that called ctx_bind();
 *                   elsewhere it does nothing and fails with -ENXIO (NULL from
 *                   ctx_get() and ctx_capture(), 0 from run_cancelled())
 *     [any-thread]  anywhere once the plugin is loaded
 *     [loader]      called by the host on the worker's main thread
 *
 * No call may be made in a signal handler.
 *
 * Strings are UTF-8 and end with NUL. The host copies every string that it is
 * given before it returns. Calls return 0 or a negative errno unless they say
 * otherwise. Compiles as C99 or later and as C++20.
 *
 * Changes of the ABI:
 *     1.0  first
 *     1.1  run_input(), task_spawn(), task_join(), task_scope(),
 *          agent_http.h
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

/* A plugin loads when its major is the host's and its minor is not above. */
#define AGENT_ABI_MAJOR 1
#define AGENT_ABI_MINOR 1
#define AGENT_ABI       (AGENT_ABI_MAJOR * UINT32_C(65536) + AGENT_ABI_MINOR)

/* Limits, in bytes without the terminating NUL. */
#define AGENT_NAME_MAX       64            /* a plugin's name */
#define AGENT_TYPE_MAX       64            /* an event's type */
#define AGENT_EVENT_MAX      (960 * 1024)  /* an event's JSON, and a result */
#define AGENT_JSON_DEPTH_MAX 512           /* levels of an event's JSON */
#define AGENT_STATE_MAX      (1024 * 1024) /* what save_state() returns */
#define AGENT_TASKS_MAX      256           /* tasks of one run that are not joined */
#define AGENT_CTX_KEY_MAX    128
#define AGENT_CTX_MAX        (1024 * 1024) /* all that one run's ctx_set() calls store */

enum agent_mode {
    /* Each run has a thread of the worker's pool and may block anywhere. */
    AGENT_THREAD = 0,
    /*
     * Each run is a fiber on the worker's loop: thousands at once for little
     * memory, but it may wait only in the calls below, and must not compute
     * for long between them. Calls that wait (emit_event(), emit_text(),
     * agent_sleep(), run_input(), task_join(), agent_http_status(),
     * agent_http_read()) may let other runs, and other tasks of this one, go on,
     * on the same thread: static and thread-local data may have changed then,
     * and no mutex may be held across them. Its stack, and that of each of its
     * tasks, has 256 KiB unless the operator sets another size.
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
     * Prepare what all runs share and store it in *self; not called again in
     * this process. config is a JSON object with a string member for each key
     * of the plugin's section of the configuration. state is NULL, or what
     * save_state() of the generation before returned. Both live until it
     * returns. A negative errno refuses the plugin; say why with agent_log().
     * [loader]
     */
    int (*create)(const char *config, const char *state, void **self) AGENT_OPTIONAL;

    /* Prove that it works before it gets a run; as create(). [loader] */
    int (*selftest)(void *self) AGENT_OPTIONAL;

    /*
     * One run. input is the request's body, any valid JSON, and lives as long
     * as the run. In thread mode it is called on several threads at once. It
     * returns 0, or a negative errno that ends the run as failed, for which
     * run_fail() gives the reason; it does return: no exception, longjmp() or
     * pthread_exit() leaves it.
     */
    int (*handle)(void *self, const char *input);

    /*
     * Return JSON for create() of the next generation, in memory from
     * malloc(), which the host frees; or NULL for none. What is not JSON or
     * longer than AGENT_STATE_MAX is dropped, and logged. Runs are live then,
     * in thread mode at the same time, and go on after it. [loader]
     */
    char *(*save_state)(void *self) AGENT_OPTIONAL;

    /* The last call, if create() succeeded; no run is live. End your own threads here. [loader] */
    void (*destroy)(void *self) AGENT_OPTIONAL;
};
/* clang-format on */

enum agent_log_level {
    AGENT_LOG_ERROR = 0,
    AGENT_LOG_WARN = 1,
    AGENT_LOG_INFO = 2,
    AGENT_LOG_DEBUG = 3
};

/* A captured context; see ctx_capture(). */
struct agent_ctx;

/* A task; see task_spawn(). */
struct agent_task;

/* A request to another server and its response; see agent_http.h. */
struct agent_http;

/* clang-format off */
/* What is 0 or NULL has the default. All is copied by agent_http_open(). */
struct agent_http_request {
    const char *method AGENT_OPTIONAL;          /* GET, or POST if there is a body */
    const char *url;                            /* http or https */
    const char *const *headers AGENT_OPTIONAL;  /* each "Name: value"; NULL ends them */
    const char *body AGENT_OPTIONAL;            /* NULL for none */
    size_t body_length AGENT_OPTIONAL;          /* bytes; 0: the body is terminated */
    uint32_t connect_timeout_ms AGENT_OPTIONAL; /* 10 s, the host's address included */
    /* While it is connected, nothing moves, and the agent has read all: 60 s. */
    uint32_t idle_timeout_ms AGENT_OPTIONAL;
    uint32_t timeout_ms AGENT_OPTIONAL;         /* for all of it: none */
    size_t max_bytes AGENT_OPTIONAL;            /* of the response's body, decoded: 16 MiB */
    int http2 AGENT_OPTIONAL;                   /* 1: where the server speaks it over TLS */
    uint32_t reserved[5] AGENT_OPTIONAL;        /* 0 */
};
/* clang-format on */

/*
 * The host's side. Plugins call the wrappers below; tests may pass a table of
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
    int (*run_input)(uint32_t timeout_ms, const char **json); /* 1.1, as all that follows */
    int (*task_spawn)(int (*fn)(void *arg), void *arg, struct agent_task **task);
    int (*task_join)(struct agent_task *task);
    int (*task_scope)(const char *name);
    int (*http_open)(const struct agent_http_request *request, struct agent_http **http);
    int (*http_status)(struct agent_http *http);
    const char *(*http_header)(struct agent_http *http, const char *name);
    long (*http_read)(struct agent_http *http, const char **data);
    const char *(*http_error)(struct agent_http *http);
    void (*http_close)(struct agent_http *http);
};

/* One per plugin, shared by all its source files, seen by nobody else. */
extern const struct agent_host *agent_host_table;
__attribute__((weak, visibility("hidden"))) const struct agent_host *agent_host_table;

#if defined(__GNUC__)
#define AGENT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define AGENT_PRINTF(text, first)
#endif

/* ---- emit ---------------------------------------------------------------
 *
 * Put an event into the run's stream, in the order of the calls. They do not
 * wait for the network, only for space while the run's buffer is full because
 * its reader is behind. Events leave the worker within its loop's turn; if it
 * crashes, the last ones may be lost with it.
 *
 *     -ENXIO      no run here; counted, and logged once
 *     -EINVAL     type or JSON is not valid; nothing is emitted
 *     -EMSGSIZE   more than AGENT_EVENT_MAX bytes of JSON, as it is sent: without
 *                 white space, or with emit_text()'s escapes
 *     -ECANCELED  the run was cancelled, or is over
 */

/*
 * type: 1 to AGENT_TYPE_MAX of letters, digits, '_', '-', '.', ':'. The host
 * keeps "run", "gap" and "done" for itself; "error" and "open" are refused
 * because browsers' EventSource uses them for itself.
 * json: any JSON value (RFC 8259) in UTF-8, at most AGENT_JSON_DEPTH_MAX levels
 * deep; white space between its tokens is taken out, the rest reaches the
 * client byte for byte.
 *
 * Clients know these types; all others are the author's own:
 *     text {delta}  reasoning {delta}  step {name, status?}
 *     tool_call {id, name, arguments}  tool_result {id, content}
 *     state {...}   usage {input_tokens, output_tokens}
 * [run]
 */
static inline int emit_event(const char *type, const char *json)
{
    return agent_host_table ? agent_host_table->emit_event(type, json) : -ENXIO;
}

/* Emits the event text {"delta": utf8}; -EINVAL if it is not UTF-8. [run] */
static inline int emit_text(const char *utf8)
{
    return agent_host_table ? agent_host_table->emit_text(utf8) : -ENXIO;
}

/* ---- ctx ----------------------------------------------------------------
 *
 * Variables of the run, found from any depth. The host sets
 *     input, run.id, run.agent, plugin.version, plugin.generation,
 *     auth.subject          who asks, if the host checks it
 *     traceparent           of the request (W3C Trace Context)
 *     request.header.NAME   for the headers that the operator lets through;
 *                           NAME in lower case
 */

/*
 * The value, or NULL if there is none. It lives until the run ends, on a thread
 * that called ctx_bind() at least as long as it stays bound. [run]
 */
static inline const char *ctx_get(const char *key)
{
    return agent_host_table ? agent_host_table->ctx_get(key) : NULL;
}

/*
 * Sets a variable for what follows in this run; NULL takes it away. Older
 * values stay in memory until the run ends, and count: it is not for counters.
 * -EINVAL bad key, -EPERM a key of the host's, -ENOSPC more than AGENT_CTX_MAX,
 * -ECANCELED the run is over. [run]
 */
static inline int ctx_set(const char *key, const char *value)
{
    return agent_host_table ? agent_host_table->ctx_set(key, value) : -ENXIO;
}

/*
 * For threads of the plugin's own: capture in the run, hand the capture to
 * the thread, bind it there. The thread then is in the run and sees the
 * variables as they were; what it sets is seen only by itself. A capture may
 * outlive its run: what needs the run then fails with -ECANCELED.
 *
 * The capture is the caller's until ctx_release(). NULL without a run. [run]
 */
static inline struct agent_ctx *ctx_capture(void)
{
    return agent_host_table ? agent_host_table->ctx_capture() : NULL;
}

/*
 * Puts this thread into the captured run; NULL takes it out again. -EBUSY on a
 * thread of the host's. [any-thread]
 */
static inline int ctx_bind(struct agent_ctx *captured)
{
    return agent_host_table ? agent_host_table->ctx_bind(captured) : -ENXIO;
}

/* Gives a capture back; threads bound to it stay bound. NULL is fine. [any-thread] */
static inline void ctx_release(struct agent_ctx *captured)
{
    if (agent_host_table)
        agent_host_table->ctx_release(captured);
}

/* ---- run ---------------------------------------------------------------- */

/*
 * 1 if the run should stop or is over, else 0. It should stop when its clients
 * left and did not come back in time, when one cancelled it, or when its
 * deadline is over. An agent that goes on regardless is reported, and in the
 * end its worker is replaced. [run]
 */
static inline int run_cancelled(void)
{
    return agent_host_table ? agent_host_table->run_cancelled() : 0;
}

/*
 * Says why the run fails: code is a word for programs (as an event's type),
 * the rest a message for people as printf() makes it, at most 1023 bytes. The
 * first reason stays; what is no such word becomes agent_error. The run ends,
 * as failed, when handle() returns, unless it was cancelled. The result is
 * always negative, so that handle() can `return run_fail(...)`. [run]
 */
AGENT_PRINTF(2, 3) static inline int run_fail(const char *code, const char *format, ...)
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

/*
 * Sets the result that the run's last event carries; the last call counts.
 * -EINVAL not JSON, -EMSGSIZE more than AGENT_EVENT_MAX bytes, -ECANCELED the
 * run is over. [run]
 */
static inline int run_result(const char *json)
{
    return agent_host_table ? agent_host_table->run_result(json) : -ENXIO;
}

/* ---- wait --------------------------------------------------------------- */

/*
 * Waits without holding up other runs; 0 lets them go on for a turn. 0 when the
 * time is over, never before, and on a fiber up to 2 ms later, so that runs that
 * wait wake together; -ECANCELED as soon as the run is cancelled. [run]
 */
static inline int agent_sleep(uint32_t ms)
{
    return agent_host_table ? agent_host_table->sleep(ms) : -ENXIO;
}

/* As a timeout: no end. */
#define AGENT_FOREVER UINT32_MAX

/*
 * Waits for what a client says to this run (POST /runs/{id}/input); the run's
 * state is "waiting" meanwhile. Inputs are queued in their order, so that none
 * is lost that came before the call; each is taken once. 0, and *json is JSON as
 * the client sent it, which lives until the next run_input() on this thread or
 * fiber, or until handle() returns, or the thread is bound anew. -ETIMEDOUT; a
 * timeout of 0 does not wait. -EINVAL json is NULL; -ECANCELED as soon as the
 * run is cancelled. [run]
 */
static inline int run_input(uint32_t timeout_ms, const char **json)
{
    return agent_host_table ? agent_host_table->run_input(timeout_ms, json) : -ENXIO;
}

/* ---- task ---------------------------------------------------------------
 *
 * Several things at once inside one run: each task is a fiber in fiber mode and
 * a thread of the pool in thread mode, and has all that a run has. A run ends
 * when its tasks have: those that nobody has joined are waited for when
 * handle() returns, and told to stop if it failed. Cancelling a run reaches all
 * of its tasks.
 *
 *     struct search { const char *where; int found; };
 *     ...
 *     task_spawn(search, &first, &a);
 *     task_spawn(search, &second, &b);
 *     task_join(a);
 *     task_join(b);
 */

/*
 * Calls fn(arg) as a task that sees the variables of this one as they are now;
 * what it sets stays its own. In fiber mode it begins when this one waits. arg
 * must live until the task has ended: join it before you leave the function
 * whose variable it is. In thread mode it begins when a thread of the pool is
 * free, or in task_join() on the thread that calls that: so a task must not wait
 * for what another one does but by joining it. -EINVAL fn or task is NULL, -EAGAIN more than
 * AGENT_TASKS_MAX, -ECANCELED, -ENOMEM; -ENOTSUP on a thread that called
 * ctx_bind(), in fiber mode. [run]
 */
static inline int task_spawn(int (*fn)(void *arg), void *arg, struct agent_task **task)
{
    return agent_host_table ? agent_host_table->task_spawn(fn, arg, task) : -ENXIO;
}

/*
 * Waits for the end of a task and returns what its function returned, or
 * -ECANCELED if the run was cancelled before it began. It waits also in a run
 * that is cancelled, as the task may be using what is yours; its waiting calls
 * return at once then. Once for each task, by any task of the run but itself; the
 * handle is not valid any more. -EINVAL if it was not before. [run]
 */
static inline int task_join(struct agent_task *task)
{
    return agent_host_table ? agent_host_table->task_join(task) : -ENXIO;
}

/*
 * From now on the events of this task, and of those that it spawns, carry the
 * member "scope": name, if their JSON is an object: so clients can tell apart
 * what is done at once. NULL ends that. -EINVAL if it is not UTF-8. [run]
 */
static inline int task_scope(const char *name)
{
    return agent_host_table ? agent_host_table->task_scope(name) : -ENXIO;
}

/* ---- log ---------------------------------------------------------------- */

/*
 * Writes one line to the host's log, with plugin, generation and run, if
 * there is one; not to the client. At most 1023 bytes. [any-thread]
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

/*
 * Registers the plugin; once, in one of its source files, without semicolon:
 *     AGENT_PLUGIN(.name = "hello", .version = "1.0", .handle = handle)
 */
#define AGENT_PLUGIN(...)                                                             \
    AGENT_EXTERN_C __attribute__((visibility("default"))) const struct agent_plugin * \
    agent_plugin_entry(const struct agent_host *host);                                \
    const struct agent_plugin *agent_plugin_entry(const struct agent_host *host)      \
    {                                                                                 \
        static const struct agent_plugin plugin = {                                   \
            .size = sizeof(struct agent_plugin), .abi = AGENT_ABI, __VA_ARGS__};      \
        agent_host_table = host;                                                      \
        return &plugin;                                                               \
    }

#ifdef __cplusplus
}
#endif
#endif
