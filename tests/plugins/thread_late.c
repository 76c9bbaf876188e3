/*
 * thread_late: leaves a detached thread behind that is in its run, emits the
 * event left {} and finishes. The thread emits without pause, also when the run
 * is over and when its process ends, which takes a while: the end of the
 * process waits until it has emitted for NAP_MS more.
 */
#include <sluice/agent.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define NAP_MS 200

static atomic_ulong emitted;

/* The run is live while this returns 0, so what comes first may be in its stream. */
static void *emit_for_ever(void *captured)
{
    ctx_bind(captured);
    ctx_release(captured);
    for (;;) {
        emit_event("late", "{}");
        ctx_set("late", "1");
        atomic_fetch_add(&emitted, 1);
    }
    return NULL;
}

static void nap(void)
{
    struct timespec time = {.tv_nsec = NAP_MS * 1000000L};

    if (atomic_load(&emitted) > 0)
        nanosleep(&time, NULL);
}

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    return atexit(nap) == 0 ? 0 : -ENOMEM;
}

static int handle(void *self, const char *input)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t thread;
    int status = pthread_create(&thread, NULL, emit_for_ever, captured);

    (void)self;
    (void)input;
    if (status) {
        ctx_release(captured);
        return -status;
    }
    pthread_detach(thread);
    return emit_event("left", "{}");
}

AGENT_PLUGIN(.name = "thread_late", .version = "1.0", .create = create, .handle = handle)
