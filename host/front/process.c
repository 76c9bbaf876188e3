/*
 * A process ends when it has been reaped: then what its socket still holds is
 * read, so that no event it sent is lost, its remaining runs are ended, and
 * its owner is told. Everything else that goes wrong (a socket that closes, a
 * frame that is none, a start that takes too long) only kills it and leaves a
 * note for the obituary.
 */
#include "front/process.h"

#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PING_PERIOD_MS 1000

/* How long a worker may live on without its socket. */
#define DEAF_MS 1000

struct process {
    uv_loop_t *loop;
    uv_process_t child;
    uv_timer_t timer; /* until ready: its start_timeout; then pings; then the kill */
    int handles;      /* not yet closed */
    struct link *link;
    struct process_spec spec;
    enum { STARTING, CREATING, READY, LEAVING } state;
    struct run **runs; /* by number */
    uint32_t capacity;
    uint32_t *free_numbers; /* a stack */
    uint32_t free_count;
    uint32_t live;
    uint64_t stray_emits;
    bool deaf;       /* its socket is closed */
    char note[1200]; /* why it was killed or refused; "" if for no reason known */
    const struct process_handler *handler;
    void *data;
};

/* ---- runs by number ---- */

static void numbers_grow(struct process *process)
{
    uint32_t capacity = process->capacity ? process->capacity * 2 : 16;

    process->runs = mem_realloc(process->runs, capacity * sizeof *process->runs);
    process->free_numbers =
        mem_realloc(process->free_numbers, capacity * sizeof *process->free_numbers);
    for (uint32_t number = capacity; number-- > process->capacity;) {
        process->runs[number] = NULL;
        process->free_numbers[process->free_count++] = number;
    }
    process->capacity = capacity;
}

static uint32_t process_take_number(struct process *process, struct run *run)
{
    uint32_t number;

    if (process->free_count == 0)
        numbers_grow(process);
    number = process->free_numbers[--process->free_count];
    process->runs[number] = run;
    process->live++;
    return number;
}

static void process_free_number(struct process *process, uint32_t number)
{
    process->runs[number] = NULL;
    process->free_numbers[process->free_count++] = number;
    process->live--;
}

static struct run *process_run(const struct process *process, uint32_t number)
{
    return number < process->capacity ? process->runs[number] : NULL;
}

/* ---- to the worker ---- */

static void process_send(struct process *process, enum wire_type type, uint32_t number,
                         const void *data, size_t length)
{
    if (process->link)
        wire_append(link_out(process->link), type, number, data, length);
}

static void executor_cancel(void *data, uint32_t number)
{
    process_send(data, WIRE_CANCEL, number, NULL, 0);
}

static void executor_credit(void *data, uint32_t number, uint32_t bytes)
{
    process_send(data, WIRE_CREDIT, number, &bytes, sizeof bytes);
}

static void process_open_plugin(struct process *process)
{
    cJSON *json = cJSON_CreateObject();
    char *text;

    cJSON_AddStringToObject(json, "path", process->spec.path);
    cJSON_AddNumberToObject(json, "generation", (double)process->spec.generation);
    cJSON_AddNumberToObject(json, "log", log_limit());
    text = cJSON_PrintUnformatted(json);
    process_send(process, WIRE_OPEN, 0, text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
}

bool process_has_room(const struct process *process)
{
    return process->state == READY && !process->deaf && link_backlog(process->link) < LINK_BACKLOG_MAX;
}

void process_start(struct process *process, struct run *run, const struct run_agent *agent)
{
    static const struct executor executor = {.cancel = executor_cancel, .credit = executor_credit};
    uint32_t number = process_take_number(process, run);
    struct buf *pairs = run_pairs(run, agent);

    process_send(process, WIRE_START, number, buf_data(pairs), buf_length(pairs));
    buf_finish(pairs);
    run_start(run, agent, &executor, process, number);
}

void process_kill(struct process *process)
{
    uv_process_kill(&process->child, SIGKILL);
}

__attribute__((format(printf, 2, 3))) static void process_condemn(struct process *process,
                                                                  const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (!process->note[0])
        vsnprintf(process->note, sizeof process->note, format, args);
    va_end(args);
    process_kill(process);
}

static void on_kill_time(uv_timer_t *timer)
{
    struct process *process = timer->data;

    process_condemn(process, "it did not leave in time");
}

void process_quit(struct process *process, uint64_t timeout_ms)
{
    process->state = LEAVING;
    process_send(process, WIRE_QUIT, 0, NULL, 0);
    uv_timer_start(&process->timer, on_kill_time, timeout_ms, 0);
}

/* ---- from the worker ---- */

static const char *string_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    return text ? text : "";
}

static void process_create_plugin(struct process *process, const struct process_setup *setup)
{
    struct buf payload = {0};

    buf_printf(&payload, "%u%c%zu%c%s%c%c", setup->threads, 0, setup->stack, 0, setup->config, 0,
               0); /* no state */
    process_send(process, WIRE_CREATE, 0, buf_data(&payload), buf_length(&payload));
    buf_finish(&payload);
}

static int process_greeted(struct process *process, const cJSON *json)
{
    struct process_hello hello = {.name = string_of(json, "name"),
                                  .version = string_of(json, "version"),
                                  .description = string_of(json, "description"),
                                  .mode = string_of(json, "mode")};
    struct process_setup setup;
    char reason[512];

    if (process->state == LEAVING)
        return 0;
    if (process->state != STARTING || !*hello.name)
        return -EPROTO;
    if (process->handler->hello(process->data, &hello, &setup, reason, sizeof reason) < 0) {
        process_condemn(process, "%s", reason);
        return 0;
    }
    process->state = CREATING;
    process_create_plugin(process, &setup);
    free(setup.config);
    return 0;
}

static int on_hello(struct process *process, const struct wire_frame *frame)
{
    cJSON *json = cJSON_ParseWithLength(frame->data, frame->length);
    int status = process_greeted(process, json);

    cJSON_Delete(json);
    return status;
}

static int on_refused(struct process *process, const struct wire_frame *frame)
{
    cJSON *json = cJSON_ParseWithLength(frame->data, frame->length);

    process_condemn(process, "refused at %s: %s", string_of(json, "step"),
                    string_of(json, "reason"));
    cJSON_Delete(json);
    return 0;
}

static void on_ping_time(uv_timer_t *timer)
{
    struct process *process = timer->data;
    uint64_t now = clock_now();

    process_send(process, WIRE_PING, 0, &now, sizeof now);
}

static int on_ready(struct process *process)
{
    if (process->state == LEAVING)
        return 0;
    if (process->state != CREATING)
        return -EPROTO;
    process->state = READY;
    uv_timer_start(&process->timer, on_ping_time, PING_PERIOD_MS, PING_PERIOD_MS);
    process->handler->ready(process->data);
    return 0;
}

static int on_event(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_run(process, frame->run);
    struct run_event event;

    if (run == NULL || wire_read_event(frame, &event.type, &event.type_length, &event.json,
                                       &event.json_length) < 0)
        return -EPROTO;
    return run_append(run, &event);
}

static int on_end(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_run(process, frame->run);
    struct wire_end end;

    if (run == NULL || wire_read_end(frame, &end) < 0)
        return -EPROTO;
    process_free_number(process, frame->run);
    return run_end(run, &end);
}

static int on_pong(struct process *process, const struct wire_frame *frame)
{
    uint64_t pong[2];

    memcpy(pong, frame->data, sizeof pong);
    process->stray_emits = pong[1];
    return 0;
}

static int on_frame(void *data, const struct wire_frame *frame)
{
    struct process *process = data;

    switch ((int)frame->type) {
    case WIRE_HELLO:
        return on_hello(process, frame);
    case WIRE_READY:
        return on_ready(process);
    case WIRE_REFUSED:
        return on_refused(process, frame);
    case WIRE_EVENT:
        return on_event(process, frame);
    case WIRE_END:
        return on_end(process, frame);
    case WIRE_PONG:
        return on_pong(process, frame);
    default:
        return -EPROTO;
    }
}

static void on_deaf_time(uv_timer_t *timer)
{
    struct process *process = timer->data;

    process_condemn(process, LINK_CLOSED " but did not exit");
}

/* A socket that closes is how a death begins to show; its cause is told when it is reaped. */
static void on_link_ended(void *data, const char *reason)
{
    struct process *process = data;

    process->deaf = true;
    if (strcmp(reason, LINK_CLOSED) != 0)
        process_condemn(process, "%s", reason);
    else if (process->state != LEAVING)
        uv_timer_start(&process->timer, on_deaf_time, DEAF_MS, 0);
}

/* ---- its end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;

    if (--process->handles > 0)
        return;
    free((char *)process->spec.path);
    free(process->runs);
    free(process->free_numbers);
    free(process);
}

static void process_destroy(struct process *process)
{
    link_close(process->link);
    uv_close((uv_handle_t *)&process->child, on_handle_closed);
    uv_close((uv_handle_t *)&process->timer, on_handle_closed);
}

/* In words: how the process ended, and why if that is known. */
static void describe_end(const struct process *process, int64_t status, int signal, char *text,
                         size_t size)
{
    if (process->note[0])
        snprintf(text, size, "%s", process->note);
    else if (signal)
        snprintf(text, size, "killed by signal %d (%s)", signal, strsignal(signal));
    else
        snprintf(text, size, "exited with status %d", (int)status);
}

static void fail_runs(struct process *process, const char *reason)
{
    struct wire_end end = {.status = WIRE_FAILED, .code = "worker_crashed", .message = reason,
                           .result = ""};

    for (uint32_t number = 0; number < process->capacity; number++) {
        if (process->runs[number])
            run_end(process->runs[number], &end);
    }
}

static void on_exit_status(uv_process_t *child, int64_t status, int signal)
{
    struct process *process = child->data;
    char reason[1280];

    link_drain(process->link);
    describe_end(process, status, signal, reason, sizeof reason);
    if (process->state == READY || (process->state == LEAVING && (status || signal)))
        log_plugin("a worker died: %s file=%s generation=%llu pid=%d runs=%u", reason,
                   process->spec.path, (unsigned long long)process->spec.generation, child->pid,
                   process->live);
    fail_runs(process, reason);
    process->handler->gone(process->data, reason);
    process_destroy(process);
}

/* ---- its start ---- */

static void on_start_timeout(uv_timer_t *timer)
{
    struct process *process = timer->data;

    process_condemn(process, "not ready within %u s; it was %s", process->spec.start_timeout,
                    process->state == STARTING ? "loading" : "in create() or selftest()");
}

static int spawn_child(struct process *process, int socket)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = socket},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    char *args[] = {"sluice", "worker", (char *)process->spec.path, NULL};
    uv_process_options_t options = {
        .file = "/proc/self/exe", /* this binary, even if its file was replaced */
        .args = args,
        .flags = UV_PROCESS_DETACHED, /* a terminal's Ctrl-C is for the front */
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_status,
    };

    return uv_spawn(process->loop, &process->child, &options);
}

static int process_connect(struct process *process)
{
    static const struct link_handler handler = {.frame = on_frame, .ended = on_link_ended};
    int pair[2];
    int status;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    status = spawn_child(process, pair[1]);
    close(pair[1]);
    if (status < 0) {
        close(pair[0]);
        return status;
    }
    status = link_open(process->loop, pair[0], WIRE_WORKER, &handler, process, &process->link);
    if (status < 0)
        log_fatal("a worker's link cannot be opened: %s", uv_strerror(status));
    return 0;
}

int process_spawn(uv_loop_t *loop, const struct process_spec *spec,
                  const struct process_handler *handler, void *data, struct process **out)
{
    struct process *process = mem_alloc(sizeof *process);
    int status;

    process->loop = loop;
    process->spec = *spec;
    process->spec.path = mem_strdup(spec->path);
    process->handler = handler;
    process->data = data;
    process->child.data = process->timer.data = process;
    process->handles = 2;
    uv_timer_init(loop, &process->timer);
    status = process_connect(process);
    if (status < 0) {
        process->handles = 1 + (process->child.type == UV_PROCESS);
        uv_close((uv_handle_t *)&process->timer, on_handle_closed);
        if (process->child.type == UV_PROCESS)
            uv_close((uv_handle_t *)&process->child, on_handle_closed);
        return status;
    }
    process_open_plugin(process);
    uv_timer_start(&process->timer, on_start_timeout, spec->start_timeout * UINT64_C(1000), 0);
    *out = process;
    return 0;
}

int process_pid(const struct process *process)
{
    return process->child.pid;
}

size_t process_live(const struct process *process)
{
    return process->live;
}

uint64_t process_stray_emits(const struct process *process)
{
    return process->stray_emits;
}
