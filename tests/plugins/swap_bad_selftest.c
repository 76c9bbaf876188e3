/* A version of the agent of swap.h whose selftest() fails and says why. */
#include <sluice/agent.h>

static int selftest(void *self)
{
    (void)self;
    agent_log(AGENT_LOG_ERROR, "the answer was %d", 41);
    return -EDOM;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return emit_text("this version must not serve");
}

AGENT_PLUGIN(.name = "swap", .version = "bad", .selftest = selftest, .handle = handle)
