/*
 * fault_atexit: a plugin with everything that runs late in a process: atexit()
 * handlers, a destructor of the object, the destructor of a thread's value.
 * Each writes its line to the log, and emits, which must fail.
 */
#include <sluice/agent.h>

#include <pthread.h>
#include <stdlib.h>

static pthread_key_t key;

static void say(const char *what)
{
    int status = emit_event("late", "{}");

    agent_log(AGENT_LOG_INFO, "%s: emit_event() says %d", what, status);
}

static void on_thread_end(void *data)
{
    (void)data;
    say("the value of a thread is destroyed");
}

static void first_handler(void)
{
    say("the first atexit handler runs");
}

static void second_handler(void)
{
    say("the second atexit handler runs");
}

__attribute__((destructor)) static void on_unload(void)
{
    say("the destructor runs");
}

static int create(const char *config, const char *state, void **self)
{
    (void)config;
    (void)state;
    (void)self;
    atexit(first_handler);
    return -pthread_key_create(&key, on_thread_end);
}

static int handle(void *self, const char *input)
{
    static int registered;

    (void)self;
    (void)input;
    if (!registered++)
        atexit(second_handler);
    pthread_setspecific(key, &key);
    return emit_event("ready", "{}");
}

AGENT_PLUGIN(.name = "fault_atexit", .version = "1.0", .create = create, .handle = handle)
