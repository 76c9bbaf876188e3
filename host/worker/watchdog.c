/*
 * The watchdog is a thread, which looks every PERIOD_MS at the number of the fiber's turn that
 * executes (fiber_pool_turn()): fibers pay nothing for it. A turn that is seen again has held the
 * loop meanwhile
 *
 *     while it computed, for as long as its thread used the CPU: a machine with too much to do
 *     holds no loop, and neither does a debugger;
 *     while it was blocked in a system call, for the time from one look to the next.
 *
 * The backtrace is taken by the thread that holds the loop, in a signal handler. A signal ends a
 * system call that waits, such as that of sleep(3), with EINTR, and the agent would behave
 * otherwise than without a watchdog. So the handler starts that call again: /proc tells which it
 * is. Where /proc does not, a fiber that is blocked gets no signal, and its line no backtrace.
 * Under a debugger, which would stop at the signal, nothing is told.
 */
#include "worker/watchdog.h"

#include "base/mem.h"
#include "base/time.h"
#include "worker/fibers/fiber.h"
#include "worker/job.h"
#include "worker/trace.h"
#include "worker/vars.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 25
#define PAUSE_MS  1000

/* How long the thread may take to answer the signal, and a child to look up lines. */
#define ANSWER_MS 500
#define LINES_MS  2000

/* The kernel's realtime signals are nobody's; the C library takes the first ones. */
#define ASK_SIGNAL (SIGRTMIN + 7)

/* A system call that waits, as /proc tells. */
struct call {
    long number; /* -1: none, or not known */
    unsigned long first;
    uintptr_t pc; /* after it */
};

enum activity { COMPUTES, BLOCKED, UNKNOWN };

struct watchdog {
    const struct fiber_pool *fibers;
    enum log_level level;
    pthread_t thread, loop_thread;
    pid_t loop_id;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping; /* guarded by the lock */
    /* of the turn that was seen last */
    uint64_t turn, held_ns, looked_at, cpu_ns;
    bool told;
    uint64_t told_at;
    /* what the loop's thread is asked, and answers */
    struct call call;
    atomic_bool asked, answered;
    char run[64];
    struct trace trace;
};

static struct watchdog *the_watchdog;

/* ---- on the loop's thread, in the handler ---- */

/* If the signal has ended this system call, start it again. */
static void restart(const struct call *call, ucontext_t *context)
{
    if (call->number < 0 || trace_pc(context) != call->pc)
        return;
#if defined(__x86_64__)
    greg_t *registers = context->uc_mcontext.gregs;

    if (registers[REG_RAX] == -EINTR && memcmp((const void *)(call->pc - 2), "\x0f\x05", 2) == 0) {
        registers[REG_RAX] = call->number;
        registers[REG_RIP] -= 2;
    }
#elif defined(__aarch64__)
    if ((long)context->uc_mcontext.regs[0] == -EINTR) {
        context->uc_mcontext.regs[0] = call->first;
        context->uc_mcontext.pc -= 4;
    }
#endif
}

static void on_ask(int number, siginfo_t *info, void *data)
{
    struct watchdog *watchdog = the_watchdog;
    const struct task *task = task_current();
    const char *run = task ? vars_find(job_vars(task->job), "run.id") : NULL;
    int saved = errno;

    (void)number;
    (void)info;
    if (watchdog == NULL || !atomic_exchange(&watchdog->asked, false))
        return;
    watchdog->run[0] = '\0';
    watchdog->trace.count = 0;
    if (fiber_pool_turn(watchdog->fibers) == watchdog->turn) {
        if (run)
            strncpy(watchdog->run, run, sizeof watchdog->run - 1);
        trace_take(&watchdog->trace, data);
    }
    restart(&watchdog->call, data);
    atomic_store(&watchdog->answered, true);
    errno = saved;
}

/* ---- the thread ---- */

/* Read the start of the file as a string; return its length. */
static size_t read_proc(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, text, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
}

static size_t read_task(const struct watchdog *watchdog, const char *name, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/task/%d/%s", watchdog->loop_id, name);
    return read_proc(path, text, size);
}

/* Look what the loop's thread does; if it is blocked, in which call. */
static enum activity look(const struct watchdog *watchdog, struct call *call)
{
    char text[512];
    const char *state;
    unsigned long pc;

    call->number = -1;
    if (read_task(watchdog, "syscall", text, sizeof text) > 0) {
        if (strncmp(text, "running", 7) == 0)
            return COMPUTES;
        if (sscanf(text, "%ld %lx %*x %*x %*x %*x %*x %*x %lx", &call->number, &call->first, &pc) ==
            3)
            call->pc = pc;
        else
            call->number = -1;
        return call->number >= 0 ? BLOCKED : UNKNOWN;
    }
    if (read_task(watchdog, "stat", text, sizeof text) == 0 || (state = strrchr(text, ')')) == NULL)
        return UNKNOWN;
    return state[2] == 'R' ? COMPUTES : state[2] == 'S' || state[2] == 'D' ? BLOCKED : UNKNOWN;
}

/* Return true under a debugger, which would stop at the signal. */
static bool is_traced(void)
{
    static const char key[] = "TracerPid:\t";
    char text[1024];
    const char *tracer;

    read_proc("/proc/self/status", text, sizeof text);
    tracer = strstr(text, key);
    return tracer && tracer[strlen(key)] != '0';
}

static uint64_t cpu_of(pthread_t thread)
{
    struct timespec time = {.tv_sec = 0};
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) == 0)
        clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * CLOCK_S + (uint64_t)time.tv_nsec;
}

/* Ask the loop's thread where it is; return false if it does not say so. */
static bool ask(struct watchdog *watchdog, const struct call *call)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    watchdog->call = *call;
    atomic_store(&watchdog->answered, false);
    atomic_store(&watchdog->asked, true);
    syscall(SYS_tgkill, getpid(), watchdog->loop_id, ASK_SIGNAL);
    for (int ms = 0; ms < ANSWER_MS && !atomic_load(&watchdog->answered); ms++)
        nanosleep(&pause, NULL);
    /* An answer that comes late is none: the trace is not being written when this returns. */
    return !atomic_exchange(&watchdog->asked, false) && atomic_load(&watchdog->answered);
}

static void tell(struct watchdog *watchdog, enum activity activity, const struct call *call)
{
    static const char computes[] =
        "a fiber holds the loop for more than 100 ms: it computes, and no "
        "other run goes on; see AGENT_THREAD";
    static const char blocks[] = "a fiber holds the loop for more than 100 ms: it is blocked in a "
                                 "system call, and no other run goes on; see AGENT_THREAD";
    const char *text = activity == BLOCKED ? blocks : computes;
    bool may_ask = activity == COMPUTES || call->number >= 0;
    bool has_trace = may_ask && ask(watchdog, call) && watchdog->trace.count > 0;

    if (may_ask && !has_trace)
        return; /* it went on meanwhile */
    log_tell_now(watchdog->level, text, strlen(text), has_trace ? watchdog->run : NULL);
    if (!has_trace)
        return;
    trace_find_lines(&watchdog->trace, LINES_MS);
    trace_tell(&watchdog->trace, watchdog->level, watchdog->run);
}

/* Compare what is seen with what was. */
static void watch(struct watchdog *watchdog)
{
    uint64_t turn = fiber_pool_turn(watchdog->fibers), now = clock_now();
    uint64_t passed = now - watchdog->looked_at, cpu = cpu_of(watchdog->loop_thread);
    uint64_t used = cpu - watchdog->cpu_ns;
    enum activity activity;
    struct call call;

    watchdog->looked_at = now;
    watchdog->cpu_ns = cpu;
    if (turn == 0 || turn != watchdog->turn) {
        watchdog->turn = turn;
        watchdog->held_ns = 0;
        watchdog->told = false;
        return;
    }
    if (watchdog->told)
        return;
    activity = look(watchdog, &call);
    if (activity == BLOCKED && passed > used) /* this thread may have been late, or stopped */
        used = passed < 2 * PERIOD_MS * CLOCK_MS ? passed : 2 * PERIOD_MS * CLOCK_MS;
    watchdog->held_ns += used;
    if (activity == UNKNOWN || watchdog->held_ns < WATCHDOG_MS * CLOCK_MS)
        return;
    watchdog->told = true;
    if ((watchdog->told_at != 0 && now - watchdog->told_at < PAUSE_MS * CLOCK_MS) || is_traced())
        return;
    watchdog->told_at = now;
    tell(watchdog, activity, &call);
}

static void *watchdog_main(void *data)
{
    struct watchdog *watchdog = data;

    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping) {
        uint64_t at = clock_now() + PERIOD_MS * CLOCK_MS;
        struct timespec until = {.tv_sec = (time_t)(at / CLOCK_S), .tv_nsec = (long)(at % CLOCK_S)};
        pthread_cond_timedwait(&watchdog->changed, &watchdog->lock, &until);
        pthread_mutex_unlock(&watchdog->lock);
        watch(watchdog);
        pthread_mutex_lock(&watchdog->lock);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

/* ---- life ---- */

/* Take the signal, unless it is somebody's. */
static bool take_signal(void)
{
    struct sigaction action = {.sa_sigaction = on_ask,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    struct sigaction found;

    return sigaction(ASK_SIGNAL, NULL, &found) == 0 &&
           (found.sa_handler == SIG_DFL || found.sa_sigaction == on_ask) &&
           sigaction(ASK_SIGNAL, &action, NULL) == 0;
}

static int start_thread(struct watchdog *watchdog)
{
    sigset_t all, before;
    int status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = pthread_create(&watchdog->thread, NULL, watchdog_main, watchdog);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

struct watchdog *watchdog_start(const struct fiber_pool *fibers, enum log_level level)
{
    struct watchdog *watchdog;
    pthread_condattr_t monotonic;

    if (!take_signal())
        return NULL;
    watchdog = mem_alloc(sizeof *watchdog);
    watchdog->fibers = fibers;
    watchdog->level = level;
    watchdog->loop_thread = pthread_self();
    watchdog->loop_id = gettid();
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    the_watchdog = watchdog;
    if (start_thread(watchdog) == 0)
        return watchdog;
    the_watchdog = NULL;
    pthread_cond_destroy(&watchdog->changed);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
    return NULL;
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (watchdog == NULL)
        return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->stopping = true;
    pthread_cond_signal(&watchdog->changed);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    the_watchdog = NULL;
    pthread_cond_destroy(&watchdog->changed);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}
