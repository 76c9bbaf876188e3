/*
 * A connection asks once: its first line is the question, reading stops, and
 * the answer's end closes it. A swap may take minutes, so a reply may find its
 * connection closed; the client's references count the handle and the replies
 * that are due.
 *
 * Every connection is answered, also when the server stops: admin_close() ends the
 * listening, tells all that have no answer yet that the server is stopping, those
 * too that were not accepted or have not asked, and leaves each LEAVE_MS to read.
 *
 * Who asks is read from the socket (SO_PEERCRED), which the kernel fills when the
 * client connects. A client that descends from the server is a plugin's: its parents
 * are looked up in /proc, up to this process. Workers are subreapers, so what a plugin
 * starts cannot leave this line, and a client that is gone before the look is refused.
 *
 * One server, one socket: the server holds a lock on PATH.lock, with its pid in it, from
 * before it binds until it ends, however it ends. So no socket is removed that
 * somebody has bound and does not listen on yet.
 *
 * To add a command: a line in `commands`, and one in ops/admin.h.
 */
#include "ops/admin.h"

#include "base/handles.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/patience.h"
#include "base/user.h"
#include "base/why.h"
#include "ops/report.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Most parents of a client that are looked up. */
#define GENERATIONS_MAX 256

/* Time for a client to read its answer when the server stops. */
#define LEAVE_MS 500

static const char stopping[] = "the server is stopping";
static const char crowded[] = "too many commands wait for the server";

struct admin {
    uv_pipe_t listener;
    char *path;
    struct registry *registry;
    int lock; /* on path.lock */
    char *listen, *folder;
    void (*refresh)(void *data, const struct refresh *asker);
    void *data;
    unsigned client_count;
    TAILQ_HEAD(, client) clients;
    bool closed; /* the listener; freed when the last client is closed too */
};

/* A reply of the registry may come after the connection was closed: each holds a reference. */
struct client {
    uv_pipe_t pipe;
    struct admin *admin; /* NULL after the connection was closed */
    unsigned refs;
    struct patience idle; /* while it is to ask or to read */
    struct buf line;
    bool is_forgotten; /* what it asks for holds only until the server stops */
    struct buf report; /* JSON, "" for none */
    uv_write_t write;
    struct buf answer;
    struct handles handles;
    TAILQ_ENTRY(client) in_admin; /* in admin->clients */
};

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

static void on_client_closed(void *owner)
{
    client_unref(owner);
}

/* Free what is closed, after its last client. */
static void admin_free(struct admin *admin)
{
    if (!admin->closed || admin->client_count > 0)
        return;
    free(admin->path);
    free(admin->listen);
    free(admin->folder);
    free(admin);
}

static void client_close(struct client *client)
{
    struct admin *admin = client->admin;

    if (admin == NULL)
        return;
    TAILQ_REMOVE(&admin->clients, client, in_admin);
    admin->client_count--;
    client->admin = NULL;
    handles_close(&client->handles, on_client_closed, client, &client->pipe, &client->idle.timer,
                  NULL);
    admin_free(admin);
}

/* Say no to a client that was sent nothing yet: so short a line always fits. */
static void tell(int fd, const char *error)
{
    dprintf(fd, "{\"ok\":false,\"error\":\"%s\"}\n", error);
}

static void client_refuse(struct client *client, const char *error)
{
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&client->pipe, &fd) == 0)
        tell(fd, error);
    client_close(client);
}

static void on_idle(void *data)
{
    log_info("admin connection closed: its client takes too long");
    client_close(data);
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
    if (client->admin)
        patience_start(&client->idle, ADMIN_IDLE_MS, on_idle);
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
    if (error == NULL && client->is_forgotten)
        json_text(&json, "note",
                  "this holds only until the server stops, since nothing can be kept in the "
                  "plugin folder; set host.state_folder to a folder of its own");
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
    json_open(&json, "server", '{');
    json_number(&json, "pid", (uint64_t)getpid());
    json_text(&json, "listen", client->admin->listen);
    json_text(&json, "plugins", client->admin->folder);
    json_text(&json, "admin", client->admin->path);
    json_close(&json, '}');
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
    bool is_kept; /* it holds over a restart, if anything can be kept */
} commands[] = {
    {"list", do_list, NULL, false},           {"refresh", do_refresh, NULL, false},
    {"reload", NULL, registry_reload, false}, {"rollback", NULL, NULL, true},
    {"drain", NULL, registry_drain, true},
};

#define COMMANDS (sizeof commands / sizeof *commands)

/* Return the generation that is named, or 0. */
static uint64_t generation_of(const cJSON *json)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, "generation");

    return cJSON_IsNumber(number) && number->valuedouble >= 1 && number->valuedouble < 1e15
               ? (uint64_t)number->valuedouble
               : 0;
}

/* Carry out the line of this length: the first, and the only one. */
static void client_ask(struct client *client, size_t length)
{
    cJSON *json = cJSON_ParseWithLength(buf_data(&client->line), length);
    const char *command = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "command"));
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "name"));
    struct reply reply = {.done = on_done, .data = client};
    size_t i = 0;

    uv_read_stop((uv_stream_t *)&client->pipe);
    patience_stop(&client->idle);
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
        client->is_forgotten = commands[i].is_kept && !registry_keeps(client->admin->registry);
        if (commands[i].named)
            commands[i].named(client->admin->registry, name, &reply);
        else
            registry_rollback(client->admin->registry, name, generation_of(json), &reply);
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
        client_refuse(client, "the question is too long");
}

/* Return the process's parent, 0 if that is outside of what we see, -1 if the process has ended. */
static pid_t parent_of(pid_t pid)
{
    char path[32], line[512], *end;
    int parent = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -1;
    /* After the command, which may have any bytes and ends with the last ')'. */
    if (fgets(line, sizeof line, file) && (end = strrchr(line, ')')))
        sscanf(end + 1, " %*c %d", &parent);
    fclose(file);
    return (pid_t)parent;
}

/* Return true if this process started it, or what has started it. */
static bool is_descendant(pid_t pid)
{
    for (int i = 0; i < GENERATIONS_MAX && pid > 1; i++) {
        pid = parent_of(pid);
        if (pid == -1 || pid == getpid())
            return true; /* an ancestor that has ended may have been */
    }
    return pid > 1;
}

static bool client_may_ask(const struct client *client)
{
    struct ucred peer = {.pid = 0};
    socklen_t length = sizeof peer;
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&client->pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return false;
    if (peer.uid == 0 && geteuid() != 0) /* whose processes may be hidden, and are none of ours */
        return true;
    if ((peer.uid == 0 || peer.uid == geteuid()) && !(peer.pid > 0 && is_descendant(peer.pid)))
        return true;
    log_plugin("admin connection refused: it comes from a plugin's process or another user pid=%d "
               "uid=%u",
               (int)peer.pid, (unsigned)peer.uid);
    return false;
}

/* Make room: close the connection that has been silent for longest. */
static void close_silent(struct admin *admin)
{
    struct client *client;

    TAILQ_FOREACH(client, &admin->clients, in_admin) {
        if (patience_is_active(&client->idle)) {
            if (buf_length(&client->answer) == 0)
                client_refuse(client, crowded);
            else
                client_close(client);
            return;
        }
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct admin *admin = listener->data;
    struct client *client;

    if (status < 0)
        return;
    if (admin->client_count == ADMIN_CLIENTS_MAX)
        close_silent(admin);
    client = mem_alloc(sizeof *client);
    client->refs = 1; /* the handle's */
    client->admin = admin;
    client->write.data = client;
    uv_pipe_init(listener->loop, &client->pipe, 0);
    client->pipe.data = client;
    patience_init(listener->loop, &client->idle, client);
    patience_start(&client->idle, ADMIN_IDLE_MS, on_idle);
    TAILQ_INSERT_TAIL(&admin->clients, client, in_admin);
    admin->client_count++;
    if (uv_accept(listener, (uv_stream_t *)&client->pipe) < 0)
        client_close(client);
    else if (admin->client_count > ADMIN_CLIENTS_MAX)
        client_refuse(client, crowded);
    else if (!client_may_ask(client))
        client_refuse(client, "plugins and other users may not ask the server");
    else if (uv_read_start((uv_stream_t *)&client->pipe, on_alloc, on_read) < 0)
        client_close(client);
}

/* ---- the socket ---- */

unsigned admin_folders(char folders[ADMIN_FOLDERS][ADMIN_FOLDER_MAX])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    unsigned count = 0;

    if (runtime && *runtime && strlen(runtime) < ADMIN_FOLDER_MAX - sizeof "/sluice")
        snprintf(folders[count++], ADMIN_FOLDER_MAX, "%s/sluice", runtime);
    snprintf(folders[count++], ADMIN_FOLDER_MAX, "/run/sluice");
    snprintf(folders[count++], ADMIN_FOLDER_MAX, "/tmp/sluice-%u", (unsigned)user_self());
    return count;
}

int admin_folder_check(const char *folder, uid_t *owner)
{
    struct stat found;

    if (lstat(folder, &found) < 0)
        return -errno;
    if (!S_ISDIR(found.st_mode))
        return -ENOTDIR;
    *owner = found.st_uid;
    if (strncmp(folder, "/tmp/", 5) == 0 && found.st_uid != geteuid() &&
        found.st_uid != user_self())
        return -EPERM;
    return found.st_mode & (S_IWGRP | S_IWOTH) ? -EPERM : 0;
}

/* Make the path's folder, for this user alone. A folder that is there is its owner's choice. */
static int make_folder(const char *path)
{
    char *folder = mem_strdup(path);
    char *slash = strrchr(folder, '/');
    int status = 0;

    if (slash && slash > folder) {
        *slash = '\0';
        if (mkdir(folder, 0700) == 0)
            status = user_give(folder);
        else if (errno != EEXIST)
            status = -errno;
    }
    free(folder);
    return status;
}

/* Lock the path for this server: a descriptor, or -EADDRINUSE and the pid of the other. */
static int lock_path(const char *path, char *pid, size_t size)
{
    char *file = mem_printf("%s.lock", path);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status = fd < 0 ? -errno : 0;
    struct stat found = {.st_nlink = 0};
    ssize_t length;

    if (status == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (fstat(fd, &found) == 0 && found.st_nlink == 0) { /* its last holder has just left */
            close(fd);
            free(file);
            return lock_path(path, pid, size);
        }
        /* The folder may be another user's: a file with another name is somebody's. */
        status = found.st_nlink == 1 ? user_give(file) : -EPERM;
        free(file);
        if (status < 0) {
            close(fd);
            return status;
        }
        if (ftruncate(fd, 0) == 0)
            dprintf(fd, "%d\n", (int)getpid());
        return fd;
    }
    free(file);
    if (status < 0)
        return status;
    length = pread(fd, pid, size - 1, 0);
    pid[length > 0 ? length : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    close(fd);
    return -EADDRINUSE;
}

/* Remove a socket that nobody listens on; -EADDRINUSE if a server answers, -EEXIST for a file. */
static int clear_path(const char *path, char *pid, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {.pid = 0};
    socklen_t length = sizeof peer;
    int fd, status;

    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    status = connect(fd, (struct sockaddr *)&address, sizeof address);
    if (status == 0 || errno == EAGAIN) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
            snprintf(pid, size, "%d", (int)peer.pid);
        status = -EADDRINUSE;
    } else if (errno == ECONNREFUSED) {
        status = unlink(path) < 0 ? -errno : 0;
    } else {
        status = errno == ENOENT ? 0 : -errno;
    }
    close(fd);
    return status;
}

/* Return the descriptor of the path's lock, or -errno and why. */
static int take_path(const char *path, struct why *why)
{
    struct stat found;
    char pid[16] = "";
    int lock, status;

    if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
        return why_set(why, -ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
    if ((status = make_folder(path)) < 0)
        return why_set(why, status, "%s", strerror(-status));
    if (lstat(path, &found) == 0 && !S_ISSOCK(found.st_mode))
        return why_set(why, -EEXIST, "%s", strerror(EEXIST));
    lock = lock_path(path, pid, sizeof pid);
    status = lock < 0 ? lock : clear_path(path, pid, sizeof pid);
    if (status == 0)
        return lock;
    if (lock >= 0)
        close(lock);
    if (status == -EADDRINUSE)
        return why_set(why, status, "the server with pid %s has it", *pid ? pid : "?");
    return why_set(why, status, "%s", strerror(-status));
}

static int admin_listen(struct admin *admin)
{
    mode_t mask = umask(0177);
    int status = uv_pipe_bind(&admin->listener, admin->path);

    umask(mask);
    if (status == 0)
        status = user_give(admin->path);
    return status < 0
               ? status
               : uv_listen((uv_stream_t *)&admin->listener, ADMIN_CLIENTS_MAX, on_connection);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;
    char *lock = mem_printf("%s.lock", admin->path);

    /* Without the lock's file, another server would lock another one: it goes while we hold it. */
    unlink(lock);
    close(admin->lock);
    free(lock);
    admin->closed = true;
    admin_free(admin);
}

/* Return the socket's name for a server that is not the first, to be freed. */
static char *second_name(const char *listen)
{
    for (size_t length; *listen; listen += length + strspn(listen + length, " ")) {
        const char *end = listen + (length = strcspn(listen, " ")), *port = end;
        while (port > listen && port[-1] != ':')
            port--;
        if (strncmp(listen, "unix:", 5) != 0)
            return mem_printf("admin-%.*s.sock", (int)(end - port), port);
    }
    return mem_printf("admin-pid%d.sock", (int)getpid());
}

/* Take the first default that works; *path is then allocated. */
static int take_default(const char *listen, char **path, struct why *why)
{
    char folders[ADMIN_FOLDERS][ADMIN_FOLDER_MAX];
    unsigned count = admin_folders(folders);
    char *name = second_name(listen);
    int lock = -ENOENT;

    for (unsigned i = 0; i < count; i++) {
        uid_t owner;
        char *first = mem_printf("%s/admin.sock", folders[i]);
        char *second = mem_printf("%s/%s", folders[i], name);

        make_folder(first);
        lock = admin_folder_check(folders[i], &owner);
        if (lock == 0 && access(folders[i], W_OK | X_OK) < 0)
            lock = -errno;
        if (lock < 0) {
            why_set(why, lock, "%s: %s", folders[i], strerror(-lock));
        } else if ((lock = take_path(first, why)) >= 0) {
            *path = mem_strdup(first);
        } else if (lock == -EADDRINUSE && (lock = take_path(second, why)) >= 0) {
            *path = mem_strdup(second);
        }
        free(first);
        free(second);
        if (lock >= 0 || lock == -EADDRINUSE)
            break;
    }
    free(name);
    return lock;
}

int admin_open(uv_loop_t *loop, const struct admin_settings *settings, struct admin **out,
               struct why *why)
{
    struct admin *admin;
    char *path = NULL;
    int lock, status;

    if (strcmp(settings->path, CONFIG_AUTO) == 0)
        lock = take_default(settings->listen, &path, why);
    else
        lock = take_path(settings->path, why);
    if (lock < 0)
        return lock;
    admin = mem_alloc(sizeof *admin);
    uv_pipe_init(loop, &admin->listener, 0);
    admin->listener.data = admin;
    admin->path = path ? path : mem_strdup(settings->path);
    admin->lock = lock;
    admin->listen = mem_strdup(settings->listen);
    admin->folder = mem_strdup(settings->folder);
    admin->registry = settings->registry;
    admin->refresh = settings->refresh;
    admin->data = settings->data;
    TAILQ_INIT(&admin->clients);
    status = admin_listen(admin);
    if (status < 0) {
        why_set(why, status, "%s", uv_strerror(status));
        uv_close((uv_handle_t *)&admin->listener, on_listener_closed);
        return status;
    }
    *out = admin;
    return 0;
}

const char *admin_path(const struct admin *admin)
{
    return admin->path;
}

/* Let nobody connect, and answer those who have and were not accepted. */
static void admin_refuse(const struct admin *admin)
{
    uv_os_fd_t listener;
    int fd;

    if (uv_fileno((const uv_handle_t *)&admin->listener, &listener) < 0)
        return;
    shutdown(listener, SHUT_RD); /* so that none comes between the last accept and the close */
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        tell(fd, stopping);
        close(fd);
    }
}

void admin_close(struct admin *admin)
{
    struct client *client, *next;

    if (admin == NULL)
        return;
    admin_refuse(admin);
    for (client = TAILQ_FIRST(&admin->clients); client; client = next) {
        next = TAILQ_NEXT(client, in_admin);
        if (buf_length(&client->answer) == 0)
            client_refuse(client, stopping);
        else
            patience_start(&client->idle, LEAVE_MS, on_idle);
    }
    uv_close((uv_handle_t *)&admin->listener, on_listener_closed); /* removes the socket */
}
