/*
 * Two ways lead from a worker into the log. The output of its plugin comes through a
 * pipe and is cut into lines here. Its log comes through a socket that keeps messages
 * apart; so a plugin that prints the like of a log line has only printed.
 *
 * The rate is a bucket: it holds BURST_S seconds' worth of lines, and fills as time goes
 * on. The workers of a plugin share it. A line that finds it empty is dropped; how many
 * were is told once a second while it goes on.
 *
 * The front reads on when the bucket is empty, for a worker must not wait for ever. But
 * it reads no more than TURN_BYTES or TURN_RECORDS a turn, and then rests for PAUSE_MS:
 * a plugin that prints without end takes little of the front's time.
 *
 * At the end, the worker is dead and so is its process group. The rest in pipe and socket
 * is read, up to LAST_TURNS turns' worth. A descendant in a session of its own may hold
 * the other ends; they are closed under it.
 */
#include "fleet/output.h"

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST_S 10

/* Longest line that is printed; the rest of it is left out. */
#define LINE_BYTES 2048

#define TURN_BYTES   ((size_t)32 * 1024)
#define TURN_RECORDS 32
#define PAUSE_MS     1
#define LAST_TURNS   16

#define TELL_MS 1000

/* One of the two descriptors. */
struct inlet {
    int fd;
    uv_poll_t poll;
    bool is_over; /* nobody writes there any longer */
};

struct output {
    struct inlet out, log;
    uv_timer_t timer; /* the pause, or until dropped lines are told */
    bool rests;
    struct handles handles;
    struct output_rate *rate;
    char *plugin; /* NULL until its name is known */
    char *file;
    char generation[24], pid[16];
    char line[LINE_BYTES]; /* printed and not ended yet */
    size_t length;
    size_t cut; /* bytes of the line that did not fit */
};

/* ---- the rate ---- */

/* Return true if one more line may be logged. */
static bool rate_take(struct output_rate *rate, uint64_t now)
{
    uint64_t most = rate->lines_per_s * UINT64_C(1000) * BURST_S;

    if (rate->lines_per_s == 0)
        return true;
    rate->allowance = rate->refilled_at == 0
                          ? most
                          : rate->allowance + (now - rate->refilled_at) * rate->lines_per_s;
    if (rate->allowance > most)
        rate->allowance = most;
    rate->refilled_at = now ? now : 1;
    if (rate->allowance < 1000) {
        rate->dropped++;
        return false;
    }
    rate->allowance -= 1000;
    return true;
}

static const char *output_name(const struct output *output)
{
    return output->plugin ? output->plugin : "-";
}

static void output_tell_dropped(struct output *output)
{
    struct output_rate *rate = output->rate;

    if (rate->dropped == 0)
        return;
    log_warn("plugin output dropped, because it was over its log_rate plugin=%s lines=%" PRIu64
             " log_rate=%u",
             output_name(output), rate->dropped, rate->lines_per_s);
    rate->dropped = 0;
    rate->told_at = uv_now(output->timer.loop);
}

/* ---- lines ---- */

static void output_log(struct output *output, struct log_fact *fact)
{
    log_fact_add(fact, "plugin", output_name(output), false);
    log_fact_add(fact, "generation", output->generation, true);
    log_fact_add(fact, "pid", output->pid, true);
    if (output->plugin == NULL)
        log_fact_add(fact, "file", output->file, false);
    log_tell(fact);
}

/* Log what is printed as a line. */
static void output_print(struct output *output, const char *text, size_t length, size_t cut)
{
    struct log_fact fact = {
        .level = LOG_INFO, .module = "output", .message = text, .length = length};
    char bytes[24];

    if (length > 0 && cut == 0 && text[length - 1] == '\r')
        fact.length--;
    if (fact.length == 0 || !rate_take(output->rate, uv_now(output->timer.loop)))
        return;
    snprintf(bytes, sizeof bytes, "%zu", cut);
    if (cut > 0)
        log_fact_add(&fact, "bytes_cut", bytes, true);
    output_log(output, &fact);
}

static void output_end_line(struct output *output)
{
    output_print(output, output->line, output->length, output->cut);
    output->length = output->cut = 0;
}

/* Cut what is printed into lines. */
static void output_take(struct output *output, const char *data, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(data, '\n', length);
        size_t piece = newline ? (size_t)(newline - data) : length;
        size_t room = LINE_BYTES - output->length, taken = piece < room ? piece : room;
        memcpy(output->line + output->length, data, taken);
        output->length += taken;
        output->cut += piece - taken;
        if (newline)
            output_end_line(output);
        data += piece + (newline != NULL);
        length -= piece + (newline != NULL);
    }
}

/* Log a record; what is none is shown as if it had been printed. */
static void output_take_record(struct output *output, const char *record, size_t length)
{
    struct log_fact fact;

    if (!log_fact_unpack(&fact, record, length)) {
        output_print(output, record, length < LINE_BYTES ? length : LINE_BYTES,
                     length < LINE_BYTES ? 0 : length - LINE_BYTES);
        return;
    }
    fact.module = "worker";
    if (fact.level <= log_limit() && rate_take(output->rate, uv_now(output->timer.loop)))
        output_log(output, &fact);
}

/* ---- reading; each returns false if there is nothing to read at the moment, or ever ---- */

static bool is_end(ssize_t length)
{
    return length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR);
}

static bool output_read(struct output *output)
{
    static char chunk[TURN_BYTES];
    ssize_t length = read(output->out.fd, chunk, sizeof chunk);

    output->out.is_over = is_end(length);
    if (length > 0)
        output_take(output, chunk, (size_t)length);
    return length > 0;
}

static bool output_read_records(struct output *output)
{
    char record[LOG_MESSAGE_MAX + 1024];
    ssize_t length = 0;

    for (int i = 0; i < TURN_RECORDS; i++) {
        length = recv(output->log.fd, record, sizeof record, MSG_DONTWAIT);
        output->log.is_over = is_end(length);
        if (length <= 0)
            return false;
        output_take_record(output, record, (size_t)length);
    }
    return true;
}

/* ---- the loop ---- */

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_time(uv_timer_t *timer);

static void inlet_watch(struct inlet *inlet)
{
    if (!inlet->is_over)
        uv_poll_start(&inlet->poll, UV_READABLE, on_readable);
}

/* Read nothing for a moment. */
static void output_rest(struct output *output)
{
    output->rests = true;
    uv_poll_stop(&output->out.poll);
    uv_poll_stop(&output->log.poll);
    uv_timer_start(&output->timer, on_time, PAUSE_MS, 0);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct output *output = poll->data;
    uint64_t dropped = output->rate->dropped;

    (void)status;
    (void)events;
    if (poll == &output->out.poll)
        output_read(output);
    else
        output_read_records(output);
    if (output->out.is_over)
        uv_poll_stop(&output->out.poll);
    if (output->log.is_over)
        uv_poll_stop(&output->log.poll);
    if (output->rate->dropped > dropped)
        output_rest(output);
}

/* The pause is over, or it is time to tell what was dropped. */
static void on_time(uv_timer_t *timer)
{
    struct output *output = timer->data;
    uint64_t now = uv_now(timer->loop), due = output->rate->told_at + TELL_MS;

    if (output->rests) {
        output->rests = false;
        inlet_watch(&output->out);
        inlet_watch(&output->log);
    }
    if (now >= due)
        output_tell_dropped(output);
    else if (output->rate->dropped > 0)
        uv_timer_start(timer, on_time, due - now, 0);
}

/* ---- beginning and end ---- */

static void inlet_open(uv_loop_t *loop, struct inlet *inlet, int fd, struct output *output)
{
    int status = uv_poll_init(loop, &inlet->poll, fd);

    if (status < 0)
        log_fatal("a worker's output cannot be watched: %s", uv_strerror(status));
    inlet->fd = fd;
    inlet->poll.data = output;
    inlet_watch(inlet);
}

struct output *output_open(uv_loop_t *loop, const struct output_settings *settings)
{
    struct output *output = mem_alloc(sizeof *output);

    output->rate = settings->rate;
    output->file = mem_strdup(settings->file);
    snprintf(output->generation, sizeof output->generation, "%" PRIu64, settings->generation);
    snprintf(output->pid, sizeof output->pid, "%d", settings->pid);
    uv_timer_init(loop, &output->timer);
    output->timer.data = output;
    inlet_open(loop, &output->out, settings->out_fd, output);
    inlet_open(loop, &output->log, settings->log_fd, output);
    return output;
}

void output_set_plugin(struct output *output, const char *name)
{
    if (output)
        mem_set(&output->plugin, name);
}

static void on_closed(void *owner)
{
    struct output *output = owner;

    close(output->out.fd);
    close(output->log.fd);
    free(output->plugin);
    free(output->file);
    free(output);
}

void output_close(struct output *output)
{
    if (output == NULL)
        return;
    for (int turn = 0; turn < LAST_TURNS && output_read(output); turn++)
        ;
    for (int turn = 0; turn < LAST_TURNS && output_read_records(output); turn++)
        ;
    output_end_line(output);
    output_tell_dropped(output);
    handles_close(&output->handles, on_closed, output, &output->out.poll, &output->log.poll,
                  &output->timer, NULL);
}
