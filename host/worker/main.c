#include "worker/main.h"

#include "base/log.h"
#include "wire/link.h"
#include "worker/host_table.h"
#include "worker/worker.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct role {
    uv_loop_t loop;
    struct link *link;
    struct worker *worker;
    bool quitting;  /* told to leave */
    bool left;      /* what remains is to send what is queued */
    char keys[160]; /* of the log's lines */
};

/* The front cannot be told anything any more. */
static void on_link_ended(void *data, const char *reason)
{
    struct role *role = data;

    if (!role->quitting)
        log_debug("the front is gone: %s", reason);
    _exit(role->quitting ? 0 : 1);
}

static void on_link_drained(void *data)
{
    struct role *role = data;

    if (role->left)
        uv_stop(&role->loop);
    else if (role->worker)
        worker_flush(role->worker);
}

static void on_take(void *data, struct buf *frames)
{
    struct role *role = data;

    if (link_backlog(role->link) > 0)
        return;
    link_take(role->link, frames);
    link_flush(role->link);
}

static void on_left(void *data)
{
    struct role *role = data;

    role->left = true;
    if (link_backlog(role->link) == 0)
        uv_stop(&role->loop);
}

static void role_send_json(struct role *role, enum wire_type type, cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);

    worker_send(role->worker, type, text, strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
}

static void role_refuse(struct role *role, const struct plugin_refusal *refusal)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "step", refusal->step);
    cJSON_AddStringToObject(json, "reason", refusal->reason);
    role_send_json(role, WIRE_REFUSED, json);
}

static void role_greet(struct role *role)
{
    const struct agent_plugin *info = worker_plugin(role->worker);
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "name", info->name);
    cJSON_AddStringToObject(json, "version", info->version);
    if (info->description)
        cJSON_AddStringToObject(json, "description", info->description);
    cJSON_AddStringToObject(json, "mode", info->mode == AGENT_FIBER ? "fiber" : "thread");
    role_send_json(role, WIRE_HELLO, json);
}

static double number_of(const cJSON *json, const char *name)
{
    return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

/* Opens the plugin as the front's OPEN says. */
static int role_open(struct role *role, const cJSON *json)
{
    static const struct worker_sink sink = {.take = on_take, .left = on_left};
    const char *path = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "path"));
    const char *file = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "file"));
    struct plugin_refusal refusal;

    if (path == NULL || file == NULL || role->worker)
        return -EPROTO;
    role->worker = worker_create(&role->loop, &sink, role);
    if (worker_open(role->worker, path, file, &refusal) < 0) {
        role_refuse(role, &refusal);
        return 0;
    }
    snprintf(role->keys, sizeof role->keys, "plugin=%s generation=%d",
             worker_plugin(role->worker)->name, (int)number_of(json, "generation"));
    log_open("worker", role->keys, (enum log_level)number_of(json, "log"));
    role_greet(role);
    return 0;
}

static int on_open(struct role *role, const struct wire_frame *frame)
{
    cJSON *json = cJSON_ParseWithLength(frame->data, frame->length);
    int status = role_open(role, json);

    cJSON_Delete(json);
    return status;
}

static int on_create(struct role *role, const struct wire_frame *frame)
{
    struct plugin_refusal refusal;
    struct worker_settings settings;
    const char *part[4];
    size_t at = 0;

    for (size_t i = 0; i < 4; i++) {
        if (wire_read_string(frame, &at, &part[i]) != 1)
            return -EPROTO;
    }
    if (worker_plugin(role->worker) == NULL)
        return -EPROTO;
    settings.threads = (unsigned)strtoul(part[0], NULL, 10);
    settings.stack_size = strtoul(part[1], NULL, 10);
    if (worker_create_plugin(role->worker, &settings, part[2], *part[3] ? part[3] : NULL,
                             &refusal) < 0)
        role_refuse(role, &refusal);
    else
        worker_send(role->worker, WIRE_READY, NULL, 0);
    return 0;
}

static int on_credit(struct role *role, const struct wire_frame *frame)
{
    uint32_t bytes;

    memcpy(&bytes, frame->data, sizeof bytes);
    worker_credit(role->worker, frame->run, bytes);
    return 0;
}

static int on_input(struct role *role, const struct wire_frame *frame)
{
    const char *json;
    size_t at = 0;

    if (wire_read_string(frame, &at, &json) != 1 || at != frame->length)
        return -EPROTO;
    worker_input(role->worker, frame->run, json);
    return 0;
}

static int on_ping(struct role *role, const struct wire_frame *frame)
{
    uint64_t pong[2] = {0, runtime_stray_emits()};

    memcpy(&pong[0], frame->data, frame->length);
    worker_send(role->worker, WIRE_PONG, pong, sizeof pong);
    return 0;
}

static int on_frame(void *data, const struct wire_frame *frame)
{
    struct role *role = data;

    if (role->worker == NULL && frame->type != WIRE_OPEN)
        return -EPROTO;
    switch ((int)frame->type) {
    case WIRE_OPEN:
        return on_open(role, frame);
    case WIRE_CREATE:
        return on_create(role, frame);
    case WIRE_START:
        return worker_start(role->worker, frame->run, frame->data, frame->length);
    case WIRE_CANCEL:
        worker_cancel(role->worker, frame->run);
        return 0;
    case WIRE_CREDIT:
        return on_credit(role, frame);
    case WIRE_INPUT:
        return on_input(role, frame);
    case WIRE_PING:
        return on_ping(role, frame);
    case WIRE_SAVE:
        worker_save_state(role->worker);
        return 0;
    case WIRE_QUIT:
        role->quitting = true;
        worker_quit(role->worker);
        return 0;
    default:
        return -EPROTO;
    }
}

/*
 * Moves the front's socket away from standard input, so that a plugin that
 * reads or prints meets /dev/null and the log. Dies with the front, even if it
 * dies before the loop runs.
 */
static int role_take_socket(void)
{
    int type, fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    socklen_t length = sizeof type;
    int null = open("/dev/null", O_RDONLY);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
        return -errno;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "sluice worker");
    signal(SIGPIPE, SIG_IGN);
    if (fd < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return -errno;
    close(null);
    return fd;
}

/* Lets handles that are being closed end, for what counts leaks. */
static void role_finish(struct role *role)
{
    worker_destroy(role->worker);
    link_close(role->link);
    uv_run(&role->loop, UV_RUN_DEFAULT);
    uv_loop_close(&role->loop);
}

int role_main(void)
{
    static const struct link_handler handler = {
        .frame = on_frame, .drained = on_link_drained, .ended = on_link_ended};
    struct role role = {.quitting = false};
    int fd = role_take_socket();

    log_open("worker", "", LOG_INFO);
    if (fd < 0 || uv_loop_init(&role.loop) < 0 ||
        link_open(&role.loop, fd, WIRE_FRONT, &handler, &role, &role.link) < 0) {
        fprintf(stderr, "sluice: a worker is started by `sluice serve`, not by hand\n");
        return 2;
    }
    uv_run(&role.loop, UV_RUN_DEFAULT);
    role_finish(&role);
    return 0;
}
