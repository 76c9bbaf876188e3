/*
 * A connection asks once: its first line is the question, reading stops, and
 * the answer's end closes it. A swap may take minutes, so a reply may find its
 * connection closed; the client's references count the handle and the replies
 * that are due.
 *
 * To add a command: a line in `commands`, and one in ops/admin.h.
 */
#include "ops/admin.h"

#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "ops/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct admin {
    uv_pipe_t listener;
    char *path;
    struct registry *registry;
    void (*refresh)(void *data, const struct refresh *asker);
    void *data;
    unsigned client_count;
    TAILQ_HEAD(, client) clients;
};

/* A reply of the registry may come after the connection was closed: each holds a reference. */
struct client {
    uv_pipe_t pipe;
    struct admin *admin; /* NULL after the connection was closed */
    unsigned refs;
    struct buf line;
    struct buf report; /* JSON, "" for none */
    uv_write_t write;
    struct buf answer;
    TAILQ_ENTRY(client) in_admin; /* in admin->clients */
};

void admin_default_path(char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (runtime && *runtime)
        snprintf(path, size, "%s/sluice/admin.sock", runtime);
    else if (geteuid() == 0)
        snprintf(path, size, "/run/sluice/admin.sock");
    else
        snprintf(path, size, "/tmp/sluice-%u/admin.sock", (unsigned)geteuid());
}

/* ---- connections ---- */

static void client_unref(struct client *client)
{
    if (--client->refs > 0)
        return;
    buf_finish(&client->line);
    buf_finish(&client->report);
    buf_finish(&client->answer);
    free(client);
}

static void on_client_closed(uv_handle_t *handle)
{
    client_unref(handle->data);
}

static void client_close(struct client *client)
{
    if (client->admin == NULL)
        return;
    TAILQ_REMOVE(&client->admin->clients, client, in_admin);
    client->admin->client_count--;
    client->admin = NULL;
    uv_close((uv_handle_t *)&client->pipe, on_client_closed);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    client_close(write->data);
}

static void client_send(struct client *client)
{
    uv_buf_t out;

    buf_puts(&client->answer, "\n");
    out = uv_buf_init(client->answer.base + client->answer.start,
                      (unsigned)buf_length(&client->answer));
    if (client->admin == NULL ||
        uv_write(&client->write, (uv_stream_t *)&client->pipe, &out, 1, on_written) < 0)
        client_close(client);
}

static void client_answer(struct client *client, const char *error)
{
    struct json_writer json = {.out = &client->answer};

    json_open(&json, NULL, '{');
    json_flag(&json, "ok", error == NULL);
    json_text(&json, "error", error);
    if (buf_length(&client->report) > 0)
        json_raw(&json, "configuration", buf_data(&client->report), buf_length(&client->report));
    json_close(&json, '}');
    client_send(client);
}

static void on_report(void *data, const struct buf *json)
{
    struct client *client = data;

    buf_append(&client->report, buf_data(json), buf_length(json));
}

static void on_done(void *data, const char *error)
{
    struct client *client = data;

    client_answer(client, error);
    client_unref(client);
}

/* ---- commands ---- */

static void do_list(struct client *client)
{
    struct json_writer json = {.out = &client->answer};

    json_open(&json, NULL, '{');
    json_flag(&json, "ok", true);
    report_folder(client->admin->registry, &json);
    report_plugins(client->admin->registry, &json);
    json_close(&json, '}');
    client_send(client);
}

static void do_refresh(struct client *client)
{
    struct refresh asker = {.report = on_report, .reply = {.done = on_done, .data = client}};

    client->refs++;
    client->admin->refresh(client->admin->data, &asker);
}

static const struct {
    const char *name;
    void (*alone)(struct client *client);
    void (*named)(struct registry *registry, const char *name, const struct reply *reply);
} commands[] = {
    {"list", do_list, NULL},           {"refresh", do_refresh, NULL},
    {"reload", NULL, registry_reload}, {"rollback", NULL, registry_rollback},
    {"drain", NULL, registry_drain},
};

#define COMMANDS (sizeof commands / sizeof *commands)

/* Carry out the line of this length: the first, and the only one. */
static void client_ask(struct client *client, size_t length)
{
    cJSON *json = cJSON_ParseWithLength(buf_data(&client->line), length);
    const char *command = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "command"));
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "name"));
    struct reply reply = {.done = on_done, .data = client};
    size_t i = 0;

    uv_read_stop((uv_stream_t *)&client->pipe);
    while (i < COMMANDS && (command == NULL || strcmp(command, commands[i].name) != 0))
        i++;
    if (i == COMMANDS) {
        client_answer(client, "there is no such command");
    } else if (commands[i].alone) {
        commands[i].alone(client);
    } else if (name == NULL) {
        client_answer(client, "this command needs a name");
    } else {
        client->refs++;
        commands[i].named(client->admin->registry, name, &reply);
    }
    cJSON_Delete(json);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct client *client = handle->data;

    (void)suggested;
    *out = uv_buf_init(buf_reserve(&client->line, ADMIN_LINE_MAX), ADMIN_LINE_MAX);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *in)
{
    struct client *client = stream->data;
    const char *end;

    (void)in;
    if (got < 0) {
        client_close(client);
        return;
    }
    buf_commit(&client->line, (size_t)got);
    end = memchr(buf_data(&client->line), '\n', buf_length(&client->line));
    if (end)
        client_ask(client, (size_t)(end - buf_data(&client->line)));
    else if (buf_length(&client->line) > ADMIN_LINE_MAX)
        client_close(client);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct admin *admin = listener->data;
    struct client *client;

    if (status < 0)
        return;
    client = mem_alloc(sizeof *client);
    client->refs = 1; /* the handle's */
    client->admin = admin;
    client->pipe.data = client->write.data = client;
    uv_pipe_init(listener->loop, &client->pipe, 0);
    client->pipe.data = client;
    TAILQ_INSERT_TAIL(&admin->clients, client, in_admin);
    admin->client_count++;
    if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0 ||
        admin->client_count > ADMIN_CLIENTS_MAX ||
        uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0)
        client_close(client);
}

/* ---- the socket ---- */

/* Make the socket's folder for this user alone, so that nobody else can put a socket there. */
static int make_folder(const char *path)
{
    char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    struct stat found;
    int status = 0;

    if (slash && slash > folder) {
        *slash = '\0';
        if (mkdir(folder, 0700) < 0 && errno != EEXIST)
            status = -errno;
        else if (stat(folder, &found) < 0)
            status = -errno;
        else if (strncmp(folder, "/tmp/sluice-", 12) == 0 && found.st_uid != geteuid())
            status = -EPERM;
    }
    free(folder);
    return status;
}

/* Remove a socket that nobody listens on; -EADDRINUSE if a server answers, -EEXIST for a file. */
static int clear_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat found;
    int fd, status;

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    if (lstat(path, &found) == 0 && !S_ISSOCK(found.st_mode))
        return -EEXIST;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    status = connect(fd, (struct sockaddr *)&address, sizeof address);
    if (status == 0)
        status = -EADDRINUSE;
    else if (errno == ECONNREFUSED)
        status = unlink(path) < 0 ? -errno : 0;
    else
        status = errno == ENOENT ? 0 : -errno;
    close(fd);
    return status;
}

static int admin_listen(struct admin *admin)
{
    mode_t mask = umask(0177);
    int status = uv_pipe_bind(&admin->listener, admin->path);

    umask(mask);
    return status < 0
               ? status
               : uv_listen((uv_stream_t *)&admin->listener, ADMIN_CLIENTS_MAX, on_connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;

    free(admin->path);
    free(admin);
}

int admin_open(uv_loop_t *loop, const char *path, struct registry *registry,
               void (*refresh)(void *data, const struct refresh *asker), void *data,
               struct admin **out)
{
    struct admin *admin;
    int status;

    if ((status = make_folder(path)) < 0 || (status = clear_path(path)) < 0)
        return status;
    admin = mem_alloc(sizeof *admin);
    uv_pipe_init(loop, &admin->listener, 0);
    admin->listener.data = admin;
    admin->path = mem_strdup(path);
    admin->registry = registry;
    admin->refresh = refresh;
    admin->data = data;
    TAILQ_INIT(&admin->clients);
    status = admin_listen(admin);
    if (status < 0) {
        uv_close((uv_handle_t *)&admin->listener, on_listener_closed);
        return status;
    }
    *out = admin;
    return 0;
}

void admin_close(struct admin *admin)
{
    if (admin == NULL)
        return;
    while (!TAILQ_EMPTY(&admin->clients))
        client_close(TAILQ_FIRST(&admin->clients));
    uv_close((uv_handle_t *)&admin->listener, on_listener_closed); /* removes the socket */
}
