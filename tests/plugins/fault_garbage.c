/*
 * fault_garbage: {"how":"write"} emits ready {}, writes garbage to every
 * descriptor of its process and over every file behind one, and waits;
 * anything else emits ready {} and finishes.
 */
#include <sluice/agent.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DESCRIPTORS 256

static void ruin(int fd)
{
    char garbage[64], path[32];
    int again;

    memset(garbage, 0xa5, sizeof garbage);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (write(fd, garbage, sizeof garbage) < 0)
        (void)lseek(fd, 0, SEEK_END);
    if (fd < 3) /* behind these is the log */
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, O_RDWR | O_NONBLOCK);
    if (again < 0)
        return;
    if (pwrite(again, garbage, sizeof garbage, 0) < 0 || ftruncate(again, 1) < 0)
        (void)lseek(again, 0, SEEK_SET);
    close(again);
}

static int handle(void *self, const char *input)
{
    (void)self;
    emit_event("ready", "{}");
    if (!strstr(input, "\"write\""))
        return 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            ruin(fd);
    }
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

AGENT_PLUGIN(.name = "fault_garbage", .version = "1.0", .handle = handle)
