/*
 * A model of the front: its runs, logs, readers, streams, documents, deployment, generations,
 * processes and links are the real ones; HTTP, images of plugins, child processes, random
 * numbers and the clock are made up. The input is a list of what happens: clients come, read
 * slowly, leave, cancel; workers emit, lie, die, are reaped early or late; operators reload;
 * time passes, or stands still and jumps.
 *
 * What holds is checked all the time, by LAW(): front_truth.c compares what clients get with
 * what was appended, front_client.c looks at each stream, front_worker.c at each link. After the
 * input everybody behaves, or the host stops; then each run must end, everybody who waits must
 * have been answered, and nothing may be left.
 */
#include "fuzz.h"

#include "api/collect.h"
#include "api/stream.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/patience.h"
#include "config/config.h"
#include "fleet/deployment.h"
#include "front_client.h"
#include "front_image.h"
#include "front_truth.h"
#include "front_worker.h"
#include "run/inside.h"
#include "run/questions.h"
#include "run/runs.h"
#include "terms.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RUNS_MAX 24
#define STEP_MS  250

/* Most that may be given back later. */
#define CREDIT_STEP (32u * 1024)

/* Longest time in which all must be over once everybody behaves. */
#define OVER_MS 600000

/* ---- the clock, random numbers ---- */

static uint64_t now_ms;

/* In place of libc's, for libuv too. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, clock, now);
    now->tv_sec = (time_t)(now_ms / 1000);
    now->tv_nsec = (long)(now_ms % 1000 * CLOCK_MS);
    return 0;
}

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);

/* Ids are in order, so that an input always does the same. */
ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
    static uint64_t last;

    (void)flags;
    memset(bytes, 0, length);
    for (size_t at = 0; at + sizeof last <= length; at += sizeof last)
        memcpy((char *)bytes + at, &(uint64_t){++last}, sizeof last);
    return (ssize_t)length;
}

/* ---- the front ---- */

static uv_loop_t loop;
static struct patience_clock patience;
static struct config *config;
static struct runs *runs;
static struct streams *streams;
static struct collectors *collectors;
static struct deployment *deployment;
static unsigned replies_due;
static bool emptied;

static bool may_be_called(void *data, const struct deployment *of, const char *name,
                          struct why *why)
{
    (void)data;
    (void)of;
    (void)name;
    (void)why;
    return true;
}

static void on_settled(void *data)
{
    (void)data;
}

static void on_emptied(void *data)
{
    (void)data;
    emptied = true;
}

static void on_replied(void *data, const char *error)
{
    (void)data;
    (void)error;
    LAW(replies_due > 0, "an operator is answered twice");
    replies_due--;
}

static void runs_check(void);

static const struct reply *expect_reply(void)
{
    static const struct reply reply = {.done = on_replied};

    replies_due++;
    return &reply;
}

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    clients_turn(now_ms);
    clients_check(now_ms);
    truths_check();
    workers_check();
    runs_check();
    image_turn();
}

static void elapse(uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = ms < STEP_MS ? ms : STEP_MS;

        now_ms += step;
        ms -= step;
        turn();
    }
}

/* ---- the runs ---- */

static struct {
    struct run *run; /* a reference; NULL: none */
    uint64_t last;   /* number of an event that a client may say it has */
    bool is_free;    /* it no longer waits for readers */
} held[RUNS_MAX];

/* What nobody must read before the agent goes on is given back at once. */
static void runs_check(void)
{
    for (unsigned i = 0; i < RUNS_MAX; i++) {
        const struct run *run = held[i].run;

        if (run == NULL)
            continue;
        held[i].is_free |= run->has_expelled && run->holder == NULL;
        LAW(!held[i].is_free || run->holder == NULL,
            "a run waits for a reader that came after one that did not read");
        LAW(run->executor == NULL || run_has_ended(run) ||
                run->spent - run->returned <
                    run->log->end.cost - readers_upto(run)->cost + CREDIT_STEP,
            "a run has not got its credit back");
    }
}

static const char *const subjects[] = {"ann", "bob"};

/* ---- the input ---- */

static const uint8_t *input;
static size_t left;

static uint8_t take(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

static size_t take_size(void)
{
    static const size_t sizes[] = {0,    1,    20,    100,    500,    1000,   5000,  16000,
                                   4096, 8192, 40000, 100000, 300000, 900000, 65536, 3};

    return sizes[take() % (sizeof sizes / sizeof *sizes)];
}

/* JSON of an event, of this length at least. */
static const char *make_json(bool is_text, size_t length, size_t *json_length)
{
    static char json[1000000];
    static unsigned last;
    int begin = snprintf(json, sizeof json, is_text ? "{\"delta\":\"%x " : "{\"n\":\"%x ", last++);

    memset(json + begin, 'x', length);
    memcpy(json + begin + length, "\"}", 3);
    *json_length = (size_t)begin + length + 2;
    return json;
}

/* Read a run: how says from where, and its bits from 3 on in which protocol. */
static void open_reader(unsigned index, uint8_t how, size_t room)
{
    struct run *run = held[index].run;
    uint64_t after = how & 1 ? 0 : held[index].last, last = eventlog_last(run_log(run));
    const struct encoder *encoder = terms_encoder(how >> 3 & 15);
    bool document = how & 4 && encoder->document;
    struct answer_form form = {.encoder = encoder};
    struct reader_form wanted = {.encoder = encoder};
    struct http_request *client;
    struct buf terms = {0};

    if (how & 2)
        after = last;
    if (after > last)
        after = last;
    if (run_has_ended(run) && after == last)
        after = 0;
    terms_make(encoder, how >> 6, &terms);
    if (buf_length(&terms) > 0) {
        form.terms = wanted.terms = buf_data(&terms);
        form.terms_size = wanted.terms_size = buf_length(&terms);
    }
    client = client_open(run, document, &wanted, document ? 0 : after, room);
    if (client && document)
        collect_open(collectors, client, run, &form, 0);
    else if (client)
        stream_open(streams, client, run, &form, after);
    buf_finish(&terms);
}

static void submit(void)
{
    static const uint64_t lingers[] = {NEVER, 0, 1000, 10000};
    static const uint64_t deadlines[] = {NEVER, NEVER, 3000, 100000};
    uint8_t how = take(), times = take();
    size_t length;
    struct run_request request = {.agent = "agent",
                                  .input = make_json(false, take_size(), &length),
                                  .subject = subjects[how & 1],
                                  .client = subjects[how & 1],
                                  .linger_ms = lingers[times & 3],
                                  .input_ms = lingers[times >> 5 & 3],
                                  .deadline_ms = deadlines[times >> 2 & 3],
                                  .grace_ms = times & 16 ? 1000 : 10000};
    struct truth *truth;
    struct run *run;
    unsigned index = 0;

    while (index < RUNS_MAX && held[index].run)
        index++;
    request.input_length = length;
    if (index == RUNS_MAX || deployment_admit(deployment) < 0 ||
        !runs_make_room(runs, request.client, length))
        return;
    if (run_create(runs, &request, &run) < 0)
        return;
    truth = truth_of(run_log(run));
    truth->may_cancel = request.linger_ms != NEVER || request.input_ms != NEVER;
    truth->may_fail = request.deadline_ms != NEVER;
    held[index].run = run;
    held[index].last = 0;
    held[index].is_free = false;
    deployment_submit(deployment, run);
    if (how & 2)
        open_reader(index, (how >> 2 & 7) | (times >> 5 << 3) | (how << 1 & 0xc0),
                    how & 128 ? take_size() : ROOM_ALL);
}

static struct run *take_run(unsigned *index)
{
    unsigned first = take();

    for (unsigned i = 0; i < RUNS_MAX; i++) {
        *index = (first + i) % RUNS_MAX;
        if (held[*index].run)
            return held[*index].run;
    }
    return NULL;
}

static void cancel(void)
{
    unsigned index;
    struct run *run = take_run(&index);
    struct truth *truth;

    if (run == NULL)
        return;
    truth = truth_of(run_log(run));
    /* An agent that ignores it costs the others of its worker nothing, but its own end. */
    truth->may_cancel = true;
    run_cancel(run);
}

/* A person answers the oldest question, and says more. */
static void give_input(void)
{
    const struct question *question;
    unsigned index;
    struct run *run = take_run(&index);
    size_t length;
    const char *json = make_json(false, take_size(), &length);

    if (run == NULL)
        return;
    question = run_question_next(run, NULL);
    if (question)
        run_answer(run, question->id, json, length);
    run_give_input(run, json, length);
}

static void forget(void)
{
    unsigned index;
    struct run *run = take_run(&index);

    if (run == NULL)
        return;
    held[index].run = NULL;
    run_unref(run);
}

/* Events of the types that encoders know, also some whose members are not as they should be. */
static const struct {
    const char *type, *json;
} told[] = {
    {"reasoning", "{\"delta\":\"hm\"}"},
    {"reasoning", "{\"delta\":\"\"}"},
    {"text", "{\"delta\":\"\"}"},
    {"text", "{\"scope\":\"a\",\"delta\":\"\\u00e4\\n\"}"},
    {"text", "{\"delta\":7}"},
    {"tool_call", "{\"id\":\"c1\",\"name\":\"add\",\"arguments\":{\"a\":2}}"},
    {"tool_call", "{\"id\":\"c2\",\"name\":\"ask\",\"arguments\":{},\"client\":true}"},
    {"tool_result", "{\"id\":\"c1\",\"content\":\"5\"}"},
    {"tool_result", "{\"id\":\"c2\",\"content\":{\"a\":[1,null]}}"},
    {"step", "{\"name\":\"look\",\"status\":\"started\"}"},
    {"step", "{\"name\":\"look\",\"status\":\"done\"}"},
    {"step", "{\"name\":\"look further\"}"},
    {"usage", "{\"input_tokens\":11,\"output_tokens\":7}"},
    {"state", "{\"value\":[1]}"},
    {"tool_call", "[]"},
    {"my.own", "null"},
};

#define TOLD (sizeof told / sizeof *told)

static void emit(struct worker *worker)
{
    uint8_t how = take();
    size_t size, length;
    unsigned count, which = how >> 4;

    if (how & 4) {
        how = take() % (TOLD + 3);
        if (how < TOLD)
            worker_emit(worker, which, told[how].type, told[how].json, strlen(told[how].json));
        else if (how == TOLD)
            worker_give_up(worker, which);
        else
            worker_ask(worker, which);
        return;
    }
    size = take_size();
    count = how & 8 ? 1 + take() % 32 : 1;
    for (unsigned i = 0; i < count; i++) {
        const char *json = make_json(how & 1, size, &length);

        worker_emit(worker, which,
                    how & 1   ? "text"
                    : how & 2 ? "step"
                              : "my.own-type",
                    json, length);
    }
}

/* An agent emits much, and a client reads slowly. */
static void flood(struct worker *worker)
{
    uint8_t how = take();
    size_t size = take_size() % 6000, room = take() * 16u, length;
    struct http_request *client = client_at(how >> 6);

    if (client)
        client_give_room(client, 0);
    for (unsigned i = 0; i < 8u + how % 64; i++) {
        const char *json = make_json(i % 16, size, &length);

        worker_emit(worker, 0, i % 16 ? "text" : "step", json, length);
        if (i % 4)
            continue;
        worker_serve(worker);
        turn();
        if (worker_is_dead(worker))
            return;
        if ((client = client_at(how >> 6)))
            client_give_room(client, room);
    }
}

static void send_frame(struct worker *worker)
{
    char bytes[WIRE_EVENT_MAX / 8];
    uint8_t type = take();
    size_t length = take();
    struct wire_header header = {.length = (uint32_t)length, .type = type % 24, .run = take()};

    if (type & 128)
        header.length = UINT32_MAX >> (length % 32);
    if (type & 64)
        header.type = (uint16_t)(WIRE_HELLO + type % 9);
    memcpy(bytes, &header, sizeof header);
    for (size_t i = 0; i < length; i++)
        bytes[sizeof header + i] = (char)take();
    worker_send(worker, bytes, sizeof header + length);
}

static void happen_to(struct worker *worker, uint8_t what)
{
    uint8_t how;

    if (worker_is_dead(worker)) {
        worker_reap(worker, take() & 1);
        return;
    }
    switch (what) {
    case 0:
    case 1:
        worker_serve(worker);
        break;
    case 2:
    case 3:
        emit(worker);
        break;
    case 4:
        how = take();
        worker_end(worker, how >> 2, how % 3);
        break;
    case 5:
        how = take();
        worker_wait(worker, how >> 2, how & 1);
        break;
    case 6:
        how = take();
        worker_hold(worker, how >> 2, how & 1);
        break;
    case 7:
        send_frame(worker);
        break;
    case 8:
        worker_limit(worker, take_size());
        break;
    case 9:
        worker_close(worker);
        break;
    case 10:
        worker_die(worker, take() & 1);
        break;
    case 11:
        how = take();
        worker_die(worker, how & 1);
        worker_reap(worker, how & 2);
        break;
    case 12:
        worker_finish(worker);
        break;
    case 13:
    case 14:
        flood(worker);
        break;
    case 15:
        worker_deafen(worker, take());
        break;
    }
}

static void operate(uint8_t what)
{
    switch (what) {
    case 0:
        deployment_reload(deployment, expect_reply());
        break;
    case 1:
        deployment_rollback(deployment, 0, expect_reply());
        break;
    case 2:
        deployment_drain(deployment);
        break;
    case 3:
        deployment_retry(deployment);
        break;
    case 4:
        image_fail_copy();
        break;
    case 5:
        if (!deployment_refresh(deployment, NULL, expect_reply()))
            replies_due--;
        break;
    case 6:
        deployment_miss(deployment);
        break;
    }
}

static void set_limits(void)
{
    struct runs_limits limits = {.retention_ms = 1000u << take() % 8,
                                 .log_size = (size_t)1024 << take() % 11,
                                 .log_budget = (size_t)65536 << take() % 8};

    runs_set_limits(runs, &limits);
}

static void happen_to_client(struct http_request *client, uint8_t what)
{
    if (client == NULL)
        return;
    if (what == 0)
        client_leave(client, take() % 3);
    else if (what == 1)
        client_give_room(client, ROOM_ALL);
    else
        client_give_room(client, take_size());
}

static void step(void)
{
    uint8_t what = take(), how;
    struct worker *worker;
    uint64_t held_ms;
    unsigned index;

    switch (what & 31) {
    case 0:
        elapse(1u << take() % 14);
        break;
    case 1: /* the front is held */
        held_ms = 100u * take();
        now_ms += held_ms;
        workers_excuse_front(held_ms);
        break;
    case 2:
    case 3:
        submit();
        break;
    case 4:
        if (take_run(&index) == NULL)
            break;
        how = take();
        open_reader(index, how, take() & 1 ? take_size() : ROOM_ALL);
        break;
    case 5:
    case 6:
    case 7:
        happen_to_client(client_at(take()), (what & 31) - 5);
        break;
    case 8:
        cancel();
        break;
    case 9:
        give_input();
        break;
    case 10:
        forget();
        break;
    case 11:
        set_limits();
        break;
    case 12:
        operate(take() % 7);
        break;
    case 13:
        if (take() & 1)
            workers_fail_spawn();
        else
            clients_fail_watch();
        break;
    case 14:
        if (take_run(&index))
            held[index].last = take();
        break;
    case 15:
        turn();
        break;
    default:
        worker = worker_at(what >> 5);
        if (worker)
            happen_to(worker, (what & 31) - 16);
        return; /* several things happen to workers in one turn */
    }
    if (what & 32)
        turn();
}

/* ---- beginning and end ---- */

static void setup(void)
{
    static const struct deployment_handler handler = {
        .may_be_called = may_be_called, .settled = on_settled, .emptied = on_emptied};
    const struct pace_times times = {.heartbeat_ms = 15000, .stall_ms = 30000};
    struct runs_limits limits = {.retention_ms = 60000, .log_budget = 8u * 1024 * 1024};
    struct config_plugin *plugin;

    now_ms = 1000000;
    log_open("fuzz", "", LOG_FATAL);
    memset(&loop, 0, sizeof loop);
    uv_loop_init(&loop);
    patience_clock_open(&loop, &patience);
    config = config_create();
    config->drain_timeout = take() % 16;
    config->max_generations = 2 + take() % 3;
    config->start_timeout = 10;
    config->stuck_timeout = 5;
    plugin = &config->plugin_defaults;
    plugin->workers = 1 + take() % 2;
    plugin->max_live = take() % 4;
    plugin->max_queued = 8;
    plugin->max_runs = take() % 4;
    limits.log_size = (size_t)1024 << take() % 9;
    runs = runs_create(&loop, &limits);
    streams = streams_create(&loop, &times);
    collectors = collectors_create(&loop, &times);
    deployment = deployment_create(&loop, config, NULL, "/nowhere/agent.so", &handler, NULL);
    deployment_reload(deployment, expect_reply());
    if (take() & 1) /* begin with a worker that is ready */
        for (int i = 0; i < 4; i++) {
            struct worker *worker;

            turn();
            if ((worker = worker_at(0)))
                worker_serve(worker);
        }
}

/*
 * What is dead is reaped, and what was hostile dies some day. Of the others, all do what they
 * should; or half of them, and the others nothing.
 */
static void behave(bool all, uint64_t until)
{
    for (unsigned i = workers_count(); i-- > 0;) {
        struct worker *worker = worker_at(i);

        if (worker_is_hostile(worker) && now_ms + OVER_MS / 2 > until)
            worker_die(worker, false);
        if (worker_is_dead(worker))
            worker_reap(worker, 1);
        else if (all || i % 2)
            worker_finish(worker);
    }
}

static bool all_ended(void)
{
    return runs_live(runs) == 0 && clients_open() == 0;
}

/* All read, and agents emit nothing: they have credit then. */
static void catch_up(void)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (client_at(i))
            client_give_room(client_at(i), ROOM_ALL);
    }
    for (unsigned step = 0; step < 20; step++) {
        for (unsigned i = workers_count(); i-- > 0;)
            worker_serve(worker_at(i));
        elapse(STEP_MS);
    }
    for (unsigned i = workers_count(); i-- > 0;)
        worker_serve(worker_at(i));
    for (unsigned i = workers_count(); i-- > 0;)
        worker_check_credit(worker_at(i));
}

/* Workers are honest and clients read: all ends without a stop, at the latest by timeouts. */
static void settle(void)
{
    uint64_t until = now_ms + OVER_MS;

    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        if (client_at(i) && i % 3)
            client_give_room(client_at(i), ROOM_ALL); /* others never read again */
    }
    while ((!all_ended() || replies_due > 0) && now_ms < until) {
        behave(true, until);
        elapse(STEP_MS);
    }
    LAW(runs_live(runs) == 0, "a run does not end");
    LAW(clients_open() == 0, "a client is not answered");
    LAW(replies_due == 0, "an operator is not answered");
}

static void stop(void)
{
    uint64_t until = now_ms + OVER_MS;

    deployment_stop(deployment);
    while ((!deployment_is_empty(deployment) || workers_count() > 0 || !all_ended() ||
            image_is_copied()) &&
           now_ms < until) {
        behave(false, until);
        elapse(STEP_MS);
    }
    LAW(deployment_is_empty(deployment) && workers_count() == 0, "a worker does not end");
    LAW(runs_live(runs) == 0, "a run does not end when the host stops");
    LAW(clients_open() == 0, "a client is not answered when the host stops");
    LAW(replies_due == 0, "an operator is not answered");
}

static void teardown(void)
{
    static const struct runs_limits nothing = {.retention_ms = 0};

    for (unsigned i = 0; i < RUNS_MAX; i++) {
        if (held[i].run)
            run_unref(held[i].run);
        held[i].run = NULL;
    }
    runs_set_limits(runs, &nothing);
    elapse(2000);
    LAW(runs_memory(runs) == 0, "memory of runs is not given back");
    LAW(runs_live_of(runs, "ann") == 0 && runs_live_of(runs, "bob") == 0,
        "a client is charged for runs that have ended");
    deployment_destroy(deployment);
    streams_destroy(streams);
    collectors_destroy(collectors);
    runs_destroy(runs);
    patience_clock_close(&patience);
    uv_run(&loop, UV_RUN_DEFAULT);
    LAW(uv_loop_close(&loop) == 0, "a handle is left");
    LAW(image_count() == 0, "an image is left");
    config_destroy(config);
    workers_reset();
    clients_reset();
    truth_reset();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t how;

    input = data;
    left = size;
    how = take();
    setup();
    while (left > 0)
        step();
    if ((how & 3) == 3)
        catch_up();
    if (how & 1)
        settle();
    stop();
    teardown();
    return 0;
}
