#include "worker_fixture.h"
#include "../case.h"
#include "base/json.h"
#include "base/log.h"
#include "worker/host_table.h"

#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uv_loop_t loop;
struct worker *worker;
struct probe_life life;
struct account accounts[RUNS];
struct record *records;
size_t record_count;
unsigned other_frames;
unsigned times_left;
size_t sink_takes;

static void note_event(const struct wire_frame *frame)
{
    const char *type, *json;
    size_t type_length, json_length;
    struct record *record;

    ck_assert_int_eq(wire_read_event(frame, &type, &type_length, &json, &json_length), 0);
    ck_assert_int_eq(json_check(json, json_length), (ssize_t)json_length);
    ck_assert_uint_le(wire_charge(type_length, json_length), accounts[frame->run].credit);
    accounts[frame->run].credit -= wire_charge(type_length, json_length);
    accounts[frame->run].events++;
    if (record_count % 1024 == 0)
        records = realloc(records, (record_count + 1024) * sizeof *records);
    record = &records[record_count++];
    *record = (struct record){.run = frame->run, .length = json_length};
    memcpy(record->type, type, type_length);
    memcpy(record->json, json, json_length < 95 ? json_length : 95);
}

static void note_end(const struct wire_frame *frame)
{
    struct account *account = &accounts[frame->run];
    struct wire_end end;

    ck_assert_int_eq(wire_read_end(frame, &end), 0);
    account->ended = true;
    account->status = end.status;
    account->code = strdup(end.code);
    account->message = strdup(end.message);
    account->result = strdup(end.result);
}

/* Check the counts like the front, which refuses impossible ones. */
static void note_waiting(const struct wire_frame *frame)
{
    struct account *account = &accounts[frame->run];
    size_t length = strlen(account->reports);
    uint32_t counts[2];

    memcpy(counts, frame->data, sizeof counts);
    ck_assert_uint_ge(counts[0], account->taken);
    ck_assert_uint_le(counts[0], account->given);
    account->taken = counts[0];
    account->awaited = counts[1];
    account->report_count++;
    snprintf(account->reports + length, sizeof account->reports - length, "%u/%u ", counts[0],
             counts[1]);
}

/* It says no number twice in a row. */
static void note_held(const struct wire_frame *frame)
{
    struct account *account = &accounts[frame->run];
    uint32_t held;

    memcpy(&held, frame->data, sizeof held);
    ck_assert_uint_ne(held, account->held);
    account->held = held;
}

static void note_frame(const struct wire_frame *frame)
{
    if (frame->type != WIRE_EVENT && frame->type != WIRE_END && frame->type != WIRE_WAITING &&
        frame->type != WIRE_HELD && frame->type != WIRE_CLOSED) {
        ck_assert_uint_eq(frame->run, 0);
        other_frames++;
        return;
    }
    ck_assert_uint_lt(frame->run, RUNS);
    ck_assert(!accounts[frame->run].ended);
    if (frame->type == WIRE_EVENT)
        note_event(frame);
    else if (frame->type == WIRE_WAITING)
        note_waiting(frame);
    else if (frame->type == WIRE_HELD)
        note_held(frame);
    else if (frame->type == WIRE_CLOSED)
        accounts[frame->run].closed++;
    else
        note_end(frame);
}

/* Stop the loop, so that uv_run() returns to a case that waits for a frame. */
static void on_take(void *data, struct buf *frames)
{
    static struct buf arrived;
    struct wire_frame frame;
    size_t length = buf_length(frames) < sink_takes ? buf_length(frames) : sink_takes;
    ssize_t size;

    ck_assert_ptr_eq(data, &life);
    ck_assert_uint_gt(buf_length(frames), 0);
    buf_append(&arrived, buf_data(frames), length);
    buf_consume(frames, length);
    while ((size = wire_next(&arrived, WIRE_WORKER, &frame)) > 0) {
        note_frame(&frame);
        buf_consume(&arrived, (size_t)size);
    }
    ck_assert_int_eq(size, 0);
    uv_stop(&loop);
}

static void on_left(void *data)
{
    ck_assert_ptr_eq(data, &life);
    times_left++;
    uv_stop(&loop);
}

static const struct worker_sink sink = {.take = on_take, .left = on_left};

struct notes notes;

struct task_note tasked[TASKS];
atomic_uint calls;

void note_status(int status)
{
    unsigned at = atomic_fetch_add(&notes.count, 1);

    if (at < sizeof notes.status / sizeof *notes.status)
        notes.status[at] = status;
}

void note_text(int slot, const char *text)
{
    snprintf(notes.text[slot], sizeof notes.text[slot], "%s", text ? text : "none");
}

const char *plugin_path(const char *name)
{
    static char path[PATH_MAX];
    const char *folder = getenv("SLUICE_TEST_PLUGINS");

    ck_assert_msg(folder != NULL, "SLUICE_TEST_PLUGINS does not say where the plugins are");
    snprintf(path, sizeof path, "%s/%s.so", folder, name);
    return path;
}

void open_plugin(const char *name)
{
    struct refusal refusal = {.step = "none"};
    int status = worker_open(worker, plugin_path(name), plugin_path(name), &refusal);

    ck_assert_msg(status == 0, "%s: %s", refusal.step, why_text(&refusal.why));
    ck_assert_str_eq(worker_plugin(worker)->name, name);
}

int create_plugin(unsigned threads, const char *state, struct refusal *refusal)
{
    struct worker_settings settings = {.threads = threads, .stack_size = 256 * 1024};
    char config[64];

    snprintf(config, sizeof config, "{\"life\":\"%p\"}", (void *)&life);
    return worker_create_plugin(worker, &settings, config, state, refusal);
}

void setup(void)
{
    struct account whole = {.credit = WIRE_WINDOW};

    log_open("test", "", LOG_FATAL);
    agent_host_table = host_table(); /* for agents that are functions of a test */
    for (size_t i = 0; i < RUNS; i++)
        accounts[i] = whole;
    memset(&life, 0, sizeof life);
    memset(&notes, 0, sizeof notes);
    memset(&tasked, 0, sizeof tasked);
    record_count = 0;
    other_frames = times_left = 0;
    sink_takes = SIZE_MAX;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    worker = worker_create(&loop, &sink, &life);
}

static void setup_plugin(const char *name, unsigned threads)
{
    struct refusal refusal = {.step = "none"};

    setup();
    open_plugin(name);
    ck_assert_int_eq(create_plugin(threads, NULL, &refusal), 0);
}

void setup_threads(void)
{
    setup_plugin("unit_probe", 16);
}

void setup_one_thread(void)
{
    setup_plugin("unit_probe", 1);
}

void setup_two_threads(void)
{
    setup_plugin("unit_probe", 2);
}

void setup_fibers(void)
{
    setup_plugin("unit_probe_fiber", 0);
}

void teardown(void)
{
    worker_destroy(worker);
    while (uv_run(&loop, UV_RUN_DEFAULT))
        ;
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < RUNS; i++) {
        free(accounts[i].code);
        free(accounts[i].message);
        free(accounts[i].result);
    }
    free(records);
    records = NULL;
}

void start_plugin(uint32_t run, const char *input)
{
    struct buf pairs = {0};
    char mark[16];

    snprintf(mark, sizeof mark, "%u", run);
    wire_append_pair(&pairs, "input", input);
    wire_append_pair(&pairs, PROBE_MARK, mark);
    ck_assert_int_eq(worker_start(worker, run, buf_data(&pairs), buf_length(&pairs)), 0);
    buf_finish(&pairs);
}

void start(uint32_t run, int (*agent)(void))
{
    struct buf pairs = {0};
    char address[32], mark[16];
    void *pointer;

    memcpy(&pointer, &agent, sizeof pointer);
    snprintf(address, sizeof address, "%p", pointer);
    snprintf(mark, sizeof mark, "%u", run);
    wire_append_pair(&pairs, "input", "{\"a\": 1}");
    wire_append_pair(&pairs, "run.id", "abc");
    wire_append_pair(&pairs, PROBE_CALL, address);
    wire_append_pair(&pairs, PROBE_MARK, mark);
    ck_assert_int_eq(worker_start(worker, run, buf_data(&pairs), buf_length(&pairs)), 0);
    buf_finish(&pairs);
}

void give_credit(uint32_t run, size_t bytes)
{
    accounts[run].credit += bytes;
    worker_credit(worker, run, bytes);
}

void give_input(uint32_t run, const char *json)
{
    accounts[run].given++;
    worker_input(worker, run, 0, json);
}

void wait_for_awaited(uint32_t run, uint32_t count)
{
    while (accounts[run].awaited != count)
        uv_run(&loop, UV_RUN_ONCE);
}

void expect_reports(uint32_t run, const char *reports)
{
    ck_assert_str_eq(accounts[run].reports, reports);
}

void wait_for_end(uint32_t run)
{
    while (!accounts[run].ended)
        uv_run(&loop, UV_RUN_ONCE);
}

void wait_for_events(uint32_t run, size_t count)
{
    while (accounts[run].events < count)
        uv_run(&loop, UV_RUN_ONCE);
}

void run_agent(int (*agent)(void))
{
    start(1, agent);
    wait_for_end(1);
}

bool loop_comes_to_rest(void)
{
    unsigned quiet = 0;

    for (int turn = 0; turn < 1000 && quiet < 4; turn++) {
        struct pollfd fd = {.fd = uv_backend_fd(&loop), .events = POLLIN};
        uv_run(&loop, UV_RUN_NOWAIT);
        quiet = uv_backend_timeout(&loop) != 0 && poll(&fd, 1, 0) == 0 ? quiet + 1 : 0;
    }
    return quiet == 4;
}

const struct record *nth_event(uint32_t run, size_t nth)
{
    for (size_t i = 0; i < record_count; i++) {
        if (records[i].run == run && nth-- == 0)
            return &records[i];
    }
    ck_abort_msg("run %u has no such event", run);
    return NULL;
}

void expect_event(uint32_t run, size_t nth, const char *type, const char *json)
{
    const struct record *record = nth_event(run, nth);

    ck_assert_str_eq(record->type, type);
    ck_assert_str_eq(record->json, json);
}

void expect_end(uint32_t run, enum wire_status status, const char *code, const char *message,
                const char *result)
{
    ck_assert_int_eq(accounts[run].status, status);
    ck_assert_str_eq(accounts[run].code, code);
    ck_assert_str_eq(accounts[run].message, message);
    ck_assert_str_eq(accounts[run].result, result);
}

void expect_finished(uint32_t run)
{
    expect_end(run, WIRE_FINISHED, "", "", "");
}

void expect_cancelled(uint32_t run)
{
    expect_end(run, WIRE_CANCELLED, "", "", "");
}

int agent_emits(void)
{
    note_status(emit_event("step", " {\"name\" : [ 1, \" a \\\" b \" ] }\n"));
    note_status(emit_text("say \"hi\"\n\xc3\xa4"));
    note_status(emit_text(""));
    note_status(emit_event("A.b-c_d:9", "null"));
    return 0;
}

char *long_string(size_t letters, size_t white)
{
    char *json = malloc(letters + white + 3);

    memset(json, ' ', white);
    memset(json + white, 'a', letters + 2);
    json[white] = json[white + letters + 1] = '"';
    json[white + letters + 2] = '\0';
    return json;
}

int emit_long(size_t letters, size_t white)
{
    char *json = long_string(letters, white);
    int status = emit_event("x", json);

    free(json);
    return status;
}

/* Emit a text of line breaks, each of which takes two bytes as JSON. */
static int emit_breaks(size_t count)
{
    char *text = malloc(count + 1);
    int status;

    memset(text, '\n', count);
    text[count] = '\0';
    status = emit_text(text);
    free(text);
    return status;
}

int agent_emits_too_much(void)
{
    note_status(emit_long(AGENT_EVENT_MAX - 1, 0));
    note_status(emit_long(2 * AGENT_EVENT_MAX, 0));
    note_status(emit_breaks(AGENT_EVENT_MAX / 2));
    note_status(emit_long(AGENT_EVENT_MAX - 2, 1000));
    return 0;
}

int agent_nothing(void)
{
    return 0;
}

int agent_floods(void)
{
    for (size_t i = 0; i < IN_WINDOW + 5; i++) {
        int status = emit_long(CHUNK - 2, 0);
        if (status < 0) {
            note_status(status);
            return status;
        }
    }
    return 0;
}

int agent_fills_its_window(void)
{
    for (size_t i = 0; i < IN_WINDOW; i++) {
        int status = emit_long(CHUNK - 2, 0);
        if (status < 0)
            return status;
    }
    return 0;
}

int agent_sleeps(void)
{
    emit_event("asleep", "1");
    return agent_sleep(HOUR_MS);
}

atomic_int open_gate;

int agent_waits_at_gate(void)
{
    emit_event("there", "1");
    while (!atomic_load(&open_gate))
        sched_yield();
    return 0;
}

int task_returns(void *arg)
{
    struct task_note *note = arg;

    note->called = true;
    return note->result;
}

int task_echoes(void *arg)
{
    struct task_note *note = arg;
    const char *json;

    note->called = true;
    note->status = run_input(AGENT_FOREVER, &json);
    if (note->status == 0)
        emit_event("echo", json);
    return note->status == 0 ? note->result : note->status;
}
