/*
 * countdown - a fiber that mostly waits. Thousands of its runs share one thread.
 *
 *     cc -shared -fPIC countdown.c -o countdown.so $(pkg-config --cflags --libs sluice)
 *     sluice run --text countdown.so 3
 */
#include <sluice/agent.h>

#include <stdio.h>
#include <stdlib.h>

static int handle(void *self, const char *input)
{
    char text[32];
    long n = strtol(input, NULL, 10); /* the input is JSON; this one is a number */
    int status = 0;

    (void)self;
    if (n < 1 || n > 1000)
        return agent_run_fail("bad_input", "send a number from 1 to 1000");
    for (; n > 0 && status == 0; n--) {
        snprintf(text, sizeof text, "%ld ", n);
        status = emit_text(text);
        if (status == 0)
            status = agent_sleep(100); /* parks this run; other runs go on */
    }
    return status < 0 ? status : emit_text("liftoff"); /* -ECANCELED if the run was cancelled */
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "countdown", .version = "1.0", .handle = handle)
