/* A plugin that needs more static thread-local storage than a late library may have. */
#include <sluice/agent.h>

static __thread char block[1 << 16] __attribute__((tls_model("initial-exec")));

static int handle(void *self, const char *input)
{
    (void)self;
    block[0] = *input;
    return emit_text(block);
}

AGENT_PLUGIN(.name = "tls_block", .version = "1.0", .handle = handle)
