/*
 * A fatal signal may interrupt anything: malloc() with its lock taken, half a frame in the outbox,
 * the report of a crash. So the handler calls nothing that allocates or waits for a lock, and
 * takes steps, each of which is begun once:
 *
 *     1. facts     which signal, which run, whose stack is used up
 *     2. rescue    what was emitted leaves, then a frame that says how it crashed
 *     3. head      the first line of the log
 *     4. frames    the backtrace is taken
 *     5. lines     a child looks their lines up
 *     6. tell      the frames are logged
 *     7. the signal's action is the default again, and it comes again: the instruction is executed
 *        once more, or the signal is raised. So cores and exit statuses are those of the fault.
 *
 * A fault inside a step enters the handler again, on the same thread, and a timer sends the signal
 * again to a step that takes too long: the handler goes on with the next step. So a report ends
 * whatever state the process is in, and what could be said was said.
 *
 * What was emitted is the loop's to send (outbox, link, a terminal). If another thread crashes, the
 * loop is woken to do the rescue and then rests; if it does not come in time, the thread does it.
 * Whoever rescues claims that first, so it is done once. It tries for the scheduler's lock, for a
 * short time: the thread that crashed may hold it. Frames that are not whole do not leave.
 *
 * Of several threads that crash, the first one reports and the others rest until the process ends.
 * A process that the plugin forked inherits the handler, and reports nothing.
 *
 * The handler runs on a stack of its own, where a thread has one: the loop's thread, which executes
 * the fibers, and those of the pool. It stays off wherever a handler is installed already, and a
 * plugin may install its own: sanitizers and language runtimes report better than this.
 *
 * AddressSanitizer and its like tell before they end the process: then what was emitted is rescued,
 * too.
 *
 * exit() is seen by an exit handler, quick_exit() likewise. _exit() has none, so the host
 * defines it: the dynamic linker binds the plugin's calls to this one.
 */
#include "worker/crash.h"

#include "base/jot.h"
#include "base/log.h"
#include "worker/job.h"
#include "worker/trace.h"
#include "worker/vars.h"
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef __has_feature /* clang */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED
#endif

#define ALTERNATE_STACK ((size_t)256 * 1024)

/* How long a step may take, and in it: the loop until it comes, the child that looks up lines. */
#define STEP_S   3
#define LOOP_MS  300
#define LINES_MS 2000

/* Attempts for the scheduler's lock, a millisecond apart. */
#define LOCK_TRIES 50

/* How far below its stack a large frame may reach. */
#define REACH ((uintptr_t)64 * 1024 * 1024)

/* The words are for a signal that the kernel sent for a fault. */
static const struct fatal {
    int number;
    const char *name;
} fatal[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGFPE, "SIGFPE"},   {SIGILL, "SIGILL"},
    {SIGABRT, "SIGABRT"}, {SIGSYS, "SIGSYS"}, {SIGTRAP, "SIGTRAP"},
};

static struct {
    pid_t pid; /* 0: nothing is watched */
    struct worker *worker;
    pthread_t loop_thread;
    uv_async_t helper; /* wakes the loop for the rescue */
    bool leaving;
    atomic_int reporter; /* a thread's id, 0 for none */
    atomic_bool claimed; /* somebody rescues */
    atomic_bool rescued;
} crash;

/* What is reported. */
static struct {
    int step;
    int signal;      /* 0: the plugin called a function */
    siginfo_t *info; /* of the signal */
    ucontext_t *context;
    struct jot text;   /* of the run's message and the first line */
    struct jot advice; /* "" for none */
    char run[64];      /* its id, "" for none */
    uint32_t number;   /* of the run */
    struct trace trace;
} report;

/* Of this thread, if it is prepared. */
static _Thread_local struct {
    uintptr_t low, size;
} stack;

/* ---- 1. facts ---- */

static void note_fault(struct jot *note, const siginfo_t *info)
{
    uintptr_t address = (uintptr_t)info->si_addr;

    if (info->si_code <= 0) {
        jot_text(note,
                 info->si_signo == SIGABRT ? "abort() was called" : "raised by the process itself");
        return;
    }
    switch (info->si_signo) {
    case SIGSEGV:
        jot_text(note, info->si_code == SEGV_ACCERR   ? "access not allowed to address "
                       : info->si_code == SEGV_MAPERR ? "invalid address "
                                                      : "impossible address, shown as ");
        jot_hex(note, address);
        break;
    case SIGBUS:
        jot_text(note, info->si_code == BUS_ADRALN ? "misaligned address "
                                                   : "nothing is behind address ");
        jot_hex(note, address);
        break;
    case SIGFPE:
        jot_text(note,
                 info->si_code == FPE_INTDIV ? "integer division by zero" : "arithmetic error");
        break;
    case SIGILL:
        jot_text(note, "invalid instruction at ");
        jot_hex(note, address);
        break;
    case SIGSYS:
        jot_text(note, "forbidden system call ");
        jot_number(note, info->si_syscall);
        break;
    default:
        jot_text(note, "trap");
    }
}

/* Note how to cure a stack that is used up; return false if none is. */
static bool note_overflow(uintptr_t address, uintptr_t stack_pointer)
{
    size_t size = crash.worker ? worker_overflow(crash.worker, address, stack_pointer) : 0;
    struct jot *note = &report.advice;

    if (size > 0) {
        jot_text(note, "  the address is in the guard page of a fiber's stack: raise plugin.");
        jot_text(note, worker_plugin(crash.worker)->name);
        jot_text(note, ".stack above ");
        jot_number(note, (int64_t)size / 1024);
        jot_text(note, "K, or put large arrays on the heap");
        return true;
    }
    if (stack.low == 0 || ((address >= stack.low || address < stack.low - REACH / 64) &&
                           (stack_pointer >= stack.low || stack_pointer < stack.low - REACH)))
        return false;
    jot_text(note, "  the address is below a thread's stack of ");
    jot_number(note, (int64_t)stack.size / 1024);
    jot_text(note, "K: raise the limit of the stack (ulimit -s, LimitSTACK=), or put large arrays "
                   "on the heap");
    return true;
}

static const char *signal_name(int number)
{
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) {
        if (fatal[i].number == number)
            return fatal[i].name;
    }
    return "a signal";
}

static void find_run(void)
{
    const struct task *task = task_current();
    const char *id = task ? vars_find(job_vars(task->job), "run.id") : NULL;

    if (id == NULL)
        return;
    report.number = job_number(task->job);
    strncpy(report.run, id, sizeof report.run - 1);
}

static void step_facts(void)
{
    struct jot *text = &report.text;

    if (report.signal != 0 && report.info->si_code <= 0 && report.info->si_pid != crash.pid) {
        jot_text(text, "process ");
        jot_number(text, report.info->si_pid);
        jot_text(text, " sent ");
        jot_text(text, signal_name(report.signal));
        return;
    }
    find_run();
    if (report.signal == 0)
        return;
    jot_text(text, *report.run ? "the agent crashed: " : "the plugin crashed outside of a run: ");
    jot_text(text, signal_name(report.signal));
    jot_text(text, " (");
    if (report.info->si_code > 0 && (report.signal == SIGSEGV || report.signal == SIGBUS) &&
        note_overflow((uintptr_t)report.info->si_addr, trace_sp(report.context)))
        jot_text(text, "the stack is used up");
    else
        note_fault(text, report.info);
    jot_text(text, ")");
}

/* ---- 2. rescue ---- */

static void rest_ms(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static void rescue_here(void)
{
    const struct worker_crash facts = {
        .text = report.text.text, .has_run = *report.run, .run = report.number};
    int tries = LOCK_TRIES;

    if (atomic_exchange(&crash.claimed, true))
        return;
    while (tries-- > 0 && !worker_try_lock(crash.worker))
        rest_ms(1);
    worker_rescue(crash.worker, &facts);
    atomic_store(&crash.rescued, true);
}

/* On the loop, which has nothing else to do from now on. */
static void on_helper(uv_async_t *async)
{
    (void)async;
    rescue_here();
    for (;;)
        pause();
}

static void step_rescue(void)
{
    if (crash.worker == NULL)
        return;
    if (pthread_equal(pthread_self(), crash.loop_thread)) {
        rescue_here();
        return;
    }
    uv_async_send(&crash.helper);
    for (int ms = 0; ms < LOOP_MS && !atomic_load(&crash.rescued); ms++)
        rest_ms(1);
    rescue_here();
    for (int ms = 0; ms < LOOP_MS && !atomic_load(&crash.rescued); ms++)
        rest_ms(1);
}

/* ---- 3. to 6. ---- */

static const char *run_or_null(void)
{
    return *report.run ? report.run : NULL;
}

static void step_head(void)
{
    log_tell_now(LOG_PLUGIN, report.text.text, report.text.length, run_or_null());
    if (report.advice.length > 0)
        log_tell_now(LOG_PLUGIN, report.advice.text, report.advice.length, run_or_null());
}

static void step_frames(void)
{
    trace_take(&report.trace, report.context);
}

static void step_lines(void)
{
    trace_find_lines(&report.trace, LINES_MS);
}

static void step_tell(void)
{
    trace_tell(&report.trace, LOG_PLUGIN, run_or_null());
}

static void (*const steps[])(void) = {step_facts,  step_rescue, step_head,
                                      step_frames, step_lines,  step_tell};

/* Have the signal sent again to this thread if it is in the same step then; 0: no longer. The
 * system call, as timer_create(3) may allocate. */
static void limit_step(int signal, time_t seconds)
{
    static bool is_made;
    static int timer; /* the kernel's */
    struct itimerspec time = {.it_value = {.tv_sec = seconds}};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};

    event._sigev_un._tid = gettid();
    if (!is_made)
        is_made = syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0;
    if (is_made)
        syscall(SYS_timer_settime, timer, 0, &time, NULL);
}

/* Take the steps that are left. */
static void report_all(int signal)
{
    while (report.step < (int)(sizeof steps / sizeof *steps)) {
        limit_step(signal, STEP_S);
        steps[report.step++]();
    }
    limit_step(signal, 0);
}

/* ---- signals ---- */

/* Return true if this thread is the one that reports, or the first one to do so. */
static bool is_reporter(bool *is_first)
{
    int found = 0;

    *is_first = atomic_compare_exchange_strong(&crash.reporter, &found, gettid());
    return *is_first || found == gettid();
}

/* 7. The signal takes its course when the handler returns, or here. */
static void let_go(int number, bool comes_again)
{
    signal(number, SIG_DFL);
    if (!comes_again)
        syscall(SYS_tgkill, getpid(), gettid(), number);
}

/* Return true if the instruction faults again when it is executed again. */
static bool faults_again(const siginfo_t *info)
{
    return info->si_code > 0 && (info->si_signo == SIGSEGV || info->si_signo == SIGBUS ||
                                 info->si_signo == SIGFPE || info->si_signo == SIGILL);
}

static void on_fatal(int number, siginfo_t *info, void *context)
{
    bool is_first;

    if (getpid() != crash.pid) {
        let_go(number, faults_again(info));
        return;
    }
    while (!is_reporter(&is_first))
        pause();
    if (is_first) {
        report.signal = number;
        report.info = info;
        report.context = context;
    }
    /* A step that failed, or took too long, is over. */
    report_all(report.signal ? report.signal : number);
    let_go(report.signal ? report.signal : number, is_first && faults_again(info));
}

/* ---- calls ---- */

static _Noreturn void end_process(int status)
{
    for (;;)
        syscall(SYS_exit_group, status);
}

static bool is_plugins_exit(void)
{
    return crash.pid == getpid() && !crash.leaving;
}

void crash_exit(const char *call)
{
    bool is_first;

    while (!is_reporter(&is_first))
        pause();
    if (is_first) {
        jot_text(&report.text, "the plugin called ");
        jot_text(&report.text, call);
        report_all(SIGABRT);
    }
    end_process(1);
}

void crash_on_pthread_exit(void *unused)
{
    (void)unused;
    crash_exit("pthread_exit()");
}

static _Noreturn void exit_with(const char *function, int status)
{
    struct jot call = {.length = 0};

    jot_text(&call, function);
    jot_text(&call, "(");
    jot_number(&call, status);
    jot_text(&call, ")");
    crash_exit(call.text);
}

static void on_process_exit(int status, void *unused)
{
    (void)unused;
    if (is_plugins_exit())
        exit_with("exit", status);
}

static void on_quick_exit(void)
{
    if (is_plugins_exit())
        crash_exit("quick_exit()");
}

/* A sanitizer, compiled in or preloaded, ends the process after its report. */
static void on_sanitizer_death(void)
{
    bool is_first;

    if (!is_plugins_exit() || !is_reporter(&is_first) || !is_first)
        return;
    jot_text(&report.text, "a sanitizer ended the process; the log has its report");
    step_facts();
    step_rescue();
    step_head();
}

/* Of the sanitizers' runtime; NULL without it. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

#ifndef IS_SANITIZED
__attribute__((visibility("default"))) void _exit(int status)
{
    if (is_plugins_exit())
        exit_with("_exit", status);
    end_process(status);
}

__attribute__((visibility("default"))) void _Exit(int status)
{
    _exit(status);
}
#endif

/* ---- set-up ---- */

static pthread_key_t alternate_stack;

static void unmap_stack(void *mapping)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    sigaltstack(&none, NULL);
    munmap(mapping, ALTERNATE_STACK);
}

/* Note where this thread's stack is. */
static void find_stack(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
        stack.low = (uintptr_t)low;
        stack.size = size;
    }
    pthread_attr_destroy(&attributes);
}

void crash_prepare_thread(void)
{
    stack_t found, own = {.ss_size = ALTERNATE_STACK};

    if (crash.pid == 0)
        return;
    find_stack();
    if (sigaltstack(NULL, &found) < 0 || !(found.ss_flags & SS_DISABLE))
        return;
    own.ss_sp = mmap(NULL, own.ss_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (own.ss_sp == MAP_FAILED)
        return;
    sigaltstack(&own, NULL);
    pthread_setspecific(alternate_stack, own.ss_sp);
}

/* Install the handler, unless there is one. */
static void handle_signal(int number)
{
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    struct sigaction found;

    if (sigaction(number, NULL, &found) == 0 && found.sa_handler == SIG_DFL)
        sigaction(number, &action, NULL);
}

void crash_watch(uv_loop_t *loop, struct worker *worker, const char *path, const char *file)
{
    if (uv_async_init(loop, &crash.helper, on_helper) < 0)
        return;
    uv_unref((uv_handle_t *)&crash.helper);
    trace_open(path, file);
    pthread_key_create(&alternate_stack, unmap_stack);
    crash.loop_thread = pthread_self();
    crash.worker = worker;
    crash.pid = getpid();
    crash_prepare_thread();
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        handle_signal(fatal[i].number);
    on_exit(on_process_exit, NULL);
    at_quick_exit(on_quick_exit);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_sanitizer_death);
}

void crash_leave(void)
{
    if (crash.pid == 0 || crash.leaving)
        return;
    crash.leaving = true;
    crash.worker = NULL;
    uv_close((uv_handle_t *)&crash.helper, NULL);
}
