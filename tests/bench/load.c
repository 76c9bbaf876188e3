/*
 * load: opens many streams at once, checks every byte of them, and measures the server meanwhile.
 *
 * One loop, one recvmsg() for each readiness, the checker of sse_check.h behind it. The modes:
 *
 *     live    opens S streams over --ramp-ms, waits until each has had an event, lets them settle,
 *             measures for a window, and reads them all to their ends
 *     short   keeps S runs in flight, each on a new connection or on a kept one, warms up,
 *             measures for a window
 *     flood   S readers as fast as they can, each of a run of its own or (--join) all of one;
 *             measures from the first connection to the end of the last
 *     idle    as live, but a stream is open with its head, and is left at the window's end
 *
 * What is measured belongs to the window: at both ends of it the clock, the server's CPU time and
 * the counters are read together, and no byte is received meanwhile. A latency is the time from
 * `t`, which the event carries, to the return of the call that brought its end; both are read from
 * the same machine's clock. `arrival_us` is the time from `t` to when the last byte of that call
 * was in the kernel, by the kernel's clock: what the server took, without what it takes until this
 * program runs. A first event's time is counted from before connect(), or before
 * send() on a connection that is kept, to the return of that call.
 *
 * `gap_ms.max` is the longest time that a stream waited for an event, up to one inside the window
 * or to the window's end, less the period. `offered` is what the period promises in the window's
 * time, `held` the share of it that came.
 *
 * The result is one line of JSON. A value that does not apply is null. The exit status is 1 if any
 * response was wrong, and then stderr has the first few reasons.
 */
#include "histogram.h"
#include "load_options.h"
#include "net.h"
#include "sse_check.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH              256 /* events of one epoll_wait() */
#define OPENED_AT_ONCE     32  /* connections between two looks at those that are open */
#define STREAMS_AN_ADDRESS 8192
#define COMPLAINTS         10
#define HEAD_MAX           8192
#define STALL_US           30000000 /* nothing comes for so long: it is given up */

enum phase { PHASE_OPENING, PHASE_SETTLING, PHASE_MEASURING, PHASE_READING, PHASE_ENDED };

struct stream {
    int fd;
    bool ready;        /* as the mode understands it */
    bool opened;       /* its head has come */
    bool started;      /* this run's first event has come */
    bool reused;       /* not the connection's first run */
    uint64_t asked_us; /* when this run was asked for */
    uint64_t last_us;  /* when its last event came */
    struct sse_check check;
};

/* The counters, as they were at one moment. */
struct moment {
    uint64_t at_us; /* monotonic */
    uint64_t cpu_ns, own_cpu_ns;
    uint64_t events, bytes, runs;
};

static struct {
    struct load_options options;
    struct stream *streams;
    int epoll;
    enum phase phase;
    uint64_t start_us, deadline_us, heard_us, open_us; /* monotonic */
    uint64_t now_us;                 /* when the last receive call returned, CLOCK_REALTIME */
    uint64_t arrived_us;             /* when what it brought had arrived in the kernel */
    long asked, ready, live, opened; /* streams: first asked for, ready, open now, … */
    long errors, reconnects, ended_in_window;
    struct moment now, begin, end;
    uint64_t kib_before, kib_after;
    struct histogram latency, arrival, first;
    uint64_t gap_us;
    char request[HEAD_MAX], joining[HEAD_MAX], location[512];
    size_t request_length, joining_length;
    char *varying; /* the digit of the request that is not the same for all streams, or NULL */
    char bytes[256 * 1024];
} load;

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
    va_list arguments;

    if (load.errors++ >= COMPLAINTS)
        return;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* ---- streams ---- */

static bool measures_all(void)
{
    return load.options.window_ms == 0;
}

static void set_ready(struct stream *stream)
{
    load.ready += !stream->ready;
    stream->ready = true;
}

static void stream_close(struct stream *stream)
{
    net_reset(stream->fd);
    stream->fd = -1;
    stream->reused = false;
}

/* The stream has been read to its end, or is wrong. */
static void stream_leave(struct stream *stream)
{
    stream_close(stream);
    sse_check_finish(&stream->check);
    set_ready(stream);
    load.live--;
    load.ended_in_window += load.phase == PHASE_MEASURING;
}

static void stream_fail(struct stream *stream, const char *why)
{
    complain("stream %ld: %s", (long)(stream - load.streams), why);
    stream_leave(stream);
}

/* Not below 0, though clocks are read by several processors. */
static uint64_t since(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

static void note_gap(const struct stream *stream, uint64_t now_us)
{
    uint64_t period = (uint64_t)load.options.period_us, waited = since(stream->last_us, now_us);

    if (period > 0 && stream->last_us > 0 && waited > period + load.gap_us)
        load.gap_us = waited - period;
}

static void on_token(void *owner, uint64_t sent_us)
{
    struct stream *stream = owner;

    load.now.events++;
    if (load.phase == PHASE_MEASURING) {
        histogram_add(&load.latency, since(sent_us, load.now_us));
        histogram_add(&load.arrival, since(sent_us, load.arrived_us));
        note_gap(stream, load.arrived_us);
        if (!stream->started)
            histogram_add(&load.first, since(stream->asked_us, load.now_us));
    }
    stream->last_us = load.arrived_us;
    if (stream->started)
        return;
    stream->started = true;
    set_ready(stream);
}

static void on_header(void *owner, const char *line, size_t length)
{
    static const char name[] = "location: ";
    struct stream *stream = owner;
    size_t begin = sizeof name - 1;

    if (stream == load.streams && length > begin && strncasecmp(line, name, begin) == 0)
        snprintf(load.location, sizeof load.location, "%.*s", (int)(length - begin), line + begin);
}

static void watch(struct stream *stream, int operation, uint32_t events)
{
    net_watch(load.epoll, operation, stream->fd, events, stream);
}

/* The others can ask for the run now. The first does not go on before they are there. */
static void begin_joining(void)
{
    int length = snprintf(load.joining, sizeof load.joining,
                          "GET %s/events HTTP/1.1\r\nHost: localhost\r\n\r\n", load.location);

    if (load.location[0] == '\0')
        return complain("the response does not say which run to join");
    load.joining_length = (size_t)length;
    if (load.options.streams > 1)
        watch(&load.streams[0], EPOLL_CTL_MOD, 0);
}

static void end_joining(void)
{
    if (load.options.streams > 1 && load.streams[0].fd >= 0)
        watch(&load.streams[0], EPOLL_CTL_MOD, EPOLLIN);
}

static void on_opened(void *owner)
{
    struct stream *stream = owner;

    load.opened += !stream->opened;
    stream->opened = true;
    if (load.options.mode->ready_with_head)
        set_ready(stream);
    if (load.options.join && stream == load.streams)
        begin_joining();
    if (load.options.join && load.opened == load.options.streams)
        end_joining();
}

static void expect_response(struct stream *stream)
{
    static const struct sse_check_hooks hooks = {
        .header = on_header, .opened = on_opened, .token = on_token};

    sse_check_finish(&stream->check);
    sse_check_init(&stream->check, (uint32_t)load.options.expect, &hooks, stream);
    if (load.options.join && stream != load.streams)
        sse_check_allow_gap(&stream->check);
    stream->started = false;
    stream->last_us = 0;
}

/*
 * The kernel takes long to find a free port for a connection when more than half of those that it
 * has between two ends are used. So on the loopback, which has many addresses, these are the
 * streams that share one; and what a stream's agent connects to can differ in a digit, for which
 * there is * in the body.
 */
static uint32_t number_of_address(const struct stream *stream)
{
    return (uint32_t)(stream - load.streams) / STREAMS_AN_ADDRESS;
}

/* 0, -EAGAIN if it cannot be sent yet, or another negative errno. */
static int send_request(struct stream *stream)
{
    bool joins = load.options.join && stream != load.streams;
    size_t length = joins ? load.joining_length : load.request_length;
    long sent;

    if (load.varying)
        *load.varying = (char)('1' + number_of_address(stream));
    sent = net_send(stream->fd, joins ? load.joining : load.request, length);
    if (sent <= 0)
        return sent < 0 ? (int)sent : -EAGAIN;
    return (size_t)sent == length ? 0 : -EMSGSIZE;
}

/* On the loopback a connection usually stands at once; where not, it becomes writable. */
static void stream_connect(struct stream *stream)
{
    const int on = 1;
    uint32_t source = htonl(INADDR_LOOPBACK + number_of_address(stream));
    int status = net_connect(source, (unsigned int)load.options.port);

    expect_response(stream);
    stream->fd = status < 0 ? -1 : status;
    if (status >= 0) {
        setsockopt(stream->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        status = send_request(stream);
    }
    if (status == 0 || status == -EAGAIN)
        watch(stream, EPOLL_CTL_ADD, status == 0 ? EPOLLIN : EPOLLOUT);
    else
        stream_fail(stream, strerror(-status));
}

/* A server may close a connection that it has kept, between two requests: one more is made. */
static void stream_reconnect(struct stream *stream)
{
    load.reconnects++;
    stream_close(stream);
    stream_connect(stream);
}

static void stream_ask(struct stream *stream)
{
    load.live++;
    stream->asked_us = net_now_ns() / 1000;
    if (stream->fd < 0)
        return stream_connect(stream);
    stream->reused = true;
    expect_response(stream);
    if (send_request(stream) < 0)
        stream_reconnect(stream);
}

static void stream_end(struct stream *stream)
{
    load.now.runs++;
    if (!load.options.keep_alive)
        stream_close(stream);
    if (load.options.mode->repeats && load.phase < PHASE_READING) {
        load.live--;
        stream_ask(stream);
    } else {
        stream_leave(stream);
    }
}

static void stream_cut(struct stream *stream, int error)
{
    char why[160];

    if (stream->reused && !sse_check_begun(&stream->check))
        return stream_reconnect(stream);
    sse_check_close(&stream->check);
    snprintf(why, sizeof why, "%s%s%s", stream->check.problem ? stream->check.problem : "",
             error ? ": " : "", error ? strerror(error) : "");
    stream_fail(stream, why);
}

/* The kernel says when the last of the bytes arrived; for the very first it may not. */
static uint64_t arrival_us(struct msghdr *message)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(message);
    struct timespec at;

    if (control == NULL || control->cmsg_type != SO_TIMESTAMPNS)
        return load.now_us;
    memcpy(&at, CMSG_DATA(control), sizeof at);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static ssize_t receive_bytes(int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct timespec)) + 64];
    } control;
    struct iovec bytes = {.iov_base = load.bytes, .iov_len = sizeof load.bytes};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t length = recvmsg(fd, &message, 0);

    if (length <= 0)
        return length;
    load.now_us = net_now_ns() / 1000;
    load.arrived_us = arrival_us(&message);
    load.now.bytes += (uint64_t)length;
    return length;
}

static void stream_read(struct stream *stream)
{
    ssize_t length = receive_bytes(stream->fd);

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0)
        return stream_cut(stream, length < 0 ? errno : 0);
    if (!sse_check_feed(&stream->check, load.bytes, (size_t)length))
        stream_fail(stream, stream->check.problem ? stream->check.problem : "refused");
    else if (sse_check_complete(&stream->check))
        stream_end(stream);
}

static void stream_connected(struct stream *stream)
{
    int status = send_request(stream);

    if (status == -EAGAIN)
        return;
    if (status == 0)
        watch(stream, EPOLL_CTL_MOD, EPOLLIN);
    else
        stream_fail(stream, strerror(-status));
}

/* ---- the window ---- */

/* All at one moment: nothing is received while this runs. */
static void take_moment(struct moment *moment)
{
    static const struct usage own = {.count = 1};

    *moment = load.now;
    usage_cpu_ns(&own, &moment->own_cpu_ns);
    moment->at_us = net_monotonic_ns() / 1000;
    if (usage_cpu_ns(&load.options.usage, &moment->cpu_ns) < 0)
        complain("a process of the server is gone");
}

static void take_memory(uint64_t *kib)
{
    if (usage_memory_kib(&load.options.usage, kib) < 0)
        complain("the memory of the server's processes cannot be read");
}

static void begin_window(void)
{
    take_moment(&load.begin);
    load.ended_in_window = 0;
    load.phase = PHASE_MEASURING;
    load.deadline_us =
        measures_all() ? UINT64_MAX : load.begin.at_us + (uint64_t)load.options.window_ms * 1000;
}

static void end_window(void)
{
    uint64_t now_us;

    take_moment(&load.end);
    load.phase = PHASE_READING;
    load.deadline_us = UINT64_MAX;
    now_us = net_now_ns() / 1000;
    for (long i = 0; i < load.options.streams; i++)
        if (load.streams[i].fd >= 0)
            note_gap(&load.streams[i], now_us);
    take_memory(&load.kib_after);
    if (load.options.mode->steady && load.ended_in_window > 0)
        complain("%ld streams ended before the window did", load.ended_in_window);
}

static bool all_ended(void)
{
    return load.asked == load.options.streams && load.live == 0;
}

static void settle(uint64_t now_us)
{
    load.phase = PHASE_SETTLING;
    load.open_us = now_us;
    load.deadline_us = now_us + (uint64_t)load.options.settle_ms * 1000;
}

static void give_up(void)
{
    for (long i = 0; i < load.options.streams; i++)
        if (load.streams[i].fd >= 0)
            stream_fail(&load.streams[i], "nothing came for too long");
    load.asked = load.options.streams;
}

/* Where the measurement stands, after what has come. */
static void step(uint64_t now_us)
{
    const struct load_mode *mode = load.options.mode;

    if (load.phase == PHASE_OPENING && load.asked == load.options.streams &&
        (mode->ready_at_once || load.ready == load.options.streams))
        settle(now_us);
    if (load.phase == PHASE_SETTLING && now_us >= load.deadline_us)
        begin_window();
    if (load.phase == PHASE_MEASURING && (now_us >= load.deadline_us || all_ended()))
        end_window();
    if (all_ended() || (load.phase == PHASE_READING && mode->leaves))
        load.phase = PHASE_ENDED;
}

/* ---- the loop ---- */

static uint64_t due_us(long stream)
{
    return load.start_us + (uint64_t)load.options.ramp_ms * 1000 * (uint64_t)stream /
                               (uint64_t)load.options.streams;
}

static bool may_ask(void)
{
    if (load.asked == load.options.streams)
        return false;
    return !load.options.join || load.asked == 0 || load.joining_length > 0;
}

static void ask_due(uint64_t now_us)
{
    for (int i = 0; i < OPENED_AT_ONCE && may_ask() && due_us(load.asked) <= now_us; i++)
        stream_ask(&load.streams[load.asked++]);
    if (load.options.join && load.asked == 1 && load.live == 0)
        load.asked = load.options.streams; /* nothing to join */
}

static int timeout_ms(uint64_t now_us)
{
    uint64_t until = now_us + 1000000;

    if (load.deadline_us < until)
        until = load.deadline_us;
    if (may_ask() && due_us(load.asked) < until)
        until = due_us(load.asked);
    return until <= now_us ? 0 : (int)((until - now_us + 999) / 1000);
}

static void receive(int timeout)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(load.epoll, events, BATCH, timeout);

    if (count > 0)
        load.heard_us = UINT64_MAX; /* now */
    for (int i = 0; i < count; i++) {
        struct stream *stream = events[i].data.ptr;

        if (events[i].events == EPOLLOUT)
            stream_connected(stream);
        else
            stream_read(stream);
    }
}

static bool is_stalled(uint64_t now_us)
{
    if (load.heard_us == UINT64_MAX)
        load.heard_us = now_us;
    return load.deadline_us == UINT64_MAX && load.live > 0 && now_us - load.heard_us > STALL_US;
}

static void run(void)
{
    uint64_t now_us = net_monotonic_ns() / 1000;

    load.start_us = load.heard_us = now_us;
    load.deadline_us = UINT64_MAX;
    take_memory(&load.kib_before);
    if (measures_all())
        begin_window();
    while (load.phase != PHASE_ENDED) {
        ask_due(now_us);
        receive(timeout_ms(now_us));
        now_us = net_monotonic_ns() / 1000;
        if (is_stalled(now_us))
            give_up();
        step(now_us);
    }
    if (load.end.at_us == 0)
        complain("all streams ended before there was anything to measure");
}

/* ---- the result ---- */

static void put(const char *name, double value)
{
    if (isfinite(value))
        printf("\"%s\":%.*f,", name, value == floor(value) ? 0 : 3, value);
    else
        printf("\"%s\":null,", name);
}

static double quantile(const struct histogram *histogram, double share)
{
    return histogram->total ? histogram_quantile(histogram, share) : NAN;
}

static void put_times(const char *name, const struct histogram *times)
{
    printf("\"%s\":{", name);
    put("p50", quantile(times, 0.5));
    put("p90", quantile(times, 0.9));
    put("p99", quantile(times, 0.99));
    put("p999", quantile(times, 0.999));
    printf(times->total ? "\"max\":%llu}," : "\"max\":null},", (unsigned long long)times->max);
}

static void put_events(double events, double seconds)
{
    double period = (double)load.options.period_us;
    double offered = load.options.mode->steady && period > 0
                         ? (double)load.options.streams * seconds * 1e6 / period
                         : NAN;

    put("delivered", events);
    put("offered", offered);
    put("held", events / offered);
    put("window_s", seconds);
    printf("\"gap_ms\":{\"max\":");
    printf(period > 0 ? "%.3f}," : "null},", (double)load.gap_us / 1000);
}

static void put_memory(void)
{
    bool known = load.options.usage.count > 0;
    double before = (double)load.kib_before, after = (double)load.kib_after;

    put("rss_kib_before", known ? before : NAN);
    put("rss_kib", known ? after : NAN);
    put("kib_per_stream", known ? (after - before) / (double)load.options.streams : NAN);
}

static void put_result(void)
{
    const struct moment *begin = &load.begin, *end = &load.end;
    double seconds = (double)(end->at_us - begin->at_us) / 1e6;
    double events = (double)(end->events - begin->events);
    double runs = (double)(end->runs - begin->runs), skipped = 0;
    double cpu = load.options.usage.count ? (double)(end->cpu_ns - begin->cpu_ns) : NAN;
    double own = (double)(end->own_cpu_ns - begin->own_cpu_ns);

    for (long i = 0; i < load.options.streams; i++)
        skipped += load.streams[i].check.skipped;
    printf("{\"mode\":\"%s\",", load.options.mode->name);
    put("streams", (double)load.options.streams);
    put("opened", (double)load.opened);
    put("opening_s", load.open_us ? (double)(load.open_us - load.start_us) / 1e6 : NAN);
    put_events(events, seconds);
    put("cpu_ns", cpu);
    put("cpu_us_per_event", cpu / events / 1000);
    put("cpu_us_per_run", load.options.mode->repeats ? cpu / runs / 1000 : NAN);
    put_times("latency_us", &load.latency);
    put_times("arrival_us", &load.arrival);
    put_times("first_event_us", &load.first);
    put("runs", runs);
    put("runs_per_s", runs / seconds);
    put("events_per_s", events / seconds);
    put("mb_per_s", (double)(end->bytes - begin->bytes) / 1e6 / seconds);
    put_memory();
    put("load_cpu_s", own / 1e9);
    put("load_cpu_us_per_event", own / events / 1000);
    put("skipped", skipped);
    put("reconnects", (double)load.reconnects);
    printf("\"errors\":%ld}\n", load.errors);
}

static void write_request(void)
{
    const struct load_options *options = &load.options;
    const char *connection =
        options->mode->repeats && !options->keep_alive ? "Connection: close\r\n" : "";
    int length = snprintf(load.request, sizeof load.request,
                          "POST %s HTTP/1.1\r\nHost: localhost\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s",
                          options->path, strlen(options->body), connection, options->body);

    if (length < 0 || (size_t)length >= sizeof load.request) {
        errno = EMSGSIZE;
        net_die("the request");
    }
    load.request_length = (size_t)length;
    load.varying = strchr(strstr(load.request, "\r\n\r\n"), '*');
}

static void set_up(void)
{
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.streams = calloc((size_t)load.options.streams, sizeof *load.streams);
    if (load.epoll < 0 || load.streams == NULL)
        net_die("setting up");
    for (long i = 0; i < load.options.streams; i++)
        load.streams[i].fd = -1;
}

static void tear_down(void)
{
    for (long i = 0; i < load.options.streams; i++) {
        stream_close(&load.streams[i]);
        sse_check_finish(&load.streams[i].check);
    }
    free(load.streams);
    close(load.epoll);
}

int main(int argc, char **argv)
{
    load_options_read(&load.options, argc, argv);
    net_raise_file_limit();
    write_request();
    set_up();
    run();
    put_result();
    tear_down();
    return load.errors > 0;
}
