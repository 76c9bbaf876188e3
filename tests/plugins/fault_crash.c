/*
 * fault_crash: emits the text "before" and then, four calls deep, does what its input says:
 *
 *     null       writes through a null pointer      call       calls a null pointer
 *     divide     divides by zero                    abort      calls abort()
 *     overflow   has an array larger than a stack   recurse    calls itself without end
 *     raise      sends itself SIGBUS                handler    crashes under a handler of its own
 *     chain      crashes under a handler that restores the former one
 *     exit       calls exit(0)                      _exit      calls _exit(3)
 *     quick_exit calls quick_exit(0)                cancel     calls pthread_exit()
 *     task       has a task that calls pthread_exit(), and joins it
 *     forked     has a child that crashes, and ends well
 *     pipe       writes to a pipe that nobody reads, and ends well
 *     print      prints to standard output, also from a child, and ends well
 *     cut        takes its file's headers away, so that the report of the crash that follows faults
 *     wait       waits until it is cancelled
 *     hold       computes for a while               block      sleeps in the kernel for a while
 *
 * The input is a JSON string. Built in both modes, see mode.h, and with debug information.
 */
#include "mode.h"

#include <sluice/agent.h>

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static int *volatile nowhere;
static int (*volatile no_function)(void);
static volatile int zero;

static int crash_null(void)
{
    *nowhere = 1;
    return 0;
}

static int crash_call(void)
{
    return no_function() + 1;
}

static int crash_divide(void)
{
    return (zero + 7) / zero;
}

static int crash_abort(void)
{
    abort();
}

static NOINLINE int fill(volatile char *bytes, size_t size)
{
    for (size_t at = size; at > 0; at--)
        bytes[at - 1] = (char)at;
    return bytes[0];
}

static NOINLINE int crash_overflow(void)
{
    volatile char large[400 * 1024];

    return fill(large, sizeof large) & zero;
}

static NOINLINE int recurse(unsigned depth)
{
    volatile char here[1024];

    here[zero] = 1;
    return depth ? recurse(depth - 1) + here[zero] : 0;
}

static int crash_recurse(void)
{
    return recurse(~0u);
}

static int crash_raise(void)
{
    return raise(SIGBUS);
}

static void on_own_signal(int number)
{
    static const char said[] = "my own handler\n";
    ssize_t written = write(STDERR_FILENO, said, sizeof said - 1);

    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static int crash_handler(void)
{
    signal(SIGSEGV, on_own_signal);
    *nowhere = 1;
    return 0;
}

static struct sigaction former;

static void on_chained_signal(int number)
{
    sigaction(number, &former, NULL);
}

static int crash_chain(void)
{
    struct sigaction action = {.sa_handler = on_chained_signal, .sa_flags = SA_ONSTACK};

    sigaction(SIGSEGV, &action, &former);
    *nowhere = 1;
    return 0;
}

static int crash_exit(void)
{
    exit(0);
}

static int crash_quick(void)
{
    quick_exit(0);
}

static int crash_hard(void)
{
    _exit(3);
}

static int crash_cancel(void)
{
    pthread_exit(NULL);
}

static int end_thread(void *arg)
{
    pthread_exit(arg);
}

static int join_task(void)
{
    struct agent_task *task = NULL;
    int status = task_spawn(end_thread, NULL, &task);

    return status < 0 ? status : task_join(task);
}

static int fork_crash(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        *nowhere = 1;
    if (child > 0)
        waitpid(child, &status, 0);
    emit_text(WIFSIGNALED(status) ? " and after" : " and what?");
    return 0;
}

static int write_pipe(void)
{
    int ends[2];
    ssize_t written;

    if (pipe(ends) < 0)
        return -EIO;
    close(ends[0]);
    written = write(ends[1], "x", 1);
    close(ends[1]);
    emit_text(written < 0 ? " and after" : " and what?");
    return 0;
}

static int print(void)
{
    printf("printed by the plugin\n");
    return system("echo printed by a child") == 0 ? emit_text(" and after") : -EIO;
}

static int crash_cut(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[4096], *path;

    while (maps && fgets(line, sizeof line, maps)) {
        line[strcspn(line, "\n")] = '\0';
        path = strchr(line, '/');
        if (path && strstr(path, "/whole.so") && strstr(line, " r--p 00000000 ")) {
            uintptr_t start, end;
            if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &start, &end) == 2)
                mprotect((void *)start, end - start, PROT_NONE);
        }
    }
    *nowhere = 1;
    return 0;
}

static int wait_for_end(void)
{
    while (!run_cancelled())
        agent_sleep(1000);
    return -ECANCELED;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int hold(void)
{
    struct timespec start, time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    while ((time.tv_sec - start.tv_sec) * 1000 + (time.tv_nsec - start.tv_nsec) / 1000000 < 400);
    return 0;
}

static int block(void)
{
    double start = now();
    unsigned left = sleep(1);

    return emit_text(left > 0 || now() - start < 0.99 ? " and too early" : " and after");
}

static const struct {
    const char *how;
    int (*crash)(void);
} crashes[] = {
    {"null", crash_null},     {"call", crash_call},         {"divide", crash_divide},
    {"abort", crash_abort},   {"overflow", crash_overflow}, {"recurse", crash_recurse},
    {"raise", crash_raise},   {"handler", crash_handler},   {"chain", crash_chain},
    {"exit", crash_exit},     {"quick_exit", crash_quick},  {"_exit", crash_hard},
    {"cancel", crash_cancel}, {"forked", fork_crash},       {"pipe", write_pipe},
    {"print", print},         {"wait", wait_for_end},       {"hold", hold},
    {"block", block},         {"cut", crash_cut},           {"task", join_task},
};

static NOINLINE int dig_four(size_t which)
{
    return crashes[which].crash() + zero;
}

static NOINLINE int dig_three(size_t which)
{
    return dig_four(which) + zero;
}

static NOINLINE int dig_two(size_t which)
{
    return dig_three(which) + zero;
}

static NOINLINE int dig_one(size_t which)
{
    return dig_two(which) + zero;
}

static int handle(void *self, const char *input)
{
    (void)self;
    emit_text("before");
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) {
        size_t length = strlen(crashes[i].how);
        if (strncmp(input + 1, crashes[i].how, length) == 0 && input[length + 1] == '"')
            return dig_one(i);
    }
    return -EINVAL;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("fault_crash"), .version = "1.0",
             .handle = handle)
