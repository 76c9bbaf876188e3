/*
 * unit_probe: the plugin of test_worker. It calls the function that the
 * variable PROBE_CALL names. Without one it emits the variable PROBE_MARK, as
 * JSON, from a place in its own code that the input selects:
 *
 *     "helper"     a function that handle() calls
 *     "recursion"  five levels of a recursion, types depth1 to depth5
 *     "second"     the other source file, unit_probe_second.c
 *     "thread"     a thread of its own, bound to the run
 *     "stray"      a thread of its own, not bound; emits what that returned
 *     "all"        the first four, with short sleeps between
 *
 * Built in both modes, see mode.h.
 */
#include "unit_probe.h"
#include "mode.h"

#include <sluice/agent.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

int probe_second_emit(void);

static int create(const char *config, const char *state, void **self)
{
    struct probe_life *life;
    void *address;

    if (sscanf(config, "{\"life\":\"%p\"", &address) != 1)
        return -EINVAL;
    *self = life = address;
    life->created++;
    snprintf(life->config, sizeof life->config, "%s", config);
    snprintf(life->state, sizeof life->state, "%s", state ? state : "none");
    if (life->create_status < 0)
        agent_log(AGENT_LOG_ERROR, "the probe was told to fail in %s", "create");
    return life->create_status;
}

static int selftest(void *self)
{
    struct probe_life *life = self;

    life->tested++;
    if (life->selftest_status < 0)
        agent_log(AGENT_LOG_ERROR, "the probe was told to fail in %s", "selftest");
    return life->selftest_status;
}

static void destroy(void *self)
{
    struct probe_life *life = self;

    life->destroyed++;
}

static int emit_mark(const char *type)
{
    return emit_event(type, ctx_get(PROBE_MARK));
}

static int emit_deeper(int depth)
{
    char type[24];
    int status;

    snprintf(type, sizeof type, "depth%d", depth);
    status = emit_mark(type);
    return status < 0 || depth == 5 ? status : emit_deeper(depth + 1);
}

static void *emit_bound(void *captured)
{
    if (ctx_bind(captured) == 0)
        emit_mark("thread");
    ctx_bind(NULL);
    return NULL;
}

static int emit_from_thread(void)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t thread;
    int status = captured ? -pthread_create(&thread, NULL, emit_bound, captured) : -ENXIO;

    if (status == 0)
        pthread_join(thread, NULL);
    ctx_release(captured);
    return status;
}

static void *emit_unbound(void *status)
{
    *(int *)status = emit_event("stray", "1");
    return NULL;
}

static int emit_stray(void)
{
    pthread_t thread;
    char json[16];
    int stray = 0, status = -pthread_create(&thread, NULL, emit_unbound, &stray);

    if (status < 0)
        return status;
    pthread_join(thread, NULL);
    snprintf(json, sizeof json, "%d", stray);
    return emit_event("returned", json);
}

static int emit_all(void)
{
    int status;

    if ((status = emit_mark("helper")) < 0 || (status = agent_sleep(1)) < 0 ||
        (status = emit_deeper(1)) < 0 || (status = agent_sleep(1)) < 0 ||
        (status = probe_second_emit()) < 0 || (status = agent_sleep(1)) < 0)
        return status;
    return emit_from_thread();
}

static int call(const char *address)
{
    int (*function)(void);
    void *pointer;

    if (sscanf(address, "%p", &pointer) != 1)
        return -EINVAL;
    memcpy(&function, &pointer, sizeof function);
    return function();
}

static int handle(void *self, const char *input)
{
    const char *address = ctx_get(PROBE_CALL);

    (void)self;
    if (address)
        return call(address);
    if (strcmp(input, "\"helper\"") == 0)
        return emit_mark("helper");
    if (strcmp(input, "\"recursion\"") == 0)
        return emit_deeper(1);
    if (strcmp(input, "\"second\"") == 0)
        return probe_second_emit();
    if (strcmp(input, "\"thread\"") == 0)
        return emit_from_thread();
    if (strcmp(input, "\"stray\"") == 0)
        return emit_stray();
    return strcmp(input, "\"all\"") == 0 ? emit_all() : -EINVAL;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("unit_probe"), .version = "1.0",
             .create = create, .selftest = selftest, .handle = handle, .destroy = destroy)
