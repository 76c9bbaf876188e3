/*
 * fault_fork: forks in the midst of a run, and emits forked {"pid":N}.
 *
 *     {"how":"hold"}   the child lives on and holds every descriptor
 *     {"how":"both"}   the child goes on as if it were the worker
 *     {"how":"flood","type":T}  the child, and some of its own, write frames
 *                      of this type without pause to the worker's socket
 *
 * Then the run waits until it is cancelled. Anything else forks nothing and
 * finishes.
 */
#include <sluice/agent.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#define DESCRIPTORS 256
#define PAYLOAD     (15 * 1024)
#define FLOODERS    3

/* Small enough to be sent at once, so that the children's frames do not mix. */
static struct frame {
    uint32_t length;
    uint16_t type, zero;
    uint32_t run;
    char payload[PAYLOAD];
} flooding;

static void hold(void)
{
    for (;;)
        pause();
}

/* Never waits for room: so the reader seldom finds the socket empty. */
static void send_all(int fd)
{
    if (send(fd, &flooding, sizeof flooding, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
        _exit(0);
}

static int stream_socket(void)
{
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        int kind;
        socklen_t size = sizeof kind;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 && kind == SOCK_STREAM)
            return fd;
    }
    _exit(1);
}

static void flood(const char *input)
{
    const char *found = strstr(input, "\"type\": ");
    uint16_t type = found ? (uint16_t)strtoul(found + strlen("\"type\": "), NULL, 10) : 0;
    int fd = stream_socket();

    flooding.length = sizeof flooding.payload;
    flooding.type = type;
    for (int i = 1; i < FLOODERS && fork() > 0; i++)
        ;
    for (;;)
        send_all(fd);
}

static int handle(void *self, const char *input)
{
    char json[32];
    pid_t pid;

    (void)self;
    if (!strstr(input, "\"how\""))
        return emit_event("ready", "{}");
    pid = fork();
    if (pid == 0 && strstr(input, "\"hold\""))
        hold();
    if (pid == 0 && strstr(input, "\"flood\""))
        flood(input);
    if (strstr(input, "\"both\""))
        return 0;
    snprintf(json, sizeof json, "{\"pid\":%d}", (int)pid);
    emit_event("forked", json);
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_fork", .version = "1.0", .handle = handle)
