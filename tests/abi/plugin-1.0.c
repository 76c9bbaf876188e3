/*
 * A plugin of ABI 1.0: it makes every call of agent.h as of 1.0, by the names of 1.0.
 * test_abi.py builds it on the frozen headers and on the present ones, and loads
 * plugin-1.0.x86_64.so, which was built once and must never be built again. It was
 * built on Debian 12 (gcc 12.2), with agent-1.0.h as sdk/sluice/agent.h:
 *
 *     cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -s -Isdk plugin-1.0.c \
 *         -o plugin-1.0.x86_64.so
 */
#include <sluice/agent.h>

#include <stdlib.h>
#include <string.h>

static int refuse(const char *code)
{
    return run_fail(code, "a call of ABI %d.%d failed", AGENT_ABI_MAJOR, AGENT_ABI_MINOR);
}

static int create(const char *config, const char *state, void **self)
{
    (void)state;
    *self = "self";
    agent_log(AGENT_LOG_INFO, "created with %s", config);
    return 0;
}

static int selftest(void *self)
{
    /* Outside of a run a call fails, but it does not crash. */
    if (ctx_get("input") || ctx_capture() || run_cancelled() || agent_sleep(0) != -ENXIO)
        return -EPROTO;
    return strcmp((const char *)self, "self") == 0 ? 0 : -EPROTO;
}

static int handle(void *self, const char *input)
{
    void (*release)(struct agent_ctx *) = ctx_release; /* a short name has an address */
    struct agent_ctx *captured = ctx_capture();

    if (captured == NULL || ctx_bind(captured) != -EBUSY)
        return refuse("capture");
    release(captured);
    if (ctx_set("key", input) < 0 || run_cancelled() || agent_sleep(1) < 0)
        return refuse("abi");
    emit_event("key", ctx_get("key"));
    emit_text((const char *)self);
    return run_result("1");
}

static char *save_state(void *self)
{
    char *state = (char *)malloc(3);

    (void)self;
    return state ? strcpy(state, "{}") : NULL;
}

static void destroy(void *self)
{
    (void)self;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "plugin-1.0", .version = "1.0",
             .description = "Makes every call of ABI 1.0", .create = create, .selftest = selftest,
             .handle = handle, .save_state = save_state, .destroy = destroy)
