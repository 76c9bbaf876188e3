/*
 * fault_restart: create() crashes while the file exists that the
 * configuration names, as "poison". A run emits ready {"pid":N} and waits
 * until it is cancelled. fault_restart_fixed.c is the version without fault.
 */
#ifndef VERSION
#define VERSION   "1.0"
#define IS_FAULTY 1
#endif

#include <sluice/agent.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Copies the string member, or "". */
static void find(const char *json, const char *name, char *value, size_t size)
{
    const char *from = strstr(json, name);
    size_t length;

    *value = '\0';
    if (from == NULL)
        return;
    from += strlen(name);
    length = strcspn(from, "\"");
    if (length < size)
        snprintf(value, size, "%.*s", (int)length, from);
}

static int create(const char *config, const char *state, void **self)
{
    char poison[512];

    (void)state;
    (void)self;
    find(config, "\"poison\":\"", poison, sizeof poison);
    if (IS_FAULTY && *poison && access(poison, F_OK) == 0)
        abort();
    return 0;
}

static int handle(void *self, const char *input)
{
    char json[32];

    (void)self;
    (void)input;
    snprintf(json, sizeof json, "{\"pid\":%d}", (int)getpid());
    emit_event("ready", json);
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_restart", .version = VERSION, .create = create,
             .handle = handle)
