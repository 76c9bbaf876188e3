/*
 * Two timers. `limit` is the patience (base/patience.h) with a step that the
 * process must take; `ping` asks a process that serves whether its loop turns.
 *
 *     state      who waits for what                    timer
 *     loading    the front for HELLO                   limit: start_timeout
 *     greeted    the owner decides: create or refuse     "
 *     creating   the front for READY                     "
 *     ready      runs                                  ping, every PULSE_MS
 *     draining   for the last run to end               ping, which counts the drain's time
 *     leaving    for the exit, after QUIT              limit, then SIGKILL
 *
 * No time in which the front stood still counts against a process. The loop polls
 * the link between two pings. So a ping that is due adds PULSE_MS to the time of
 * the process, however long ago the last ping was. It adds nothing to the silence
 * of the process (pulse.h) while the link holds bytes that the front has not
 * read.
 *
 * A process ends in one place, process_end(), when it has been reaped:
 *
 *   1. read what its socket still holds, so that no event it sent is lost, and the
 *      rest of its output, which tells what happened before the end;
 *   2. put the cause into words: the note of who killed it, else the status;
 *   3. end its remaining runs;
 *   4. tell the owner, then close the handles and free.
 *
 * The children of the plugin, its process group, were killed before
 * (fleet/spawn.c).
 *
 * A process that waits for a dead file system or a driver cannot be ended, not
 * even by SIGKILL. REAP_MS after SIGKILL it is lost: the steps are taken
 * without its status, so that no client and no seat waits for it. Only its handles
 * stay, until the kernel lets the process go.
 *
 * Everything else that goes wrong (a socket that closes, an invalid frame, a
 * start that takes too long) only kills the process and leaves a note; the
 * first note counts.
 */
#include "fleet/process.h"

#include "base/farm.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "fleet/process_inside.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a worker may live on without its socket. */
#define DEAF_MS 1000

/* How long cancelled runs have to stop before their worker is killed. */
#define CANCEL_MS 2000

/* How long the kernel may take to end a process that was sent SIGKILL. */
#define REAP_MS 2000

/* ---- to the worker ---- */

static void process_send(struct process *process, enum wire_type type, uint32_t number,
                         const void *data, size_t length)
{
    if (process->link)
        wire_append(link_out(process->link), type, number, data, length);
}

static void executor_cancel(void *data, uint32_t number)
{
    process_send(data, WIRE_CANCEL, number, NULL, 0);
}

static void executor_credit(void *data, uint32_t number, uint32_t bytes)
{
    process_send(data, WIRE_CREDIT, number, &bytes, sizeof bytes);
}

static int executor_input(void *data, uint32_t number, uint32_t question, const char *json,
                          size_t length)
{
    struct process *process = data;

    if (process->link == NULL || link_backlog(process->link) >= LINK_BACKLOG_MAX)
        return -EAGAIN;
    wire_append_input(link_out(process->link), number, question, json, length);
    return 0;
}

static void executor_ignored(void *data, uint32_t number)
{
    struct process *process = data;

    (void)number;
    if (process->handler->ignored)
        process->handler->ignored(process->data, process);
}

static void process_open_plugin(struct process *process)
{
    struct buf pairs = {0};
    char number[BUF_DIGITS_MAX + 1] = "";

    if (process->farm)
        wire_append_pair(&pairs, "farm", process->farm);
    wire_append_pair(&pairs, "file", image_file(process->spec.image));
    buf_digits(number, process->spec.generation);
    wire_append_pair(&pairs, "generation", number);
    wire_append_pair(&pairs, "log", (const char[]){(char)('0' + log_limit()), '\0'});
    snprintf(number, sizeof number, "%u", process->spec.start_timeout);
    wire_append_pair(&pairs, "start_timeout", number);
    if (process->spec.names)
        wire_append_pair(&pairs, "names", "yes");
    if (process->spec.confinement) {
        const struct buf *more = confinement_pairs(process->spec.confinement);
        buf_append(&pairs, buf_data(more), buf_length(more));
    }
    process_send(process, WIRE_OPEN, 0, buf_data(&pairs), buf_length(&pairs));
    buf_finish(&pairs);
}

bool process_has_room(const struct process *process)
{
    return process->state == PROCESS_ready && !process->deaf && !process->condemned &&
           !process->child.is_reaped && !process->pulse.is_stuck && !*why_text(&process->crash) &&
           link_backlog(process->link) < LINK_BACKLOG_MAX;
}

void process_start(struct process *process, struct run *run, const struct run_agent *agent)
{
    static const struct executor executor = {.cancel = executor_cancel,
                                             .credit = executor_credit,
                                             .input = executor_input,
                                             .ignored = executor_ignored};
    uint32_t number = process_runs_add(&process->runs, run);
    struct buf *pairs = run_pairs(run, agent);

    process_send(process, WIRE_START, number, buf_data(pairs), buf_length(pairs));
    buf_finish(pairs);
    process->started++;
    run_start(run, agent, &executor, process, number);
}

static void on_reap_time(void *data);

/* Kill the process; the first reason goes into the obituary. */
static void process_condemn(struct process *process, const char *reason)
{
    if (!*why_text(&process->note))
        why_set(&process->note, 0, "%s", reason);
    if (process->condemned || process->child.is_reaped)
        return;
    process->condemned = true;
    child_kill(&process->child);
    uv_timer_stop(&process->ping);
    patience_start(&process->limit, REAP_MS, on_reap_time);
}

void process_kill(struct process *process, enum run_error error, const char *reason)
{
    if (!process->condemned)
        process->error = error;
    process_condemn(process, reason);
}

void process_refuse(struct process *process, const char *reason)
{
    process->refused = true;
    process_condemn(process, reason);
}

void process_save_state(struct process *process)
{
    process->saving = true;
    process_send(process, WIRE_SAVE, 0, NULL, 0);
}

void process_create(struct process *process, const struct process_setup *setup)
{
    struct buf payload = {0};

    process->state = PROCESS_creating;
    buf_printf(&payload, "%u%c%zu%c%s%c%s%c", setup->threads, 0, setup->stack, 0, setup->config, 0,
               setup->state ? setup->state : "", 0);
    process_send(process, WIRE_CREATE, 0, buf_data(&payload), buf_length(&payload));
    buf_finish(&payload);
}

/* ---- the heartbeat ---- */

static void check_pulse(struct process *process)
{
    enum pulse_change change;

    if (process->pulse.pings == 0 || link_has_unread(process->link))
        return;
    change = pulse_miss(&process->pulse, process->child.pid, process->spec.stuck_timeout);
    if (change == PULSE_DEAD)
        process_kill(process, RUN_ERROR_worker_stuck, "killed because its loop did not answer");
    if (change != PULSE_STUCK)
        return;
    log_plugin("worker stuck: its loop does not answer; fibers must not block or compute for long "
               "plugin=%s generation=%" PRIu64 " pid=%d runs=%" PRIu32 " file=%s",
               process->name, process->spec.generation, process->child.pid, process->runs.live,
               image_file(process->spec.image));
    if (process->handler->stuck)
        process->handler->stuck(process->data, process);
}

/* The drain's time is over: end its runs for their readers, and have their agents stop. */
static void end_runs(struct process *process)
{
    unsigned ended;

    process->cancelled = true;
    process->drain_left = CANCEL_MS;
    ended = process_runs_abort(&process->runs, RUN_ERROR_drain_timeout);
    log_warn("runs ended at the drain deadline, see drain_timeout plugin=%s generation=%" PRIu64
             " pid=%d runs=%u",
             process->name, process->spec.generation, process->child.pid, ended);
}

static void check_drain(struct process *process)
{
    if (process->state != PROCESS_draining)
        return;
    if (process_runs_are_given_up(&process->runs))
        process_quit(process, PROCESS_QUIT_MS);
    else if (process->drain_left == NEVER)
        return;
    else if (process->drain_left > 0)
        process->drain_left -= process->drain_left < PULSE_MS ? process->drain_left : PULSE_MS;
    else if (process->pulse.is_stuck)
        process_kill(process, RUN_ERROR_worker_stuck, "killed because its loop did not answer");
    else if (process->cancelled)
        process_kill(process, RUN_ERROR_drain_timeout,
                     "killed because its runs did not stop at the drain deadline");
    else
        end_runs(process);
}

static void on_ping_time(uv_timer_t *timer)
{
    struct process *process = timer->data;
    struct wire_ping ping = {.sent_at = clock_now(), .log = log_limit()};

    check_pulse(process);
    check_drain(process);
    process_send(process, WIRE_PING, 0, &ping, sizeof ping);
    process->pulse.pings++;
    pulse_weigh(&process->pulse, process->child.pid);
    if (process->handler->pinged)
        process->handler->pinged(process->data, process);
}

void process_serve(struct process *process)
{
    process->state = PROCESS_ready;
    process->since = uv_now(process->loop);
    patience_stop(&process->limit);
    uv_timer_start(&process->ping, on_ping_time, PULSE_MS, PULSE_MS);
    process->handler->ready(process->data, process);
}

/* ---- the way out ---- */

static void on_kill_time(void *data)
{
    struct process *process = data;

    process_condemn(process, "it did not leave in time");
}

void process_quit(struct process *process, uint64_t timeout_ms)
{
    if (process->state == PROCESS_leaving)
        return;
    process->state = PROCESS_leaving;
    if (process->condemned)
        return;
    process_send(process, WIRE_QUIT, 0, NULL, 0);
    uv_timer_stop(&process->ping);
    patience_start(&process->limit, timeout_ms, on_kill_time);
}

void process_drain(struct process *process, uint64_t timeout_ms)
{
    if (process->state == PROCESS_leaving)
        return;
    if (process->state < PROCESS_ready || process->runs.live == 0) {
        process_quit(process, PROCESS_QUIT_MS);
        return;
    }
    if (process->state != PROCESS_draining ||
        (timeout_ms < process->drain_left && !process->cancelled))
        process->drain_left = timeout_ms;
    process->state = PROCESS_draining;
}

static void on_deaf_time(void *data)
{
    struct process *process = data;

    process_condemn(process, LINK_CLOSED " but did not exit");
}

/* A death shows first as a socket that closes; its cause is known when the process is reaped. */
static void on_link_ended(void *data, const char *reason)
{
    struct process *process = data;

    process->deaf = true;
    if (strcmp(reason, LINK_CLOSED) != 0)
        process_condemn(process, reason);
    if (process->condemned || process->state == PROCESS_leaving)
        return;
    uv_timer_stop(&process->ping);
    patience_start(&process->limit, DEAF_MS, on_deaf_time);
}

/* Say what a process that is not ready is doing. */
static const char *process_step(const struct process *process)
{
    return process->state == PROCESS_loading ? "loading" : "in create() or selftest()";
}

/* ---- its end ---- */

static void on_closed(void *owner)
{
    struct process *process = owner;

    image_unref(process->spec.image);
    process_runs_finish(&process->runs);
    why_finish(&process->note);
    why_finish(&process->crash);
    if (process->farm)
        farm_remove(process->farm);
    free(process->farm);
    free(process->name);
    free(process);
}

/* Say how the process ended, in words for people. */
static void describe_end(const struct process *process, int status, int signal, struct why *why)
{
    if (*why_text(&process->note))
        why_set(why, 0, "%s", why_text(&process->note));
    else if (*why_text(&process->crash))
        why_set(why, 0, "%s", why_text(&process->crash));
    else if (signal)
        why_set(why, 0, "killed by signal %d (%s)", signal, strsignal(signal));
    else
        why_set(why, 0, "%sexited with status %d", process->deaf && status ? LINK_CLOSED "; " : "",
                status);
    if (!*why_text(&process->note) && process->state < PROCESS_ready)
        why_set(why, 0, "%s: %s while %s", image_file(process->spec.image), why_text(why),
                process_step(process));
}

/* Tell everybody that the process has ended; its handles stay. */
static void process_end(struct process *process, const char *reason, bool was_told)
{
    process_runs_fail(&process->runs, process->error,
                      *why_text(&process->note) ? NULL : process->culprit, reason);
    process->handler->gone(process->data, process, reason, was_told);
    link_close(process->link);
    process->link = NULL;
}

/* Those that no owner knows. */
static LIST_HEAD(, process) lost_processes = LIST_HEAD_INITIALIZER(lost_processes);

bool process_is_lost(int pid)
{
    const struct process *process;

    LIST_FOREACH(process, &lost_processes, in_lost) {
        if (process->child.pid == pid)
            return true;
    }
    return false;
}

/* Read what it sent and wrote before its end. */
static void process_read_rest(struct process *process)
{
    link_drain(process->link);
    output_close(process->output);
    process->output = NULL;
}

/* The process does not end: go on without it. */
static void on_reap_time(void *data)
{
    struct process *process = data;
    struct why reason = {0};

    process_read_rest(process);
    process->lost = true;
    LIST_INSERT_HEAD(&lost_processes, process, in_lost);
    why_set(&reason, 0, "%s, and did not end within %u s of SIGKILL", why_text(&process->note),
            REAP_MS / 1000);
    log_error("worker cannot be ended: %s; see /proc/PID/stack for what it waits for plugin=%s "
              "generation=%" PRIu64 " pid=%d runs=%" PRIu32 " file=%s",
              why_text(&reason), process->name ? process->name : "-", process->spec.generation,
              process->child.pid, process->runs.live, image_file(process->spec.image));
    process_end(process, why_text(&reason), false);
    why_finish(&reason);
}

static void process_bury(struct process *process, int status, int signal)
{
    struct why reason = {0};
    bool was_told;
    char *runs;

    process_read_rest(process);
    describe_end(process, status, signal, &reason);
    runs = process_runs_list(&process->runs, process->culprit);
    was_told = process->state == PROCESS_leaving && status == 0 && signal == 0;
    if (!process->refused && !was_told)
        log_plugin("worker died: %s plugin=%s generation=%" PRIu64 " pid=%d %s=%d runs=%" PRIu32
                   " run_ids=%s file=%s",
                   why_text(&reason), process->name ? process->name : "-", process->spec.generation,
                   process->child.pid, signal ? "signal" : "status", signal ? signal : status,
                   process->runs.live, runs, image_file(process->spec.image));
    free(runs);
    process_end(process, why_text(&reason), was_told);
    why_finish(&reason);
}

static void on_exit_status(struct child *child, int status, int signal)
{
    struct process *process = child->data;

    if (process->lost) {
        log_info("worker ended at last pid=%d", child->pid);
        LIST_REMOVE(process, in_lost);
    } else {
        process_bury(process, status, signal);
    }
    handles_close(&process->handles, on_closed, process, &process->child.exits, &process->ping,
                  &process->limit.timer, NULL);
}

/* ---- its start ---- */

static void on_start_timeout(void *data)
{
    struct process *process = data;
    char *reason =
        mem_printf("%s: not ready within %u s; it was %s", image_file(process->spec.image),
                   process->spec.start_timeout, process_step(process));

    process_condemn(process, reason);
    free(reason);
}

static void process_listen(struct process *process, const struct spawn_ends *ends)
{
    struct output_settings settings = {.out_fd = ends->out,
                                       .log_fd = ends->log,
                                       .file = image_file(process->spec.image),
                                       .generation = process->spec.generation,
                                       .pid = process->child.pid,
                                       .rate = process->spec.output};

    process->output = output_open(process->loop, &settings);
}

int process_spawn(uv_loop_t *loop, const struct process_spec *spec,
                  const struct process_handler *handler, void *data, struct process **out)
{
    static const struct link_handler link_handler = {.frame = process_on_frame,
                                                     .ended = on_link_ended};
    struct process *process = mem_alloc(sizeof *process);
    struct spawn_settings settings = {.image = spec->image,
                                      .env = spec->confinement ? confinement_env(spec->confinement)
                                                               : NULL,
                                      .is_overheard = spec->output != NULL};
    struct spawn_ends ends;
    int status;

    process->loop = loop;
    process->spec = *spec;
    image_ref(spec->image);
    process->handler = handler;
    process->data = data;
    process->since = uv_now(loop);
    process->child.exited = on_exit_status;
    process->child.data = process->ping.data = process;
    uv_timer_init(loop, &process->ping);
    patience_init(loop, &process->limit, process);
    status = spawn_worker(loop, &process->child, &settings, &ends);
    if (status < 0) {
        handles_close(&process->handles, on_closed, process, &process->child.exits, &process->ping,
                      &process->limit.timer, NULL);
        return status;
    }
    status = link_open(loop, ends.link, WIRE_WORKER, &link_handler, process, &process->link);
    if (status < 0)
        log_fatal("cannot open the link of a worker: %s", uv_strerror(status));
    process->farm = farm_path();
    if (ends.out >= 0)
        process_listen(process, &ends);
    process_open_plugin(process);
    patience_start(&process->limit, spec->start_timeout * UINT64_C(1000), on_start_timeout);
    *out = process;
    return 0;
}

/* ---- what is known ---- */

int process_pid(const struct process *process)
{
    return process->child.pid;
}

size_t process_live(const struct process *process)
{
    return process->runs.live;
}

uint64_t process_started(const struct process *process)
{
    return process->started;
}

size_t process_memory(const struct process *process)
{
    return process->pulse.memory;
}

uint64_t process_age_ms(const struct process *process)
{
    return uv_now(process->loop) - process->since;
}

bool process_is_ready(const struct process *process)
{
    return process->state == PROCESS_ready;
}

void process_snapshot(const struct process *process, struct process_snapshot *out)
{
    static const char *const words[] = {
#define X(name, word) word,
        PROCESS_STATES(X)
#undef X
    };

    *out = (struct process_snapshot){
        .pid = process->child.pid,
        .state = words[process->pulse.is_stuck ? PROCESS_stuck : process->state],
        .live_runs = process->runs.live,
        .started_runs = process->started,
        .stray_emits = process->stray_emits,
        .refused_calls = process->refused_calls,
        .memory = process->pulse.memory,
        .age_ms = process_age_ms(process),
        .drains = process->state == PROCESS_draining,
        .drain_left_ms = process->cancelled ? 0 : process->drain_left,
    };
    for (uint32_t number = 0;
         number < process->runs.capacity && out->run_count < PROCESS_SNAPSHOT_RUNS; number++) {
        if (process->runs.taken[number])
            out->runs[out->run_count++] = run_id(process->runs.taken[number]);
    }
}
