/*
 * fault_exit: a plugin that does not leave well. {"at":"destroy"|"atexit",
 * "how":"crash"|"hang"} says what it will do when its worker leaves; the run
 * itself finishes. See fault_loop.c for how the input is read.
 */
#include <sluice/agent.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int *volatile nowhere;
static volatile int at_destroy, at_exit, hangs;

static void misbehave(void)
{
    while (hangs)
        pause();
    *nowhere = 1;
}

static void on_exit_of_process(void)
{
    if (at_exit)
        misbehave();
}

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    return atexit(on_exit_of_process);
}

static int handle(void *self, const char *input)
{
    (void)self;
    hangs = strstr(input, "\"hang\"") != NULL;
    at_destroy = strstr(input, "\"destroy\"") != NULL;
    at_exit = strstr(input, "\"atexit\"") != NULL;
    return emit_event("armed", "{}");
}

static void destroy(void *self)
{
    (void)self;
    if (at_destroy)
        misbehave();
}

AGENT_PLUGIN(.name = "fault_exit", .version = "1.0", .create = create, .handle = handle,
             .destroy = destroy)
