/*
 * fault_hog: {"mib":N} takes N MiB more, which its process keeps, and emits
 * held {}; then it waits until the run is cancelled, or with "wait_ms":M that
 * long, and finishes.
 */
#include <sluice/agent.h>

#include <stdlib.h>
#include <string.h>

static char *volatile kept;

static unsigned long number(const char *input, const char *name)
{
    const char *found = strstr(input, name);

    return found ? strtoul(found + strlen(name), NULL, 10) : 0;
}

static int hold(unsigned long bytes)
{
    char *memory = bytes ? malloc(bytes) : NULL;

    if (memory)
        memset(memory, 1, bytes);
    kept = memory;
    return emit_event("held", "{}");
}

static int handle(void *self, const char *input)
{
    unsigned long wait_ms = number(input, "\"wait_ms\": ");
    int status = hold(number(input, "\"mib\": ") << 20);

    (void)self;
    if (wait_ms > 0)
        return agent_sleep((uint32_t)wait_ms);
    while (status == 0 && !run_cancelled())
        status = agent_sleep(1000);
    return status;
}

AGENT_PLUGIN(.name = "fault_hog", .version = "1.0", .handle = handle)
