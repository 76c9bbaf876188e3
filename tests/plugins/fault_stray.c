/*
 * fault_stray: leaves a thread behind and finishes, with one event, left {}.
 *
 *     {"how":"emit","count":N}  the thread emits N times without a run, and ends
 *     {"how":"bound"}           the thread is in the run, and emits for ever
 *     {"how":"spin"}            the thread computes for ever
 */
#include <sluice/agent.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned long turns;

static void *emit_stray(void *data)
{
    for (unsigned long left = (unsigned long)data; left > 0; left--)
        emit_text("stray");
    return NULL;
}

/* What it emits while the run is live is in the stream: so it waits for its end. */
static void *emit_bound(void *data)
{
    ctx_bind(data);
    while (!run_cancelled())
        ;
    for (;; turns++)
        emit_text("late");
    return NULL;
}

static void *spin(void *data)
{
    (void)data;
    for (;; turns++)
        ;
    return NULL;
}

static int leave_behind(void *(*fn)(void *data), void *data)
{
    pthread_t thread;
    int status = pthread_create(&thread, NULL, fn, data);

    if (status == 0)
        pthread_detach(thread);
    return -status;
}

static int handle(void *self, const char *input)
{
    const char *count = strstr(input, "\"count\": ");
    int status;

    (void)self;
    if (strstr(input, "\"bound\""))
        status = leave_behind(emit_bound, ctx_capture());
    else if (strstr(input, "\"spin\""))
        status = leave_behind(spin, NULL);
    else
        status = leave_behind(
            emit_stray, (void *)(count ? strtoul(count + strlen("\"count\": "), NULL, 10) : 1));
    return status < 0 ? status : emit_event("left", "{}");
}

AGENT_PLUGIN(.name = "fault_stray", .version = "1.0", .handle = handle)
