/*
 * thread_bind: tries in create(), selftest() and save_state() what belongs into
 * a run only. save_state() has a capture of a run for that, if one was kept.
 *
 *     {"how":"keep"}    keeps a capture of this run, emits ready {}, and waits until
 *                       it is cancelled
 *     {"how":"report"}  emits report {"create":R,"selftest":R,"before":R}: what the calls
 *                       returned, there and in save_state() of the generation before
 *
 * An R is {"capture":0 or 1,"bind":S,"emit":S,"set":S,"sleep":S}.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLEEP_MS 3000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct agent_ctx *kept;
static char in_create[128], in_selftest[128], before[128] = "null";

static void try_all(struct agent_ctx *captured, char *report, size_t size)
{
    int bind = ctx_bind(captured);
    int emit = emit_event("stray", "{}");
    int set = ctx_set("stray", "1");
    int slept = agent_sleep(SLEEP_MS);

    snprintf(report, size, "{\"capture\":%d,\"bind\":%d,\"emit\":%d,\"set\":%d,\"sleep\":%d}",
             captured != NULL, bind, emit, set, slept);
    ctx_bind(NULL);
}

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)self;
    if (state)
        snprintf(before, sizeof before, "%s", state);
    try_all(ctx_capture(), in_create, sizeof in_create);
    return 0;
}

static int selftest(void *self)
{
    (void)self;
    try_all(ctx_capture(), in_selftest, sizeof in_selftest);
    return 0;
}

static char *save_state(void *self)
{
    char report[128];

    (void)self;
    pthread_mutex_lock(&lock);
    try_all(kept, report, sizeof report);
    pthread_mutex_unlock(&lock);
    return strdup(report);
}

static int keep(void)
{
    pthread_mutex_lock(&lock);
    if (kept == NULL)
        kept = ctx_capture();
    pthread_mutex_unlock(&lock);
    emit_event("ready", "{}");
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

static int handle(void *self, const char *input)
{
    char report[512];

    (void)self;
    if (strstr(input, "\"keep\""))
        return keep();
    snprintf(report, sizeof report, "{\"create\":%s,\"selftest\":%s,\"before\":%s}", in_create,
             in_selftest, before);
    return emit_event("report", report);
}

static void destroy(void *self)
{
    (void)self;
    ctx_release(kept);
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("thread_bind"), .version = "1.0",
             .create = create, .selftest = selftest, .handle = handle, .save_state = save_state,
             .destroy = destroy)
