/*
 * e2e_doors: tries one door that should be closed to a plugin.
 *
 *     {"door":"memory","pid":N}        open the memory of another process
 *     {"door":"copy","pid":N}          process_vm_readv()
 *     {"door":"trace","pid":N}         attach as a debugger does
 *     {"door":"take","pid":N}          take one of its first 64 descriptors
 *     {"door":"environment","pid":N}   read its environment
 *     {"door":"descriptors","pid":N}   list its descriptors
 *     {"door":"signal","pid":N}        may it be sent signals?
 *     {"door":"read","path":P}         open a file, or list a folder
 *     {"door":"write","path":P}        make a file
 *     {"door":"socket","path":P,"text":T}  send the line T to a unix socket; "answer" is what came
 *     {"door":"port","port":N}         connect to a TCP port of 127.0.0.1
 *     {"door":"listen"}                listen on a TCP port
 *     {"door":"variable","name":V}     "answer" is the variable's value
 *     {"door":"daemon"}                start a process that outlives its parent, in a session of
 *                                      its own; "pid" is its number
 *     {"door":"daemon","path":P}       likewise, and it executes P
 *     {"door":"limit","number":N}      "answer" is the soft limit of getrlimit(N)
 *     {"door":"self"}                  the ids of the process, and whether it may gain privileges
 *
 * Its result is {"result":"ok",...} if the door opened, else {"result":"EACCES"} or
 * whatever the error was.
 */
#define _GNU_SOURCE

#include <sluice/agent_json.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int door_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int door_proc(pid_t pid, const char *name, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return door_open(path, flags);
}

static int door_copy(pid_t pid)
{
    char byte;
    struct iovec here = {.iov_base = &byte, .iov_len = 1}, there = here;

    return process_vm_readv(pid, &here, 1, &there, 1, 0) < 0 && errno != EFAULT ? -errno : 0;
}

static int door_trace(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
        return -errno;
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return 0;
}

static int door_take(pid_t pid)
{
    int process = (int)syscall(SYS_pidfd_open, pid, 0), status = -EBADF;

    if (process < 0)
        return -errno;
    for (int fd = 0; fd < 64 && status == -EBADF; fd++) {
        int taken = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
        status = taken < 0 ? -errno : 0;
        if (taken >= 0)
            close(taken);
    }
    close(process);
    return status;
}

static int door_socket(const char *path, const char *text, cJSON *result)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
    char answer[4096];
    ssize_t got = 0;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0 ||
        (got = recv(fd, answer, sizeof answer - 1, 0)) < 0)
        status = -errno;
    close(fd);
    answer[got > 0 ? got : 0] = '\0';
    cJSON_AddStringToObject(result, "answer", answer);
    return status;
}

static int door_port(int port, bool is_listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((in_port_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;

    if (is_listening)
        status = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    else
        status = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    close(fd);
    return status;
}

static int door_daemon(const char *path, cJSON *result)
{
    int told[2], pid = 0;
    pid_t middle;

    if (pipe(told) < 0)
        return -errno;
    middle = fork();
    if (middle == 0) {
        setsid();
        pid = (int)fork();
        if (pid > 0) {
            if (write(told[1], &pid, sizeof pid) < 0)
                _exit(1);
            _exit(0);
        }
        setsid();
        close(told[0]);
        close(told[1]);
        if (path)
            execl(path, path, "3600", NULL);
        for (;;)
            pause();
    }
    waitpid(middle, NULL, 0);
    if (read(told[0], &pid, sizeof pid) < 0)
        pid = -1;
    close(told[0]);
    close(told[1]);
    cJSON_AddNumberToObject(result, "pid", pid);
    return 0;
}

static void add_self(cJSON *result)
{
    cJSON_AddNumberToObject(result, "uid", getuid());
    cJSON_AddNumberToObject(result, "gid", getgid());
    cJSON_AddNumberToObject(result, "groups", getgroups(0, NULL));
    cJSON_AddNumberToObject(result, "no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    cJSON_AddNumberToObject(result, "dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    if (setuid(0) == 0 && getuid() == 0)
        cJSON_AddStringToObject(result, "became", "root");
}

static int try(const cJSON *input, cJSON *result)
{
    const char *door = json_string(input, "door", ""), *path = json_string(input, "path", NULL);
    pid_t pid = (pid_t)json_number(input, "pid", 0);
    struct rlimit limit;

    if (strcmp(door, "memory") == 0)
        return door_proc(pid, "mem", O_RDWR);
    if (strcmp(door, "copy") == 0)
        return door_copy(pid);
    if (strcmp(door, "trace") == 0)
        return door_trace(pid);
    if (strcmp(door, "take") == 0)
        return door_take(pid);
    if (strcmp(door, "environment") == 0)
        return door_proc(pid, "environ", O_RDONLY);
    if (strcmp(door, "descriptors") == 0)
        return door_proc(pid, "fd", O_RDONLY | O_DIRECTORY);
    if (strcmp(door, "signal") == 0)
        return kill(pid, 0) < 0 ? -errno : 0;
    if (strcmp(door, "read") == 0)
        return door_open(path, O_RDONLY);
    if (strcmp(door, "write") == 0)
        return door_open(path, O_WRONLY | O_CREAT);
    if (strcmp(door, "socket") == 0)
        return door_socket(path, json_string(input, "text", ""), result);
    if (strcmp(door, "port") == 0)
        return door_port((int)json_number(input, "port", 0), false);
    if (strcmp(door, "listen") == 0)
        return door_port(0, true);
    if (strcmp(door, "daemon") == 0)
        return door_daemon(path, result);
    if (strcmp(door, "self") == 0) {
        add_self(result);
        return 0;
    }
    if (strcmp(door, "limit") == 0) {
        getrlimit((__rlimit_resource_t)json_number(input, "number", 0), &limit);
        cJSON_AddNumberToObject(result, "answer", (double)limit.rlim_cur);
        return 0;
    }
    if (strcmp(door, "variable") == 0) {
        const char *value = getenv(json_string(input, "name", ""));
        cJSON_AddItemToObject(result, "answer",
                              value ? cJSON_CreateString(value) : cJSON_CreateNull());
        return 0;
    }
    return -ENOSYS;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input), *result = cJSON_CreateObject();
    int status = try(json, result);
    char *text;

    (void)self;
    cJSON_AddStringToObject(result, "result", status < 0 ? strerrorname_np(-status) : "ok");
    text = cJSON_PrintUnformatted(result);
    status = run_result(text);
    cJSON_free(text);
    cJSON_Delete(result);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.name = "e2e_doors", .version = "1.0", .handle = handle)
