/*
 * fault_loop: a fiber that computes without pause.
 *
 *     {"loop_ms":N}                emits ready {}, loops for N ms, then emits over {}
 *     {"loop_ms":N,"cancelled":1}  loops only once the run is cancelled
 *     {"ticks":N,"period_ms":M}    emits ready {}, then N times tick {"n":1}, ...
 *
 * As in all of these plugins the input is what the tests write, and is
 * searched, not parsed: "name": is followed by its number at once.
 */
#include <sluice/agent.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static unsigned long number(const char *input, const char *name)
{
    const char *found = strstr(input, name);

    return found ? strtoul(found + strlen(name), NULL, 10) : 0;
}

static unsigned long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000;
}

static void loop(unsigned long ms)
{
    unsigned long end = now_ms() + ms;

    while (now_ms() < end)
        ;
}

static int tick(unsigned long ticks, unsigned long period_ms)
{
    char json[32];
    int status = 0;

    for (unsigned long n = 1; n <= ticks && status == 0; n++) {
        status = agent_sleep((uint32_t)period_ms);
        snprintf(json, sizeof json, "{\"n\":%lu}", n);
        if (status == 0)
            status = emit_event("tick", json);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    unsigned long ms = number(input, "\"loop_ms\": ");

    (void)self;
    emit_event("ready", "{}");
    if (ms == 0)
        return tick(number(input, "\"ticks\": "), number(input, "\"period_ms\": "));
    agent_sleep(20); /* so that ready leaves */
    while (strstr(input, "\"cancelled\"") && !agent_run_cancelled())
        agent_sleep(5);
    loop(ms);
    return emit_event("over", "{}");
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_loop", .version = "1.0", .handle = handle)
