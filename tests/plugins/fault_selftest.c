/* A plugin whose selftest() fails and says why. */
#include <sluice/agent.h>

static int selftest(void *self)
{
    (void)self;
    agent_log(AGENT_LOG_ERROR, "two and two made %d", 5);
    return -EDOM;
}

static int handle(void *self, const char *input)
{
    (void)self;
    (void)input;
    return 0;
}

AGENT_PLUGIN(.name = "fault_selftest", .version = "1.0", .selftest = selftest, .handle = handle)
