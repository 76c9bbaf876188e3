/*
 * fault_wire: speaks for its worker. It emits ready {}, finds the worker's
 * socket, which is the one stream socket of the process, and sends what the
 * input says; then it does what the input says, and waits.
 *
 *     {"hex": "6162", "repeat": N, "then": THEN}
 *
 * THEN: "wait" does nothing more, "end" finishes the run, "exit" ends the
 * process, "close" closes the socket, "deaf" shuts it down for reading, "mute"
 * for writing, "both" for both. Without "then" the run emits ready {} and
 * finishes.
 *
 * It is a fiber, so that the worker's loop sends nothing in the midst of it.
 */
#include <sluice/agent.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DESCRIPTORS 256

static int link_socket(void)
{
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        struct sockaddr address;
        int kind;
        socklen_t size = sizeof kind, address_size = sizeof address;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 && kind == SOCK_STREAM &&
            getsockname(fd, &address, &address_size) == 0 && address.sa_family == AF_UNIX)
            return fd;
    }
    return -1;
}

/* The value of the member, from its first character on, or "". */
static const char *find(const char *input, const char *name)
{
    const char *found = strstr(input, name);

    return found ? found + strlen(name) : "";
}

static int send_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else if (errno != EAGAIN || poll(&room, 1, -1) < 0) {
            return -errno;
        }
    }
    return 0;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static int send_bytes(int fd, const char *hex, unsigned long repeat)
{
    size_t length = strspn(hex, "0123456789abcdef") / 2;
    char *bytes = malloc(length + 1);
    int status = 0;

    if (bytes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    for (; repeat > 0 && status == 0; repeat--)
        status = send_all(fd, bytes, length);
    free(bytes);
    return status;
}

static void do_then(int fd, const char *then)
{
    if (strncmp(then, "exit", 4) == 0)
        syscall(SYS_exit_group, 0); /* which the host does not see, unlike _exit() */
    if (strncmp(then, "close", 5) == 0)
        close(fd);
    if (strncmp(then, "deaf", 4) == 0)
        shutdown(fd, SHUT_RD);
    if (strncmp(then, "mute", 4) == 0)
        shutdown(fd, SHUT_WR);
    if (strncmp(then, "both", 4) == 0)
        shutdown(fd, SHUT_RDWR);
}

static int handle(void *self, const char *input)
{
    const char *then = find(input, "\"then\": \"");
    int fd = link_socket();

    (void)self;
    emit_event("ready", "{}");
    if (*then == '\0')
        return 0;
    if (fd < 0)
        return run_fail("no_socket", "the worker's socket was not found");
    agent_sleep(20); /* so that ready leaves */
    send_bytes(fd, find(input, "\"hex\": \""), strtoul(find(input, "\"repeat\": "), NULL, 10));
    do_then(fd, then);
    while (strncmp(then, "end", 3) != 0 && !run_cancelled())
        agent_sleep(1000);
    return 0;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_wire", .version = "1.0", .handle = handle)
