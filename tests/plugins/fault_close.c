/*
 * fault_close: emits ready {}, closes every descriptor of its process, also
 * the standard ones, and waits.
 *
 *     {"how":"close"}   no more than that
 *     {"how":"reopen"}  opens /dev/null as all of them
 *
 * Anything else emits ready {} and finishes.
 */
#include <sluice/agent.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DESCRIPTORS 256

static int wait_for_end(void)
{
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

static int handle(void *self, const char *input)
{
    int reopen = strstr(input, "\"reopen\"") != NULL;

    (void)self;
    emit_event("ready", "{}");
    if (!reopen && !strstr(input, "\"close\""))
        return 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++)
        close(fd);
    while (reopen && open("/dev/null", O_RDWR) >= 0 && fcntl(DESCRIPTORS - 1, F_GETFD) < 0)
        ;
    return wait_for_end();
}

AGENT_PLUGIN(.name = "fault_close", .version = "1.0", .handle = handle)
