/* An agent that was built on the first version of the SDK, and calls all of it. */
#include "../abi/agent-1.0.h"

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    *self = "self";
    agent_log(AGENT_LOG_INFO, "created");
    return 0;
}

static int handle(void *self, const char *input)
{
    struct agent_ctx *captured = ctx_capture();
    int status = ctx_set("key", input);

    ctx_release(captured);
    if (status < 0 || run_cancelled() || agent_sleep(1) < 0)
        return run_fail("abi", "a call of ABI 1.0 failed");
    emit_event("key", ctx_get("key"));
    emit_text(self);
    return run_result("1");
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "abi_1_0", .version = "1.0", .create = create,
             .handle = handle)
