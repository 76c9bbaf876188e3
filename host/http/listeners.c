/*
 * The system may have no descriptor left for a connection that waits. Its socket
 * then stays readable, and the loop would turn without end; so all sockets pause
 * for RETRY_MS.
 *
 * A unix socket is bound with the umask that gives it its mode. At the end it
 * is removed only if it is still the same file: a successor may have replaced
 * it.
 */
#include "http/listeners.h"

#include "base/buf.h"
#include "base/handles.h"
#include "base/mem.h"
#include "base/user.h"
#include "base/why.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG    4096
#define COUNT_MAX  16
#define ACCEPT_MAX 64 /* a turn of the loop */
#define RETRY_MS   100
#define SEPARATORS ", \t"
#define UNIX       "unix:"

struct listener {
    struct listeners *listeners;
    int fd;
    bool proxied;
    char *path; /* of a unix socket, else NULL */
    dev_t device;
    ino_t inode; /* of that */
    uv_poll_t poll;
};

struct listeners {
    size_t count;
    struct listener all[COUNT_MAX];
    struct buf names;
    bool started, paused;
    bool retrying; /* the timer will end that pause */
    uv_timer_t timer;
    struct handles handles; /* the sockets' and the timer, when they are closed */
    void (*accepted)(void *data, int fd, const struct sockaddr_storage *peer, bool proxied);
    void *data;
};

/* ---- binding ---- */

static int parse_address(const char *name, struct sockaddr_storage *out, socklen_t *length)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    const char *colon = strrchr(name, ':');
    char host[INET6_ADDRSTRLEN] = "";
    in_port_t port = colon ? htons((in_port_t)atoi(colon + 1)) : 0;

    *out = (struct sockaddr_storage){0};
    if (sscanf(name, "[%45[^]]]", host) == 1 && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        *length = sizeof *v6;
    } else if (sscanf(name, "%45[0-9.]:", host) == 1 &&
               inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        *length = sizeof *v4;
    } else {
        return -EINVAL;
    }
    return 0;
}

static void add_name(struct buf *names, int fd, const char *name)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    const char *colon = strrchr(name, ':');
    in_port_t port;

    if (buf_length(names) > 0)
        buf_puts(names, " ");
    if (strncmp(name, UNIX, strlen(UNIX)) == 0) {
        buf_puts(names, name);
        return;
    }
    getsockname(fd, (struct sockaddr *)&address, &length);
    port = address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                         : ((struct sockaddr_in *)&address)->sin_port;
    buf_printf(names, "%.*s:%u", (int)(colon - name), name, ntohs(port));
}

/* Remove a socket that nobody listens on; -EADDRINUSE if somebody does, -EEXIST for a file. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    int fd, error;

    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    error = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? errno : 0;
    close(fd);
    if (error != ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int bind_unix(struct listener *listener, const char *path, unsigned mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    mode_t mask;
    int error;

    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    error = remove_stale(&address);
    if (error < 0)
        return error;
    mask = umask(0777 & ~mode);
    error = bind(listener->fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    umask(mask);
    if (error == 0)
        error = user_give(path);
    if (error < 0)
        return error;
    if (stat(path, &status) == 0) {
        listener->device = status.st_dev;
        listener->inode = status.st_ino;
    }
    listener->path = mem_strdup(path);
    return 0;
}

static int listener_open(struct listener *listener, const char *name, unsigned mode)
{
    bool is_unix = strncmp(name, UNIX, strlen(UNIX)) == 0;
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    socklen_t length = 0;
    int on = 1, status = is_unix ? 0 : parse_address(name, &address, &length);

    if (status < 0)
        return status;
    listener->fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0)
        return -errno;
    if (is_unix) {
        status = bind_unix(listener, name + strlen(UNIX), mode);
    } else {
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        status = bind(listener->fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
    }
    if (status == 0 && listen(listener->fd, BACKLOG) < 0)
        status = -errno;
    return status;
}

static void listener_close(struct listener *listener)
{
    struct stat status;

    if (listener->fd < 0)
        return;
    if (listener->path && lstat(listener->path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode)
        unlink(listener->path);
    close(listener->fd);
    listener->fd = -1;
}

static bool has_word(const char *list, const char *word)
{
    size_t length;

    for (; *(list += strspn(list, SEPARATORS)); list += length) {
        length = strcspn(list, SEPARATORS);
        if (length == strlen(word) && strncmp(list, word, length) == 0)
            return true;
    }
    return false;
}

int listeners_open(const char *names, const char *proxied, unsigned mode, struct listeners **out,
                   struct why *why)
{
    struct listeners *listeners = mem_alloc(sizeof *listeners);
    char *copy = mem_strdup(names), *rest = NULL;
    int status = 0;

    for (char *name = strtok_r(copy, SEPARATORS, &rest); name && status == 0;
         name = strtok_r(NULL, SEPARATORS, &rest)) {
        struct listener *listener = &listeners->all[listeners->count];
        if (listeners->count == COUNT_MAX) {
            status = why_set(why, -EINVAL, "cannot listen on more than %d addresses", COUNT_MAX);
            break;
        }
        listener->fd = -1;
        listener->listeners = listeners;
        listener->proxied = has_word(proxied, name);
        listeners->count++;
        status = listener_open(listener, name, mode);
        if (status < 0)
            why_set(why, status, "cannot listen on %s: %s%s", name, strerror(-status),
                    status == -EEXIST ? ", and it is not a socket" : "");
        else
            add_name(&listeners->names, listener->fd, name);
    }
    free(copy);
    if (status == 0) {
        buf_append(&listeners->names, "", 1);
        *out = listeners;
    } else {
        listeners_destroy(listeners);
    }
    return status;
}

const char *listeners_names(const struct listeners *listeners)
{
    return buf_data(&listeners->names);
}

void listeners_each(struct listeners *listeners, void (*each)(int fd, unsigned value),
                    unsigned value)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->all[i].fd >= 0)
            each(listeners->all[i].fd, value);
    }
}

/* ---- accepting ---- */

static void listeners_poll(struct listeners *listeners);

static void on_retry(uv_timer_t *timer)
{
    struct listeners *listeners = timer->data;

    listeners->retrying = false;
    listeners_poll(listeners);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct listeners *listeners = listener->listeners;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_MAX && listener->fd >= 0 && !listeners->paused; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof peer;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            listeners->accepted(listeners->data, fd, &peer, listener->proxied);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            listeners->retrying = true;
            listeners_poll(listeners);
            uv_timer_start(&listeners->timer, on_retry, RETRY_MS, 0);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

static void listeners_poll(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        struct listener *listener = &listeners->all[i];
        if (listener->fd < 0)
            continue;
        if (listeners->paused || listeners->retrying)
            uv_poll_stop(&listener->poll);
        else
            uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    }
}

void listeners_start(struct listeners *listeners, uv_loop_t *loop,
                     void (*accepted)(void *data, int fd, const struct sockaddr_storage *peer,
                                      bool proxied),
                     void *data)
{
    listeners->started = true;
    listeners->accepted = accepted;
    listeners->data = data;
    uv_timer_init(loop, &listeners->timer);
    listeners->timer.data = listeners;
    for (size_t i = 0; i < listeners->count; i++) {
        uv_poll_init(loop, &listeners->all[i].poll, listeners->all[i].fd);
        listeners->all[i].poll.data = &listeners->all[i];
    }
    listeners_poll(listeners);
}

void listeners_pause(struct listeners *listeners, bool paused)
{
    if (listeners->paused == paused)
        return;
    listeners->paused = paused;
    listeners_poll(listeners);
}

void listeners_close(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->started && listeners->all[i].fd >= 0)
            uv_poll_stop(&listeners->all[i].poll);
        listener_close(&listeners->all[i]);
    }
}

static void listeners_free(void *data)
{
    struct listeners *listeners = data;

    for (size_t i = 0; i < listeners->count; i++)
        free(listeners->all[i].path);
    buf_finish(&listeners->names);
    free(listeners);
}

void listeners_destroy(struct listeners *listeners)
{
    if (listeners == NULL)
        return;
    listeners_close(listeners);
    if (!listeners->started) {
        listeners_free(listeners);
        return;
    }
    for (size_t i = 0; i < listeners->count; i++)
        handles_close(&listeners->handles, listeners_free, listeners, &listeners->all[i].poll,
                      NULL);
    handles_close(&listeners->handles, listeners_free, listeners, &listeners->timer, NULL);
}
