/*
 * fault_deadlock: {"how":"lock"} emits ready {} and locks a mutex that it
 * holds, for ever; anything else emits ready {} and finishes.
 */
#include <sluice/agent.h>

#include <pthread.h>
#include <string.h>

static int handle(void *self, const char *input)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    (void)self;
    emit_event("ready", "{}");
    if (strstr(input, "\"lock\"")) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_lock(&mutex);
    }
    return 0;
}

AGENT_PLUGIN(.name = "fault_deadlock", .version = "1.0", .handle = handle)
