/*
 * buggy: does what its input says, for tests of debuggers and sanitizers.
 *     "use"       reads memory after it was freed
 *     "leak"      loses 4321 bytes
 *     "race"      counts on two threads without a lock
 *     "overflow"  overflows an int
 *     "crash"     writes to address 0
 *     "spin"      computes for a while; "spin on" until it is cancelled
 *     "child"     emits which descriptors a program that it starts has
 *     "steps"     emits a text every 10 ms until there is an input
 */
#include "mode.h"

#include <sluice/agent.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int counter;
static volatile int sink;
static int *volatile nowhere;

static void *count_up(void *arg)
{
    for (int i = 0; i < 100000; i++)
        counter++;
    return arg;
}

static int use_freed(void)
{
    char *text = malloc(10);

    text[0] = 'x';
    free(text);
    return text[sink];
}

static int lose(void)
{
    char *volatile text = malloc(4321);

    text[0] = 'x';
    text = NULL;
    return 0;
}

static int race(void)
{
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, count_up, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static int overflow(void)
{
    int large = 2147483647;

    large += 1 + sink;
    return large > 0;
}

static int crash(void)
{
    *nowhere = 1;
    return 0;
}

static int spin(void)
{
    const char *input = ctx_get("input");

    do {
        for (int i = 0; i < 100000000; i++)
            sink = i;
    } while (strstr(input, "on") && !run_cancelled());
    return 0;
}

static int child(void)
{
    FILE *program = popen("ls /proc/$$/fd", "r");
    char text[1000] = "";

    if (program == NULL)
        return -errno;
    emit_text(fread(text, 1, sizeof text - 1, program) > 0 ? text : "none");
    return pclose(program);
}

static int step(void)
{
    return emit_text("x");
}

static int steps(void)
{
    const char *input;
    int status = -ETIMEDOUT;

    while (status == -ETIMEDOUT) {
        step();
        status = run_input(10, &input);
    }
    return status;
}

static int handle(void *self, const char *input)
{
    static const struct {
        const char *name;
        int (*fn)(void);
    } bugs[] = {{"use", use_freed}, {"leak", lose}, {"race", race},   {"overflow", overflow},
                {"crash", crash},   {"spin", spin}, {"child", child}, {"steps", steps}};

    (void)self;
    agent_sleep(1);
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        if (strstr(input, bugs[i].name))
            sink = bugs[i].fn();
    }
    return 0;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = "buggy", .version = "1.0", .handle = handle)
