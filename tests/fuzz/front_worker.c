/*
 * Defines spawn_worker() and child_kill() in place of host/fleet/spawn.c, and is linked with
 * --wrap for the calls that say what may end a run, and where runs start.
 */
#include "front_worker.h"

#include "fleet/process.h"
#include "fleet/spawn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than a pid may have, so that nobody is found under /proc. */
#define FIRST_PID 0x10000000

#define RUNS_MAX 64

/* Questions that an agent asks in all. */
#define QUESTIONS_MAX 64

/* Longest time from the end of a drain to the death of a worker that does not obey. */
#define LEAVE_MS 6000

/* Longest time that an agent has to stop after its run was ended. */
#define GRACE_MS 10000

struct agent_run {
    bool live, ended;
    bool cancelled;
    bool deaf; /* to that */
    uint64_t credit;
    uint32_t inputs;
    uint32_t asked;    /* the newest question */
    uint64_t open;     /* questions whose tasks wait; bits by their numbers */
    uint64_t answered; /* questions that got an answer */
    struct truth *truth;
};

struct worker {
    struct worker *next;
    struct child *child; /* gone once it is reaped */
    int pid, fd;
    bool dead, reaped, hostile, quitting;
    uint64_t leave_ms; /* when it must be dead; 0: never */
    bool drains;
    uint64_t over_ms; /* since when it drains and all its runs are over; 0: they are not */
    unsigned pings;
    size_t limit;
    struct buf in, out;
    struct agent_run runs[RUNS_MAX]; /* by number */
};

static struct worker *workers;
static int last_pid = FIRST_PID;
static bool spawn_fails;

void __wrap_process_drain(struct process *process, uint64_t timeout_ms);
void __real_process_drain(struct process *process, uint64_t timeout_ms);
void __wrap_process_quit(struct process *process, uint64_t timeout_ms);
void __real_process_quit(struct process *process, uint64_t timeout_ms);
void __wrap_run_start(struct run *run, const struct run_agent *agent,
                      const struct executor *executor, void *data, uint32_t number);
void __real_run_start(struct run *run, const struct run_agent *agent,
                      const struct executor *executor, void *data, uint32_t number);

static struct worker *worker_of(int pid)
{
    struct worker *worker = workers;

    while (worker && worker->pid != pid)
        worker = worker->next;
    return worker;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / CLOCK_MS;
}

/* Its runs may fail from now on, as they do when it dies; or end in any way. */
static void worker_excuse(struct worker *worker, bool all)
{
    for (uint32_t n = 0; n < RUNS_MAX; n++) {
        struct truth *truth = worker->runs[n].truth;

        if (truth == NULL)
            continue;
        /* What an honest worker sent before it died counts. */
        if (!worker->runs[n].ended || buf_length(&worker->out) > 0 || worker->hostile)
            truth->may_fail = true;
        if (all)
            truth->may_finish = truth->may_cancel = true;
    }
}

/* Its runs may be cancelled from now on, and fail if their agents go on. */
static void worker_excuse_leaving(struct worker *worker)
{
    worker_excuse(worker, false);
    for (uint32_t n = 0; n < RUNS_MAX; n++) {
        if (worker->runs[n].truth)
            worker->runs[n].truth->may_cancel = true;
    }
}

/* ---- as the front calls them ---- */

int spawn_worker(uv_loop_t *loop, struct child *child, const struct spawn_settings *settings,
                 struct spawn_ends *ends)
{
    struct worker *worker;
    int pair[2];

    (void)settings;
    uv_signal_init(loop, &child->exits);
    if (spawn_fails) {
        spawn_fails = false;
        return -EAGAIN;
    }
    LAW(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0,
        "descriptors leak");
    worker = calloc(1, sizeof *worker);
    child->pid = worker->pid = ++last_pid;
    worker->child = child;
    worker->fd = pair[1];
    worker->limit = SIZE_MAX;
    worker->next = workers;
    workers = worker;
    *ends = (struct spawn_ends){.link = pair[0], .out = -1, .log = -1};
    return 0;
}

void child_kill(const struct child *child)
{
    struct worker *worker = worker_of(child->pid);

    LAW(worker && !worker->reaped, "a process is killed that is not there");
    worker_excuse(worker, false);
    worker->dead = true;
}

/* It must leave after this time. */
static void worker_expect_end(struct worker *worker, uint64_t timeout_ms)
{
    uint64_t leave_ms = now_ms() + timeout_ms + LEAVE_MS;

    worker_excuse_leaving(worker);
    if (worker->leave_ms == 0 || worker->leave_ms > leave_ms)
        worker->leave_ms = leave_ms;
}

void __wrap_process_drain(struct process *process, uint64_t timeout_ms)
{
    struct worker *worker = worker_of(process_pid(process));

    worker->drains = true;
    if (timeout_ms != NEVER) {
        worker_expect_end(worker, timeout_ms);
        for (uint32_t n = 0; n < RUNS_MAX; n++) {
            struct truth *truth = worker->runs[n].truth;
            if (truth && (truth->drain_ms == 0 || truth->drain_ms > now_ms() + timeout_ms))
                truth->drain_ms = now_ms() + timeout_ms;
        }
    }
    __real_process_drain(process, timeout_ms);
}

void __wrap_process_quit(struct process *process, uint64_t timeout_ms)
{
    worker_expect_end(worker_of(process_pid(process)), timeout_ms);
    __real_process_quit(process, timeout_ms);
}

void __wrap_run_start(struct run *run, const struct run_agent *agent,
                      const struct executor *executor, void *data, uint32_t number)
{
    struct worker *worker = worker_of(process_pid(data));
    struct truth *truth = truth_of(run_log(run));

    LAW(worker && !worker->reaped, "a run is started on a worker that is reaped");
    LAW(!truth->started, "a run is started twice");
    truth->started = true;
    truth->may_fail |= worker->dead || worker->hostile || worker->fd < 0;
    truth->may_finish |= worker->hostile;
    truth->may_cancel |= worker->hostile;
    LAW(number < RUNS_MAX && (!worker->runs[number].live || worker->hostile),
        "a run's number is another's");
    worker->runs[number].truth = truth;
    worker->runs[number].ended = false;
    __real_run_start(run, agent, executor, data, number);
}

/* ---- sending ---- */

static void worker_flush(struct worker *worker)
{
    size_t length = buf_length(&worker->out);
    ssize_t sent;

    if (length > worker->limit)
        length = worker->limit;
    worker->limit = SIZE_MAX;
    if (worker->fd < 0 || worker->dead || length == 0)
        return;
    sent = send(worker->fd, buf_data(&worker->out), length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        buf_consume(&worker->out, (size_t)sent);
}

static void put(struct worker *worker, enum wire_type type, uint32_t run, const void *data,
                size_t length)
{
    if (!worker->dead)
        wire_append(&worker->out, type, run, data, length);
}

void worker_send(struct worker *worker, const void *bytes, size_t length)
{
    worker_excuse(worker, true);
    worker->hostile = true;
    if (!worker->dead)
        buf_append(&worker->out, bytes, length);
    worker_flush(worker);
}

void worker_limit(struct worker *worker, size_t bytes)
{
    worker->limit = bytes;
}

/* ---- agents ---- */

static struct agent_run *find_run(struct worker *worker, unsigned which, uint32_t *number)
{
    for (uint32_t n = 0; n < RUNS_MAX; n++) {
        *number = (n + which) % RUNS_MAX;
        if (worker->runs[*number].live)
            return &worker->runs[*number];
    }
    return NULL;
}

void worker_emit(struct worker *worker, unsigned which, const char *type, const char *json,
                 size_t length)
{
    uint32_t number;
    struct agent_run *run = find_run(worker, which, &number);
    size_t charge = wire_charge(strlen(type), length);

    if (run == NULL || run->credit < charge || worker->dead)
        return;
    run->credit -= charge;
    memcpy(wire_write_event(&worker->out, number, type, strlen(type), length), json, length);
    wire_append_written(&worker->out, strlen(type), length);
    worker_flush(worker);
}

void worker_ask(struct worker *worker, unsigned which)
{
    uint32_t number;
    struct agent_run *run = find_run(worker, which, &number);
    char json[64];
    size_t length;

    if (run == NULL || run->asked == QUESTIONS_MAX ||
        __builtin_popcountll(run->open) == WIRE_QUESTIONS_MAX)
        return;
    length = (size_t)snprintf(json, sizeof json, "{\"id\":\"q%u\",\"message\":\"May I?\"}",
                              (unsigned)run->asked + 1);
    if (worker->dead || run->credit < wire_charge(strlen(WIRE_ASK), length))
        return;
    run->open |= UINT64_C(1) << run->asked++;
    worker_emit(worker, which, WIRE_ASK, json, length);
}

void worker_give_up(struct worker *worker, unsigned which)
{
    uint32_t number, question = 0;
    struct agent_run *run = find_run(worker, which, &number);

    if (run == NULL || run->open == 0)
        return;
    while (!(run->open >> question & 1))
        question++;
    run->open &= ~(UINT64_C(1) << question++);
    put(worker, WIRE_CLOSED, number, &question, sizeof question);
    worker_flush(worker);
}

static void end_run(struct worker *worker, uint32_t number, enum wire_status status)
{
    struct agent_run *run = &worker->runs[number];
    struct wire_end end = {.status = status,
                           .code = status == WIRE_FAILED ? "oops" : "",
                           .message = status == WIRE_FAILED ? "it \"broke\"" : "",
                           .result = status == WIRE_FINISHED && number % 2 ? "{\"n\":1}" : ""};

    if (worker->dead)
        return;
    run->live = false;
    run->ended = true;
    run->truth->may_finish |= status == WIRE_FINISHED;
    run->truth->may_fail |= status == WIRE_FAILED;
    run->truth->may_cancel |= status == WIRE_CANCELLED;
    wire_append_end(&worker->out, number, &end);
}

void worker_end(struct worker *worker, unsigned which, enum wire_status status)
{
    uint32_t number;

    if (find_run(worker, which, &number))
        end_run(worker, number, status);
    worker_flush(worker);
}

void worker_deafen(struct worker *worker, unsigned which)
{
    uint32_t number;
    struct agent_run *run = find_run(worker, which, &number);

    if (run)
        run->deaf = true;
}

void worker_wait(struct worker *worker, unsigned which, uint32_t tasks)
{
    uint32_t number, counts[2];
    struct agent_run *run = find_run(worker, which, &number);

    if (run == NULL)
        return;
    counts[0] = run->inputs;
    counts[1] = tasks;
    put(worker, WIRE_WAITING, number, counts, sizeof counts);
    worker_flush(worker);
}

void worker_hold(struct worker *worker, unsigned which, uint32_t tasks)
{
    uint32_t number;

    if (find_run(worker, which, &number) == NULL)
        return;
    put(worker, WIRE_HELD, number, &tasks, sizeof tasks);
    worker_flush(worker);
}

/* ---- what the front sends ---- */

/* The task that has asked goes on, unless it had given up before. */
static void take_answer(struct worker *worker, uint32_t number, uint32_t question)
{
    struct agent_run *run = &worker->runs[number % RUNS_MAX];
    uint64_t bit = UINT64_C(1) << (question - 1);

    LAW(worker->hostile || (question <= run->asked && !(run->answered & bit)),
        "an answer has no question");
    if (run->live && run->open & bit)
        put(worker, WIRE_CLOSED, number, &question, sizeof question);
    run->answered |= bit;
    run->open &= ~bit;
}

static void answer(struct worker *worker, const struct wire_frame *frame)
{
    static const char hello[] =
        "{\"name\":\"agent\",\"version\":\"1\",\"description\":\"\",\"mode\":\"fiber\"}";
    uint64_t pong[3] = {0, 0};
    uint32_t credit, question;
    struct agent_run *run = &worker->runs[frame->run % RUNS_MAX];

    switch ((int)frame->type) {
    case WIRE_OPEN:
        put(worker, WIRE_HELLO, 0, hello, strlen(hello));
        break;
    case WIRE_CREATE:
        put(worker, WIRE_READY, 0, NULL, 0);
        break;
    case WIRE_START:
        LAW((!run->live || worker->hostile) && run->truth, "a START has another run's number");
        *run = (struct agent_run){.live = true, .credit = WIRE_WINDOW, .truth = run->truth};
        break;
    case WIRE_CANCEL:
        run->cancelled = true;
        break;
    case WIRE_CREDIT:
        memcpy(&credit, frame->data, sizeof credit);
        run->credit += credit;
        LAW(run->credit <= WIRE_WINDOW || worker->hostile, "a run gets too much credit");
        break;
    case WIRE_INPUT:
        memcpy(&question, frame->data, sizeof question);
        run->inputs += question == 0;
        if (question > 0)
            take_answer(worker, frame->run, question);
        break;
    case WIRE_SAVE:
        put(worker, WIRE_STATE, 0, "{}", 2);
        break;
    case WIRE_PING:
        put(worker, WIRE_PONG, 0, pong, sizeof pong);
        break;
    default:
        LAW(frame->type == WIRE_QUIT, "the front sends an unknown frame");
        worker->quitting = true;
    }
}

static void worker_receive(struct worker *worker)
{
    struct wire_frame frame;
    ssize_t size;

    while (worker->fd >= 0) {
        ssize_t got = recv(worker->fd, buf_reserve(&worker->in, 65536), 65536, MSG_DONTWAIT);

        if (got <= 0)
            break;
        buf_commit(&worker->in, (size_t)got);
    }
    while ((size = wire_next(&worker->in, WIRE_FRONT, &frame)) > 0) {
        answer(worker, &frame);
        buf_consume(&worker->in, (size_t)size);
    }
    LAW(size == 0, "the front sends what is no frame");
}

static void serve(struct worker *worker, bool finish)
{
    if (worker->dead)
        return;
    worker_receive(worker);
    for (uint32_t n = 0; n < RUNS_MAX; n++) {
        struct agent_run *run = &worker->runs[n];

        if (run->live && !run->deaf && (run->cancelled || worker->quitting))
            end_run(worker, n, WIRE_CANCELLED);
        else if (run->live && finish)
            end_run(worker, n, WIRE_FINISHED);
    }
    worker_flush(worker);
    if (worker->quitting && (buf_length(&worker->out) == 0 || worker->fd < 0)) {
        worker_die(worker, false);
        worker_reap(worker, 0);
    }
}

void worker_serve(struct worker *worker)
{
    serve(worker, false);
}

void worker_finish(struct worker *worker)
{
    serve(worker, true);
}

void worker_check_credit(const struct worker *worker)
{
    for (uint32_t n = 0; n < RUNS_MAX; n++)
        LAW(!worker->runs[n].live || worker->hostile || worker->dead || worker->fd < 0 ||
                worker->runs[n].credit >= WIRE_WINDOW / 2,
            "an agent has no credit though all is read");
}

/* ---- life ---- */

unsigned workers_count(void)
{
    unsigned count = 0;

    for (const struct worker *worker = workers; worker; worker = worker->next)
        count += !worker->reaped;
    return count;
}

struct worker *worker_at(unsigned index)
{
    struct worker *worker = workers;
    unsigned count = workers_count();

    if (count == 0)
        return NULL;
    for (index %= count; worker->reaped || index-- > 0;)
        worker = worker->next;
    return worker;
}

void workers_excuse_front(uint64_t ms)
{
    for (struct worker *worker = workers; worker; worker = worker->next) {
        worker->leave_ms += worker->leave_ms > 0 ? ms : 0;
        worker->over_ms += worker->over_ms > 0 ? ms : 0;
    }
}

static bool runs_are_over(const struct worker *worker)
{
    for (uint32_t n = 0; n < RUNS_MAX; n++) {
        if (worker->runs[n].truth && !worker->runs[n].truth->done)
            return false;
    }
    return true;
}

void workers_check(void)
{
    for (struct worker *worker = workers; worker; worker = worker->next) {
        LAW(worker->dead || worker->leave_ms == 0 || now_ms() < worker->leave_ms,
            "a worker that must leave is there for ever");
        if (!worker->drains || !runs_are_over(worker))
            worker->over_ms = 0;
        else if (worker->over_ms == 0)
            worker->over_ms = now_ms();
        LAW(worker->dead || worker->over_ms == 0 ||
                now_ms() < worker->over_ms + GRACE_MS + LEAVE_MS,
            "a worker that drains is there without runs");
    }
}

void worker_close(struct worker *worker)
{
    worker_excuse(worker, false);
    if (worker->fd >= 0)
        close(worker->fd);
    worker->fd = -1;
}

void worker_die(struct worker *worker, bool keeps_socket)
{
    worker_excuse(worker, false);
    worker->dead = true;
    if (!keeps_socket)
        worker_close(worker);
}

bool worker_is_dead(const struct worker *worker)
{
    return worker->dead;
}

bool worker_is_hostile(const struct worker *worker)
{
    return worker->hostile;
}

void worker_reap(struct worker *worker, int status)
{
    worker_excuse(worker, false);
    worker->dead = worker->reaped = worker->child->is_reaped = true;
    worker->child->exited(worker->child, status, 0);
}

void workers_fail_spawn(void)
{
    spawn_fails = true;
}

void workers_reset(void)
{
    while (workers) {
        struct worker *worker = workers;
        char bytes[4096];
        ssize_t got;

        workers = worker->next;
        LAW(worker->reaped, "a worker is left");
        if (worker->fd >= 0) {
            while ((got = recv(worker->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
                ;
            LAW(got == 0 || errno == ECONNRESET, "a link is left open");
            close(worker->fd);
        }
        buf_finish(&worker->in);
        buf_finish(&worker->out);
        free(worker);
    }
    spawn_fails = false;
    last_pid = FIRST_PID;
}
