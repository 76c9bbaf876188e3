/*
 * fault_signals: does to its process's signals what the input says, emits
 * changed {}, then 20 times tick {} with 5 ms in between.
 *
 *     {"how":"ignore"}  ignores all that can be ignored
 *     {"how":"block"}   blocks all on its thread, and on the main one
 *     {"how":"alarm"}   a signal each millisecond, whose handler restarts nothing
 *     {"how":"segv"}    ignores all, then writes through a null pointer
 *     {"how":"term"}    puts back the defaults, then sends itself SIGTERM
 */
#include <sluice/agent.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static int *volatile nowhere;

static void nothing(int number)
{
    (void)number;
}

static void set_all(void (*handler)(int))
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
}

static void block_all(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void interrupt_often(void)
{
    struct itimerval often = {{0, 1000}, {0, 1000}};

    set_all(nothing);
    setitimer(ITIMER_REAL, &often, NULL);
}

static int tick(void)
{
    int status = 0;

    for (int n = 1; n <= 20 && status == 0; n++) {
        status = agent_sleep(5);
        if (status == 0)
            status = emit_event("tick", "{}");
    }
    return status;
}

static int handle(void *self, const char *input)
{
    (void)self;
    if (strstr(input, "\"ignore\"") || strstr(input, "\"segv\""))
        set_all(SIG_IGN);
    if (strstr(input, "\"block\""))
        block_all();
    if (strstr(input, "\"alarm\""))
        interrupt_often();
    emit_event("changed", "{}");
    agent_sleep(20); /* so that it leaves */
    if (strstr(input, "\"segv\""))
        *nowhere = 1;
    if (strstr(input, "\"term\"")) {
        set_all(SIG_DFL);
        kill(getpid(), SIGTERM);
    }
    return tick();
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "fault_signals", .version = "1.0", .handle = handle)
