/*
 * One timer serves whatever the state needs next: the start's end, the pings,
 * the end of the time to leave. While it drains, pings go on and look at the
 * deadline.
 *
 * A process ends when it has been reaped: then what its socket still holds is
 * read, so that no event it sent is lost, its remaining runs are ended, and
 * its owner is told. Everything else that goes wrong (a socket that closes, a
 * frame that is none, a start that takes too long) only kills it and leaves a
 * note for the obituary.
 */
#include "fleet/process.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "fleet/numbers.h"
#include "wire/link.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a worker may live on without its socket. */
#define DEAF_MS 1000

/* How long cancelled runs have to stop before their worker is killed. */
#define CANCEL_MS 2000

/* How long a worker without runs may take to leave. */
#define QUIT_MS 2000

struct process {
    uv_loop_t *loop;
    uv_process_t child;
    uv_timer_t timer;
    int handles; /* not yet closed */
    struct link *link;
    struct process_spec spec;
    enum { STARTING, GREETED, CREATING, READY, DRAINING, LEAVING } state;
    struct numbers runs;
    uint64_t started;
    uint64_t stray_emits;
    unsigned pings; /* not yet answered */
    bool saving;    /* its state was asked for */
    size_t memory;
    uint64_t answered_at; /* ms of the loop's clock, of the last PONG */
    uint64_t deadline;    /* ms of the loop's clock, of DRAINING */
    bool stuck;
    bool cancelled;       /* what did not end before the deadline */
    bool deaf;            /* its socket is closed */
    bool reaped;          /* its pid may be another's */
    bool condemned;       /* it was killed, and is not reaped yet */
    bool refused;         /* its plugin: its owner tells */
    enum run_error error; /* what its runs end with if it dies */
    char note[1200];      /* why it was killed or refused; "" if for no reason known */
    const struct process_handler *handler;
    void *data;
};

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

static int executor_input(void *data, uint32_t number, const char *json, size_t length)
{
    struct process *process = data;

    if (process->link == NULL || link_backlog(process->link) >= LINK_BACKLOG_MAX)
        return -EAGAIN;
    wire_append_input(link_out(process->link), number, json, length);
    return 0;
}

static void executor_ignored(void *data, uint32_t number)
{
    struct process *process = data;

    (void)number;
    if (process->handler->ignored)
        process->handler->ignored(process->data);
}

static void process_open_plugin(struct process *process)
{
    cJSON *json = cJSON_CreateObject();
    char *text;

    cJSON_AddStringToObject(json, "path", "/proc/self/fd/3");
    cJSON_AddStringToObject(json, "file", image_file(process->spec.image));
    cJSON_AddNumberToObject(json, "generation", (double)process->spec.generation);
    cJSON_AddNumberToObject(json, "log", log_limit());
    text = cJSON_PrintUnformatted(json);
    process_send(process, WIRE_OPEN, 0, text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
}

bool process_has_room(const struct process *process)
{
    return process->state == READY && !process->deaf && !process->condemned && !process->stuck &&
           link_backlog(process->link) < LINK_BACKLOG_MAX;
}

void process_start(struct process *process, struct run *run, const struct run_agent *agent)
{
    static const struct executor executor = {.cancel = executor_cancel,
                                             .credit = executor_credit,
                                             .input = executor_input,
                                             .ignored = executor_ignored};
    uint32_t number = numbers_take(&process->runs, run);
    struct buf *pairs = run_pairs(run, agent);

    process_send(process, WIRE_START, number, buf_data(pairs), buf_length(pairs));
    buf_finish(pairs);
    process->started++;
    run_start(run, agent, &executor, process, number);
}

__attribute__((format(printf, 2, 3))) static void process_condemn(struct process *process,
                                                                  const char *format, ...)
{
    va_list args;

    va_start(args, format);
    process->condemned = true;
    if (!process->note[0])
        vsnprintf(process->note, sizeof process->note, format, args);
    va_end(args);
    if (!process->reaped)
        uv_process_kill(&process->child, SIGKILL);
}

void process_kill(struct process *process, enum run_error error, const char *reason)
{
    process->error = error;
    process_condemn(process, "%s", reason);
}

/* ---- the heartbeat ---- */

static void read_memory(struct process *process)
{
    char path[48];
    unsigned long pages;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/statm", process->child.pid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fscanf(file, "%*u %lu", &pages) == 1)
        process->memory = pages * (size_t)sysconf(_SC_PAGESIZE);
    fclose(file);
}

static void check_stuck(struct process *process)
{
    uint64_t silent = uv_now(process->loop) - process->answered_at;

    if (process->stuck || silent < process->spec.stuck_timeout * UINT64_C(1000))
        return;
    process->stuck = true;
    log_plugin("a worker is stuck: its loop does not answer; fibers must not block or compute for "
               "long file=%s generation=%llu pid=%d runs=%u",
               image_file(process->spec.image), (unsigned long long)process->spec.generation,
               process->child.pid, process->runs.live);
    if (process->handler->stuck)
        process->handler->stuck(process->data);
}

static void cancel_runs(struct process *process)
{
    process->cancelled = true;
    process->deadline = uv_now(process->loop) + CANCEL_MS;
    for (uint32_t number = 0; number < process->runs.capacity; number++) {
        if (process->runs.taken[number])
            run_cancel(process->runs.taken[number]);
    }
}

static void check_deadline(struct process *process)
{
    if (process->state != DRAINING || uv_now(process->loop) < process->deadline)
        return;
    if (process->stuck)
        process_kill(process, RUN_ERROR_worker_stuck, "killed because its loop did not answer");
    else if (process->cancelled)
        process_kill(process, RUN_ERROR_drain_timeout,
                     "killed because its runs did not stop when they were cancelled");
    else
        cancel_runs(process);
}

static void on_ping_time(uv_timer_t *timer)
{
    struct process *process = timer->data;
    uint64_t now = clock_now();

    process_send(process, WIRE_PING, 0, &now, sizeof now);
    process->pings++;
    read_memory(process);
    check_stuck(process);
    check_deadline(process);
    if (process->handler->pinged)
        process->handler->pinged(process->data);
}

/* ---- the way out ---- */

static void on_kill_time(uv_timer_t *timer)
{
    struct process *process = timer->data;

    process_condemn(process, "it did not leave in time");
}

void process_quit(struct process *process, uint64_t timeout_ms)
{
    if (process->state == LEAVING)
        return;
    process->state = LEAVING;
    process_send(process, WIRE_QUIT, 0, NULL, 0);
    uv_timer_start(&process->timer, on_kill_time, timeout_ms, 0);
}

void process_drain(struct process *process, uint64_t timeout_ms)
{
    uint64_t now = uv_now(process->loop);
    uint64_t deadline = time_after(now, timeout_ms);

    if (process->state == LEAVING)
        return;
    if (process->state < READY || process->runs.live == 0) {
        process_quit(process, QUIT_MS);
        return;
    }
    if (process->state != DRAINING || (deadline < process->deadline && !process->cancelled))
        process->deadline = deadline;
    process->state = DRAINING;
}

static void process_ended_run(struct process *process)
{
    if (process->state == DRAINING && process->runs.live == 0)
        process_quit(process, QUIT_MS);
    if (process->handler->freed)
        process->handler->freed(process->data);
}

/* ---- from the worker ---- */

static const char *string_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    return text ? text : "";
}

void process_refuse(struct process *process, const char *reason)
{
    process->refused = true;
    process_condemn(process, "%s", reason);
}

void process_save_state(struct process *process)
{
    process->saving = true;
    process_send(process, WIRE_SAVE, 0, NULL, 0);
}

void process_create(struct process *process, const struct process_setup *setup)
{
    struct buf payload = {0};

    process->state = CREATING;
    buf_printf(&payload, "%u%c%zu%c%s%c%s%c", setup->threads, 0, setup->stack, 0, setup->config, 0,
               setup->state ? setup->state : "", 0);
    process_send(process, WIRE_CREATE, 0, buf_data(&payload), buf_length(&payload));
    buf_finish(&payload);
}

static int process_greeted(struct process *process, const cJSON *json)
{
    struct process_hello hello = {.name = string_of(json, "name"),
                                  .version = string_of(json, "version"),
                                  .description = string_of(json, "description"),
                                  .mode = string_of(json, "mode")};

    if (process->state == LEAVING)
        return 0;
    if (process->state != STARTING || !*hello.name)
        return -EPROTO;
    process->state = GREETED;
    process->handler->hello(process->data, &hello);
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

    if (json == NULL || process->state >= READY) {
        cJSON_Delete(json);
        return -EPROTO;
    }
    process->refused = true;
    process_condemn(process, "refused at %s: %s", string_of(json, "step"),
                    string_of(json, "reason"));
    cJSON_Delete(json);
    return 0;
}

static int on_state(struct process *process, const struct wire_frame *frame)
{
    char *state;

    if (!process->saving)
        return -EPROTO;
    process->saving = false;
    state = mem_alloc(frame->length + 1);
    memcpy(state, frame->data, frame->length);
    if (process->handler->saved)
        process->handler->saved(process->data, state);
    free(state);
    return 0;
}

static int on_ready(struct process *process)
{
    if (process->state == LEAVING)
        return 0;
    if (process->state != CREATING)
        return -EPROTO;
    process->state = READY;
    process->answered_at = uv_now(process->loop);
    uv_timer_start(&process->timer, on_ping_time, PROCESS_PING_MS, PROCESS_PING_MS);
    process->handler->ready(process->data);
    return 0;
}

static int on_event(struct process *process, const struct wire_frame *frame)
{
    struct run *run = numbers_find(&process->runs, frame->run);
    struct event event;

    if (run == NULL || wire_read_event(frame, &event.type, &event.type_length, &event.json,
                                       &event.json_length) < 0)
        return -EPROTO;
    return run_append(run, &event);
}

static int on_end(struct process *process, const struct wire_frame *frame)
{
    struct run *run = numbers_find(&process->runs, frame->run);
    struct wire_end end;

    if (run == NULL || wire_read_end(frame, &end) < 0)
        return -EPROTO;
    if (run_end(run, &end) < 0)
        return -EPROTO;
    numbers_give_back(&process->runs, frame->run);
    process_ended_run(process);
    return 0;
}

static int on_waiting(struct process *process, const struct wire_frame *frame)
{
    struct run *run = numbers_find(&process->runs, frame->run);
    uint32_t counts[2];

    memcpy(counts, frame->data, sizeof counts);
    return run ? run_set_waiting(run, counts[0], counts[1]) : -EPROTO;
}

static int on_held(struct process *process, const struct wire_frame *frame)
{
    struct run *run = numbers_find(&process->runs, frame->run);
    uint32_t tasks;

    if (run == NULL)
        return -EPROTO;
    memcpy(&tasks, frame->data, sizeof tasks);
    run_set_held(run, tasks > 0);
    return 0;
}

static int on_pong(struct process *process, const struct wire_frame *frame)
{
    uint64_t pong[2];

    if (process->pings == 0)
        return -EPROTO;
    process->pings--;
    memcpy(pong, frame->data, sizeof pong);
    process->stray_emits = pong[1];
    process->answered_at = uv_now(process->loop);
    process->stuck = false;
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
    case WIRE_STATE:
        return on_state(process, frame);
    case WIRE_EVENT:
        return on_event(process, frame);
    case WIRE_END:
        return on_end(process, frame);
    case WIRE_WAITING:
        return on_waiting(process, frame);
    case WIRE_HELD:
        return on_held(process, frame);
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

/* What a worker that is not ready is at. */
static const char *process_step(const struct process *process)
{
    return process->state == STARTING ? "loading" : "in create() or selftest()";
}

/* ---- its end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;

    if (--process->handles > 0)
        return;
    image_unref(process->spec.image);
    numbers_finish(&process->runs);
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
    char how[160];

    if (signal)
        snprintf(how, sizeof how, "killed by signal %d (%s)", signal, strsignal(signal));
    else
        snprintf(how, sizeof how, "%sexited with status %d",
                 process->deaf && status ? LINK_CLOSED "; " : "", (int)status);
    if (process->note[0])
        snprintf(text, size, "%s", process->note);
    else if (process->state < READY)
        snprintf(text, size, "%s: %s while %s", image_file(process->spec.image), how,
                 process_step(process));
    else
        snprintf(text, size, "%s", how);
}

static void fail_runs(struct process *process, const char *reason)
{
    struct wire_end end = {.status = WIRE_FAILED,
                           .code = run_error_code(process->error),
                           .message = reason,
                           .result = ""};

    for (uint32_t number = 0; number < process->runs.capacity; number++) {
        if (process->runs.taken[number])
            run_end(process->runs.taken[number], &end);
    }
}

static void on_exit_status(uv_process_t *child, int64_t status, int signal)
{
    struct process *process = child->data;
    bool was_told;
    char reason[1280];

    process->reaped = true;
    link_drain(process->link);
    describe_end(process, status, signal, reason, sizeof reason);
    was_told = process->state == LEAVING && status == 0 && signal == 0;
    if (!process->refused && !was_told)
        log_plugin("a worker died: %s file=%s generation=%llu pid=%d runs=%u", reason,
                   image_file(process->spec.image), (unsigned long long)process->spec.generation,
                   child->pid, process->runs.live);
    kill(-child->pid, SIGKILL); /* what it forked is of its process group */
    fail_runs(process, reason);
    process->handler->gone(process->data, reason, was_told);
    process_destroy(process);
}

/* ---- its start ---- */

static void on_start_timeout(uv_timer_t *timer)
{
    struct process *process = timer->data;

    process_condemn(process, "%s: not ready within %u s; it was %s",
                    image_file(process->spec.image), process->spec.start_timeout,
                    process_step(process));
}

static int spawn_child(struct process *process, int socket)
{
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_INHERIT_FD, .data.fd = socket},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = image_fd(process->spec.image)},
    };
    char *args[] = {"sluice", "worker", (char *)image_file(process->spec.image), NULL};
    uv_process_options_t options = {
        .file = "/proc/self/exe", /* this binary, even if its file was replaced */
        .args = args,
        .flags = UV_PROCESS_DETACHED, /* a terminal's Ctrl-C is for the front */
        .stdio = stdio,
        .stdio_count = 4,
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
    image_ref(spec->image);
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
    return process->runs.live;
}

uint64_t process_started(const struct process *process)
{
    return process->started;
}

size_t process_memory(const struct process *process)
{
    return process->memory;
}

const char *process_state(const struct process *process)
{
    static const char *const states[] = {
        [STARTING] = "starting", [GREETED] = "starting",  [CREATING] = "starting",
        [READY] = "serving",     [DRAINING] = "draining", [LEAVING] = "leaving"};

    return process->stuck ? "stuck" : states[process->state];
}

bool process_is_ready(const struct process *process)
{
    return process->state == READY;
}

uint64_t process_stray_emits(const struct process *process)
{
    return process->stray_emits;
}
