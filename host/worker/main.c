/*
 * The life of a worker process, told by the front's frames:
 *
 *     OPEN ──► load the plugin ──HELLO──► CREATE ──► create, selftest ──READY──► START …
 *                  │ refused                              │ refused
 *                  └──────────────── REFUSED ─────────────┘   (the front ends the process)
 *
 *     QUIT ──► cancel all jobs, destroy the plugin, send the last frames, exit 0
 *     the link ends ──► exit at once: nobody is left to be told
 *
 * Nothing that the plugin starts gets more privileges than the worker has, or outlives
 * it: what loses its parent becomes a child of the worker (fleet/orphans.c). The worker's
 * memory is guarded before OPEN brings anything worth reading.
 *
 * The outbox's frames go to the link only while the link has nothing queued: the
 * outbox is bounded and holds the agents back, the link's queue does not.
 */
#include "worker/main.h"

#include "base/farm.h"
#include "base/guard.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/link.h"
#include "wire/worker_fds.h"
#include "worker/crash.h"
#include "worker/host_table.h"
#include "worker/names.h"
#include "worker/plugin.h"
#include "worker/refused.h"
#include "worker/sandbox.h"
#include "worker/signals.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a thousand; the front keeps what it was started with. */
#define OOM_SCORE 500

struct worker_process {
    uv_loop_t loop;
    struct link *link;
    struct worker *worker;
    int start_timeout; /* the front's, in seconds */
    bool quitting;     /* told to leave */
    bool left;         /* only queued frames are still to be sent */
    char keys[160];    /* of the log's lines */
};

/* The front can no longer be told anything. */
static void on_link_ended(void *data, const char *reason)
{
    struct worker_process *process = data;

    crash_leave();
    if (!process->quitting)
        log_debug("the front is gone: %s", reason);
    _exit(process->quitting ? 0 : 1);
}

static void on_link_drained(void *data)
{
    struct worker_process *process = data;

    if (process->left)
        uv_stop(&process->loop);
    else if (process->worker)
        worker_flush(process->worker);
}

static void on_take(void *data, struct buf *frames)
{
    struct worker_process *process = data;

    if (link_backlog(process->link) > 0)
        return;
    link_take(process->link, frames);
    link_flush(process->link);
}

static void on_rescue(void *data, const char *frames, size_t length)
{
    struct worker_process *process = data;

    link_rescue(process->link, frames, length);
}

static void on_crashed(void *data, const struct worker_crash *crash)
{
    struct worker_process *process = data;
    size_t length = strnlen(crash->text, WIRE_CRASH_MAX - 2);
    char frame[sizeof(struct wire_header) + WIRE_CRASH_MAX];
    struct wire_header header = {
        .length = (uint32_t)length + 2, .type = WIRE_CRASH, .run = crash->run};

    memcpy(frame, &header, sizeof header);
    frame[sizeof header] = (char)crash->has_run;
    memcpy(frame + sizeof header + 1, crash->text, length);
    frame[sizeof header + 1 + length] = '\0';
    link_rescue(process->link, frame, sizeof header + header.length);
}

static void on_left(void *data)
{
    struct worker_process *process = data;

    process->left = true;
    if (link_backlog(process->link) == 0)
        uv_stop(&process->loop);
}

/* Tell the front why the plugin is not fit to serve. */
static void main_refuse(struct worker_process *process, struct refusal *refusal)
{
    struct buf text = {0};
    struct json_writer json = {.out = &text};

    json_open(&json, NULL, '{');
    json_text(&json, "step", refusal->step);
    json_text(&json, "reason", why_text(&refusal->why));
    json_close(&json, '}');
    refusal_finish(refusal);
    worker_send(process->worker, WIRE_REFUSED, buf_data(&text), buf_length(&text));
    buf_finish(&text);
}

static void main_greet(struct worker_process *process)
{
    const struct agent_plugin *info = worker_plugin(process->worker);
    const struct card *card = worker_card(process->worker);
    struct buf text = {0};
    struct json_writer json = {.out = &text};

    json_open(&json, NULL, '{');
    json_text(&json, "name", info->name);
    json_text(&json, "version", info->version);
    json_text(&json, "description", info->description);
    json_text(&json, "mode", info->mode == AGENT_FIBER ? "fiber" : "thread");
    json_text(&json, "title", card->title);
    json_text(&json, "input_schema", card->input ? json_schema_text(card->input) : NULL);
    json_text(&json, "output_schema", card->output ? json_schema_text(card->output) : NULL);
    json_text(&json, "examples", card->examples);
    json_text(&json, "tags", card->tags);
    json_close(&json, '}');
    worker_send(process->worker, WIRE_HELLO, buf_data(&text), buf_length(&text));
    buf_finish(&text);
}

/* Return the value as a number; 0 if there is none. */
static int number_of(const struct wire_frame *frame, const char *key)
{
    const char *value = wire_find(frame, key);

    return value ? atoi(value) : 0;
}

/*
 * Return the path by which the plugin's copy is loaded, to be freed. A path through
 * /proc/PID leads debuggers to the copy, too; through /proc/self it would lead them to a
 * descriptor of their own. The pid is that of the /proc that is mounted here.
 *
 * The copy is in no folder. A plugin that looks beside itself is loaded through a farm. So is
 * every plugin in debug mode, from a file there: what looks at mappings, as valgrind and perf
 * do, finds no copy in memory.
 */
static char *main_path(const char *file, const char *farm, bool debug)
{
    char pid[32] = "self";
    ssize_t length = readlink("/proc/self", pid, sizeof pid - 1);
    char *copy, *link = NULL;

    if (length > 0)
        pid[length] = '\0';
    copy = mem_printf("/proc/%s/fd/%d", pid, WORKER_FD_IMAGE);
    if (farm && (debug || plugin_looks_beside(copy))) {
        link = farm_make(farm, file, copy, debug);
        if (link == NULL)
            log_warn("the plugin does not find its own libraries: no folder of links: %s file=%s "
                     "folder=%s",
                     strerror(errno), file, farm);
    }
    if (link)
        free(copy);
    return link ? link : copy;
}

/* Open the plugin as the front's OPEN says. */
static int on_open(struct worker_process *process, const struct wire_frame *frame)
{
    static const struct worker_sink sink = {
        .take = on_take, .rescue = on_rescue, .crashed = on_crashed, .left = on_left};
    const char *farm = wire_find(frame, "farm");
    const char *file = wire_find(frame, "file");
    const char *debug = wire_find(frame, "debug");
    struct refusal refusal = {0};
    char *path;
    int status;

    if (file == NULL || process->worker)
        return -EPROTO;
    process->worker = worker_create(&process->loop, &sink, process);
    process->start_timeout = number_of(frame, "start_timeout");
    /* Before this process may make no folder. */
    path = main_path(file, farm, debug && strcmp(debug, "yes") == 0);
    status = sandbox_enter(frame, path, &refusal);
    if (status == 0)
        crash_watch(&process->loop, process->worker, path, file);
    if (status == 0)
        status = worker_open(process->worker, path, file, &refusal);
    if (status == 0 && wire_find(frame, "names"))
        names_tell_replaced(path, file);
    free(path);
    if (status < 0) {
        main_refuse(process, &refusal);
        return 0;
    }
    snprintf(process->keys, sizeof process->keys, "plugin=%s generation=%d",
             worker_plugin(process->worker)->name, number_of(frame, "generation"));
    log_open("worker", process->keys, (enum log_level)number_of(frame, "log"));
    main_greet(process);
    return 0;
}

/* Tell of fibers that hold the loop, if anybody reads that. */
static void main_watch(struct worker_process *process)
{
    worker_watch(process->worker, log_limit() >= LOG_DEBUG, LOG_DEBUG);
}

static int on_create(struct worker_process *process, const struct wire_frame *frame)
{
    struct refusal refusal = {0};
    struct worker_settings settings = {.start_ms = (unsigned)process->start_timeout * 1000};
    const char *part[4];
    size_t at = 0;

    for (size_t i = 0; i < 4; i++) {
        if (wire_read_string(frame, &at, &part[i]) != 1)
            return -EPROTO;
    }
    if (worker_plugin(process->worker) == NULL)
        return -EPROTO;
    settings.threads = (unsigned)strtoul(part[0], NULL, 10);
    settings.stack_size = strtoul(part[1], NULL, 10);
    if (worker_create_plugin(process->worker, &settings, part[2], *part[3] ? part[3] : NULL,
                             &refusal) < 0)
        main_refuse(process, &refusal);
    else
        worker_send(process->worker, WIRE_READY, NULL, 0);
    main_watch(process);
    return 0;
}

static int on_credit(struct worker_process *process, const struct wire_frame *frame)
{
    uint32_t bytes;

    memcpy(&bytes, frame->data, sizeof bytes);
    worker_credit(process->worker, frame->run, bytes);
    return 0;
}

static int on_input(struct worker_process *process, const struct wire_frame *frame)
{
    const char *json;
    uint32_t question;
    size_t at = sizeof question;

    memcpy(&question, frame->data, sizeof question);
    if (wire_read_string(frame, &at, &json) != 1 || at != frame->length)
        return -EPROTO;
    worker_input(process->worker, frame->run, question, json);
    return 0;
}

static int on_ping(struct worker_process *process, const struct wire_frame *frame)
{
    struct wire_ping ping;
    struct wire_pong pong = {.stray_emits = host_table_stray_emits(), .refused = refused_count()};

    memcpy(&ping, frame->data, sizeof ping);
    log_set((enum log_level)ping.log, LOG_TEXT);
    main_watch(process);
    pong.sent_at = ping.sent_at;
    worker_send(process->worker, WIRE_PONG, &pong, sizeof pong);
    return 0;
}

static int on_frame(void *data, const struct wire_frame *frame)
{
    struct worker_process *process = data;

    if (process->worker == NULL && frame->type != WIRE_OPEN)
        return -EPROTO;
    switch ((int)frame->type) {
    case WIRE_OPEN:
        return on_open(process, frame);
    case WIRE_CREATE:
        return on_create(process, frame);
    case WIRE_START:
        return worker_start(process->worker, frame->run, frame->data, frame->length);
    case WIRE_CANCEL:
        worker_cancel(process->worker, frame->run);
        return 0;
    case WIRE_CREDIT:
        return on_credit(process, frame);
    case WIRE_INPUT:
        return on_input(process, frame);
    case WIRE_PING:
        return on_ping(process, frame);
    case WIRE_SAVE:
        worker_save_state(process->worker);
        return 0;
    case WIRE_QUIT:
        process->quitting = true;
        worker_quit(process->worker);
        return 0;
    default:
        return -EPROTO;
    }
}

/* Whoever stops a service sends SIGTERM to all of its processes; but only the front knows when the
 * runs have ended. A plugin that writes to a closed pipe is told so by write(2). */
static void main_outlive_signals(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signals_outlive(numbers[i]);
}

/* Without memory the kernel should end a worker, which costs its runs, and not the front. */
static void prefer_for_oom(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "r+e");
    int score = 0;

    if (file == NULL)
        return;
    if (fscanf(file, "%d", &score) == 1 && score < OOM_SCORE) {
        rewind(file);
        fprintf(file, "%d\n", OOM_SCORE);
    }
    fclose(file);
}

/*
 * Move the front's socket away from standard input, so that a plugin that reads
 * or prints meets /dev/null and the log; programs that it starts inherit no more
 * than these. Have the kernel end this process with the front, even before the
 * loop runs.
 */
static int main_take_socket(void)
{
    int type, fd = fcntl(WORKER_FD_SOCKET, F_DUPFD_CLOEXEC, 3);
    socklen_t length = sizeof type;
    int null = open("/dev/null", O_RDONLY);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
        return -errno;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    prefer_for_oom(); /* while /proc/self is still this process's */
    guard_set(true);
    prctl(PR_SET_NAME, "sluice worker");
    main_outlive_signals();
    if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || fcntl(WORKER_FD_IMAGE, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    close(null);
    return fd;
}

/*
 * Log to the front, if it listens; and let each line that a plugin prints go to it when
 * it is whole, not when a buffer is full.
 */
static void main_take_log(void)
{
    int type, fd = fcntl(WORKER_FD_LOG, F_DUPFD_CLOEXEC, WORKER_FD_COUNT);
    socklen_t length = sizeof type;

    log_open("worker", "", LOG_INFO);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (fd < 0)
        return;
    close(WORKER_FD_LOG);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_SEQPACKET)
        close(fd);
    else
        log_send_to(fd);
}

/* Run pending close callbacks so that leak checkers stay quiet. */
static void main_finish(struct worker_process *process)
{
    crash_leave();
    worker_destroy(process->worker);
    link_close(process->link);
    uv_run(&process->loop, UV_RUN_DEFAULT);
    uv_loop_close(&process->loop);
}

int worker_main(const char *version)
{
    static const struct link_handler handler = {
        .frame = on_frame, .drained = on_link_drained, .ended = on_link_ended};
    struct worker_process process = {.quitting = false};
    int fd;

    close(WORKER_FD_BINARY);
    main_take_log();
    if (*version && strcmp(version, PACKAGE_VERSION) != 0) {
        log_error("this program is sluice " PACKAGE_VERSION
                  ", the server is sluice %s: install both "
                  "programs, and restart the server",
                  version);
        return 2;
    }
    fd = main_take_socket();
    if (fd < 0 || uv_loop_init(&process.loop) < 0 ||
        link_open(&process.loop, fd, WIRE_FRONT, &handler, &process, &process.link) < 0) {
        fprintf(stderr, "sluice: a worker is started by `sluice serve`, not by hand\n");
        return 2;
    }
    pthread_cleanup_push(crash_on_pthread_exit, NULL);
    uv_run(&process.loop, UV_RUN_DEFAULT);
    pthread_cleanup_pop(0);
    main_finish(&process);
    return 0;
}
