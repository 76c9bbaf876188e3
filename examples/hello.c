/*
 * hello - the smallest agent: it greets, from a function that knows nothing of the run.
 *
 *     cc -shared -fPIC hello.c -o hello.so $(pkg-config --cflags --libs sluice)
 *     sluice run --text hello.so
 */
#include <sluice/agent.h>

static void greet(const char *who) /* deep in the call stack: */
{
    emit_event("step", "{\"name\":\"greet\"}"); /* nothing is handed down, */
    emit_text("hello ");                        /* nothing is handed up */
    emit_text(who);
}

static int handle(void *self, const char *input) /* once per run */
{
    greet(ctx_get("run.agent"));
    return 0;
}

AGENT_PLUGIN(.name = "hello", .version = "1.0", .handle = handle)
