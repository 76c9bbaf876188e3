/*
 * e2e_crash: {"how":H} emits the event ready {} and then, if H is
 *
 *     wait      runs until it is cancelled
 *     null      writes through a null pointer
 *     abort     calls abort()
 *     exit      calls exit(0)
 *     recurse   calls itself until its stack is used up
 *     close     closes every descriptor of its process but the standard ones, and waits
 *     scribble  writes what is no frame into every socket of its process, and waits
 *     ignore    never returns and asks nobody whether it should
 *
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS 64

static int *volatile nowhere;

static int wait_for_end(void)
{
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

static int crash_null(void)
{
    *nowhere = 1;
    return 0;
}

static int crash_abort(void)
{
    abort();
}

static int crash_exit(void)
{
    exit(0);
}

/* What is done with the result of the call keeps it from becoming a loop. */
static int recurse(unsigned depth)
{
    volatile char here[1024];

    here[0] = (char)depth;
    return depth ? recurse(depth - 1) + here[0] : 0;
}

static int crash_recurse(void)
{
    return recurse(~0u);
}

static int close_all(void)
{
    for (int fd = 3; fd < DESCRIPTORS; fd++)
        close(fd);
    return wait_for_end();
}

static int scribble(void)
{
    char junk[64];

    memset(junk, 0xa5, sizeof junk);
    for (int fd = 3; fd < DESCRIPTORS; fd++)
        send(fd, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT);
    return wait_for_end();
}

static int ignore(void)
{
    while (nowhere == NULL)
        sleep(1);
    return 0;
}

static const struct {
    const char *how;
    int (*crash)(void);
} crashes[] = {
    {"wait", wait_for_end},     {"null", crash_null}, {"abort", crash_abort},
    {"exit", crash_exit},       {"close", close_all}, {"scribble", scribble},
    {"recurse", crash_recurse}, {"ignore", ignore},
};

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *how = json_string(json, "how", "");
    int status = -EINVAL;

    (void)self;
    emit_event("ready", "{}");
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
        if (strcmp(crashes[i].how, how) == 0)
            status = crashes[i].crash();
    }
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_crash"), .version = "1.0",
             .handle = handle)
