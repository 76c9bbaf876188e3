/*
 * The worker with a sink that takes notes. The plugins are unit_probe.so and
 * unit_probe_fiber.so, in the folder that SLUICE_TEST_PLUGINS names; they call
 * the functions named agent_... below as agents. Most tests run once in each
 * mode.
 *
 * Agents may not assert, since a failed assertion leaves by longjmp(): they
 * note what they saw, and the test looks at the notes when their run is over.
 *
 * In every test the sink itself checks that no run overdraws its credit, and
 * that nothing follows a run's end.
 */
#include "../case.h"
#include "worker/worker.h"

#include "../plugins/unit_probe.h"
#include "agent.h"
#include "agent_http.h"
#include "base/json.h"
#include "base/log.h"
#include "wire/frames.h"
#include "worker/host_table.h"
#include "worker/outbox.h"

#include <limits.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOUR_MS (60 * 60 * 1000)
#define RUNS    4096 /* numbers that tests use are below */

/* ---- the sink ---- */

struct record {
    uint32_t run;
    char type[WIRE_TYPE_MAX + 1];
    size_t length; /* of the JSON */
    char json[96]; /* cut */
};

/* What is known of a run. */
struct account {
    size_t events;
    size_t credit;
    uint32_t given;          /* inputs */
    uint32_t taken, awaited; /* inputs, as it said last */
    unsigned report_count;   /* how often it said so */
    char reports[128];       /* TAKEN/AWAITED, each followed by a space; cut */
    bool ended;
    enum wire_status status;
    char *code;
    char *message;
    char *result;
};

static uv_loop_t loop;
static struct worker *worker;
static struct probe_life life;
static struct account accounts[RUNS];
static struct record *records;
static size_t record_count;
static unsigned other_frames; /* about no run */
static unsigned times_left;
static size_t sink_takes; /* so many bytes at once */

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

/* As the front does, it refuses what cannot be. */
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

static void note_frame(const struct wire_frame *frame)
{
    if (frame->type != WIRE_EVENT && frame->type != WIRE_END && frame->type != WIRE_WAITING) {
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
    else
        note_end(frame);
}

/* The loop is stopped, so that uv_run() returns to the test, which may wait for this. */
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

/* ---- notes of agents ---- */

static struct {
    int status[16];
    atomic_uint count;
    char text[8][64];
    struct agent_ctx *captured;
    pthread_t thread;
} notes;

#define TASKS 8

/* What a task is given, and what it notes. */
struct task_note {
    int result; /* what it shall return */
    int status;
    int join_status;
    atomic_bool called;
    atomic_bool begun;
    const char *name;
    char text[3][64];
    _Atomic(struct agent_task *) handle;
};

static struct task_note tasked[TASKS];
static atomic_uint calls;

static void note_status(int status)
{
    unsigned at = atomic_fetch_add(&notes.count, 1);

    if (at < sizeof notes.status / sizeof *notes.status)
        notes.status[at] = status;
}

static void note_text(int slot, const char *text)
{
    snprintf(notes.text[slot], sizeof notes.text[slot], "%s", text ? text : "none");
}

/* ---- the worker ---- */

static const char *plugin_path(const char *name)
{
    static char path[PATH_MAX];
    const char *folder = getenv("SLUICE_TEST_PLUGINS");

    ck_assert_msg(folder != NULL, "SLUICE_TEST_PLUGINS does not say where the plugins are");
    snprintf(path, sizeof path, "%s/%s.so", folder, name);
    return path;
}

static void open_plugin(const char *name)
{
    struct plugin_refusal refusal = {.step = "none"};
    int status = worker_open(worker, plugin_path(name), plugin_path(name), &refusal);

    ck_assert_msg(status == 0, "%s: %s", refusal.step, refusal.reason);
    ck_assert_str_eq(worker_plugin(worker)->name, name);
}

static int create_plugin(unsigned threads, const char *state, struct plugin_refusal *refusal)
{
    struct worker_settings settings = {.threads = threads, .stack_size = 256 * 1024};
    char config[64];

    snprintf(config, sizeof config, "{\"life\":\"%p\"}", (void *)&life);
    return worker_create_plugin(worker, &settings, config, state, refusal);
}

static void setup(void)
{
    struct account whole = {.credit = WIRE_WINDOW};

    log_open("test", "", LOG_FATAL);
    agent_host_table = runtime_host(); /* of the agents in this file */
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
    struct plugin_refusal refusal = {.step = "none"};

    setup();
    open_plugin(name);
    ck_assert_int_eq(create_plugin(threads, NULL, &refusal), 0);
}

static void setup_threads(void)
{
    setup_plugin("unit_probe", 16);
}

static void setup_one_thread(void)
{
    setup_plugin("unit_probe", 1);
}

static void setup_two_threads(void)
{
    setup_plugin("unit_probe", 2);
}

static void setup_fibers(void)
{
    setup_plugin("unit_probe_fiber", 0);
}

static void teardown(void)
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

/* Starts a run whose agent is the plugin itself. */
static void start_plugin(uint32_t run, const char *input)
{
    struct buf pairs = {0};
    char mark[16];

    snprintf(mark, sizeof mark, "%u", run);
    wire_append_pair(&pairs, "input", input);
    wire_append_pair(&pairs, PROBE_MARK, mark);
    ck_assert_int_eq(worker_start(worker, run, buf_data(&pairs), buf_length(&pairs)), 0);
    buf_finish(&pairs);
}

/* Starts a run whose agent is this function. */
static void start(uint32_t run, int (*agent)(void))
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

static void give_credit(uint32_t run, size_t bytes)
{
    accounts[run].credit += bytes;
    worker_credit(worker, run, bytes);
}

static void give_input(uint32_t run, const char *json)
{
    accounts[run].given++;
    worker_input(worker, run, json);
}

/* Until so many of its tasks wait for an input. */
static void wait_for_awaited(uint32_t run, uint32_t count)
{
    while (accounts[run].awaited != count)
        uv_run(&loop, UV_RUN_ONCE);
}

static void expect_reports(uint32_t run, const char *reports)
{
    ck_assert_str_eq(accounts[run].reports, reports);
}

static void wait_for_end(uint32_t run)
{
    while (!accounts[run].ended)
        uv_run(&loop, UV_RUN_ONCE);
}

static void wait_for_events(uint32_t run, size_t count)
{
    while (accounts[run].events < count)
        uv_run(&loop, UV_RUN_ONCE);
}

/* Runs the agent to its end. */
static void run_agent(int (*agent)(void))
{
    start(1, agent);
    wait_for_end(1);
}

/* Turns the loop until it has nothing to do at once; false if that does not come. */
static bool loop_comes_to_rest(void)
{
    unsigned quiet = 0;

    for (int turn = 0; turn < 1000 && quiet < 4; turn++) {
        struct pollfd fd = {.fd = uv_backend_fd(&loop), .events = POLLIN};
        uv_run(&loop, UV_RUN_NOWAIT);
        quiet = uv_backend_timeout(&loop) != 0 && poll(&fd, 1, 0) == 0 ? quiet + 1 : 0;
    }
    return quiet == 4;
}

static const struct record *nth_event(uint32_t run, size_t nth)
{
    for (size_t i = 0; i < record_count; i++) {
        if (records[i].run == run && nth-- == 0)
            return &records[i];
    }
    ck_abort_msg("run %u has no such event", run);
    return NULL;
}

static void expect_event(uint32_t run, size_t nth, const char *type, const char *json)
{
    const struct record *record = nth_event(run, nth);

    ck_assert_str_eq(record->type, type);
    ck_assert_str_eq(record->json, json);
}

static void expect_end(uint32_t run, enum wire_status status, const char *code, const char *message,
                       const char *result)
{
    ck_assert_int_eq(accounts[run].status, status);
    ck_assert_str_eq(accounts[run].code, code);
    ck_assert_str_eq(accounts[run].message, message);
    ck_assert_str_eq(accounts[run].result, result);
}

static void expect_finished(uint32_t run)
{
    expect_end(run, WIRE_FINISHED, "", "", "");
}

static void expect_cancelled(uint32_t run)
{
    expect_end(run, WIRE_CANCELLED, "", "", "");
}

/* ---- load ---- */

CASES("load", .setup = setup, .teardown = teardown);

CASE(without_a_plugin)
{
    ck_assert_ptr_null(worker_plugin(worker));
    worker_send(worker, WIRE_READY, NULL, 0);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(other_frames, 1);
}

CASE(no_worker)
{
    worker_destroy(NULL);
}

CASE(missing_file)
{
    struct plugin_refusal refusal;
    const char *path = plugin_path("unit_no_such_file");

    ck_assert_int_eq(worker_open(worker, path, path, &refusal), -EINVAL);
    ck_assert_str_eq(refusal.step, "open");
    ck_assert_ptr_nonnull(strstr(refusal.reason, path));
    ck_assert_ptr_null(worker_plugin(worker));
}

CASE(created_and_tested)
{
    struct plugin_refusal refusal;

    open_plugin("unit_probe");
    ck_assert_int_eq(worker_plugin(worker)->mode, AGENT_THREAD);
    ck_assert_int_eq(life.created, 0);
    ck_assert_int_eq(create_plugin(1, "{\"kept\":1}", &refusal), 0);
    ck_assert_int_eq(life.created, 1);
    ck_assert_int_eq(life.tested, 1);
    ck_assert_int_eq(life.destroyed, 0);
    ck_assert_str_eq(life.state, "{\"kept\":1}");
    ck_assert_ptr_eq(strstr(life.config, "{\"life\":"), life.config);
}

CASE(create_without_state)
{
    struct plugin_refusal refusal;

    open_plugin("unit_probe_fiber");
    ck_assert_int_eq(worker_plugin(worker)->mode, AGENT_FIBER);
    ck_assert_int_eq(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(life.state, "none");
}

CASE(create_fails)
{
    struct plugin_refusal refusal;

    life.create_status = -ENOENT;
    open_plugin("unit_probe");
    ck_assert_int_lt(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(refusal.step, "create");
    ck_assert_ptr_nonnull(strstr(refusal.reason, "create() returned -2"));
    ck_assert_ptr_nonnull(strstr(refusal.reason, "the probe was told to fail in create"));
    ck_assert_int_eq(life.tested, 0);
}

CASE(selftest_fails)
{
    struct plugin_refusal refusal;

    life.selftest_status = -EIO;
    open_plugin("unit_probe");
    ck_assert_int_lt(create_plugin(1, NULL, &refusal), 0);
    ck_assert_str_eq(refusal.step, "selftest");
    ck_assert_ptr_nonnull(strstr(refusal.reason, "selftest() returned -5"));
    ck_assert_ptr_nonnull(strstr(refusal.reason, "the probe was told to fail in selftest"));
}

/* ---- the plugin's own code, from any place of it ---- */

CASES("emit on threads", .setup = setup_threads, .teardown = teardown);
CASES("emit on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(from_a_helper)
{
    start_plugin(7, "\"helper\"");
    wait_for_end(7);
    expect_finished(7);
    ck_assert_uint_eq(record_count, 1);
    expect_event(7, 0, "helper", "7");
}

CASE(from_a_recursion)
{
    start_plugin(7, "\"recursion\"");
    wait_for_end(7);
    expect_finished(7);
    ck_assert_uint_eq(record_count, 5);
    for (int depth = 1; depth <= 5; depth++) {
        char type[24];
        snprintf(type, sizeof type, "depth%d", depth);
        expect_event(7, (size_t)depth - 1, type, "7");
    }
}

CASE(from_a_second_source_file)
{
    start_plugin(7, "\"second\"");
    wait_for_end(7);
    expect_finished(7);
    expect_event(7, 0, "second", "7");
}

CASE(from_a_bound_thread)
{
    start_plugin(7, "\"thread\"");
    wait_for_end(7);
    expect_finished(7);
    expect_event(7, 0, "thread", "7");
}

CASE(from_a_thread_that_is_not_bound)
{
    uint64_t before = runtime_stray_emits();
    char wanted[16];

    start_plugin(7, "\"stray\"");
    wait_for_end(7);
    expect_finished(7);
    snprintf(wanted, sizeof wanted, "%d", -ENXIO);
    ck_assert_uint_eq(record_count, 1);
    expect_event(7, 0, "returned", wanted);
    ck_assert_uint_eq(runtime_stray_emits(), before + 1);
}

CASE(many_runs_at_once)
{
    static const char *const types[] = {"helper", "depth1", "depth2", "depth3",
                                        "depth4", "depth5", "second", "thread"};
    enum { COUNT = 30 };

    for (uint32_t run = 1; run <= COUNT; run++)
        start_plugin(run, "\"all\"");
    for (uint32_t run = 1; run <= COUNT; run++) {
        char mark[16];
        wait_for_end(run);
        expect_finished(run);
        snprintf(mark, sizeof mark, "%u", run);
        ck_assert_uint_eq(accounts[run].events, 8);
        for (size_t i = 0; i < 8; i++)
            expect_event(run, i, types[i], mark);
    }
}

/* ---- emit ---- */

static int agent_emits(void)
{
    note_status(emit_event("step", " {\"name\" : [ 1, \" a \\\" b \" ] }\n"));
    note_status(emit_text("say \"hi\"\n\xc3\xa4"));
    note_status(emit_text(""));
    note_status(emit_event("A.b-c_d:9", "null"));
    return 0;
}

CASE(events_as_they_leave)
{
    run_agent(agent_emits);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_uint_eq(record_count, 4);
    expect_event(1, 0, "step", "{\"name\":[1,\" a \\\" b \"]}");
    expect_event(1, 1, "text", "{\"delta\":\"say \\\"hi\\\"\\n\xc3\xa4\"}");
    expect_event(1, 2, "text", "{\"delta\":\"\"}");
    expect_event(1, 3, "A.b-c_d:9", "null");
}

static int agent_emits_bad_types(void)
{
    static const char *const types[] = {"run", "gap", "done", "error",    "open", "",
                                        "a b", "a\n", "a/b",  "\xc3\xa4", NULL};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        note_status(emit_event(types[i], "{}"));
    return 0;
}

CASE(reserved_and_bad_types)
{
    run_agent(agent_emits_bad_types);
    ck_assert_uint_eq(notes.count, 11);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_msg(notes.status[i] == -EINVAL, "%u: %d", i, notes.status[i]);
    ck_assert_uint_eq(record_count, 0);
    expect_finished(1);
}

static int agent_emits_long_types(void)
{
    char type[AGENT_TYPE_MAX + 2];

    memset(type, 't', sizeof type);
    type[AGENT_TYPE_MAX + 1] = '\0';
    note_status(emit_event(type, "{}"));
    type[AGENT_TYPE_MAX] = '\0';
    note_status(emit_event(type, "{}"));
    return 0;
}

CASE(longest_type)
{
    run_agent(agent_emits_long_types);
    ck_assert_int_eq(notes.status[0], -EINVAL);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_uint_eq(record_count, 1);
    ck_assert_uint_eq(strlen(records[0].type), AGENT_TYPE_MAX);
}

static int agent_emits_bad_json(void)
{
    static const char *const bad[] = {"", "{", "{a:1}", "[1,]", "\"\xff\"", "1 2", NULL};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        note_status(emit_event("x", bad[i]));
    note_status(emit_text("\xff"));
    note_status(emit_text("\xed\xa0\x80"));
    note_status(emit_text(NULL));
    return 0;
}

CASE(invalid_json_and_utf8)
{
    run_agent(agent_emits_bad_json);
    ck_assert_uint_eq(notes.count, 10);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_msg(notes.status[i] == -EINVAL, "%u: %d", i, notes.status[i]);
    ck_assert_uint_eq(record_count, 0);
}

/* A JSON string with so many letters inside, and white space around. */
static char *long_string(size_t letters, size_t white)
{
    char *json = malloc(letters + white + 3);

    memset(json, ' ', white);
    memset(json + white, 'a', letters + 2);
    json[white] = json[white + letters + 1] = '"';
    json[white + letters + 2] = '\0';
    return json;
}

static int emit_long(size_t letters, size_t white)
{
    char *json = long_string(letters, white);
    int status = emit_event("x", json);

    free(json);
    return status;
}

/* Each line break takes two bytes when it is escaped. */
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

static int agent_emits_too_much(void)
{
    note_status(emit_long(AGENT_EVENT_MAX - 1, 0));
    note_status(emit_long(2 * AGENT_EVENT_MAX, 0));
    note_status(emit_breaks(AGENT_EVENT_MAX / 2));
    note_status(emit_long(AGENT_EVENT_MAX - 2, 1000));
    return 0;
}

CASE(oversize)
{
    run_agent(agent_emits_too_much);
    ck_assert_int_eq(notes.status[0], -EMSGSIZE);
    ck_assert_int_eq(notes.status[1], -EMSGSIZE);
    ck_assert_int_eq(notes.status[2], -EMSGSIZE);
    ck_assert_int_eq(notes.status[3], 0);
    ck_assert_uint_eq(record_count, 1);
    ck_assert_uint_eq(records[0].length, AGENT_EVENT_MAX);
}

CASE(from_nowhere)
{
    uint64_t before = runtime_stray_emits();
    const char *json;

    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_int_eq(emit_event(NULL, NULL), -ENXIO);
    ck_assert_int_eq(emit_text("x"), -ENXIO);
    ck_assert_uint_eq(runtime_stray_emits(), before + 3);
    ck_assert_ptr_null(ctx_get("input"));
    ck_assert_int_eq(ctx_set("a", "1"), -ENXIO);
    ck_assert_ptr_null(ctx_capture());
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ctx_release(NULL);
    ck_assert_int_eq(run_cancelled(), 0);
    ck_assert_int_eq(run_fail("x", "y"), -ENXIO);
    ck_assert_int_eq(run_result("1"), -ENXIO);
    ck_assert_int_eq(agent_sleep(0), -ENXIO);
    ck_assert_int_eq(run_input(0, &json), -ENXIO);
    ck_assert_int_eq(run_input(AGENT_FOREVER, NULL), -ENXIO);
    ck_assert_int_eq(task_spawn(NULL, NULL, NULL), -ENXIO);
    ck_assert_int_eq(task_join(NULL), -ENXIO);
    ck_assert_int_eq(task_scope("x"), -ENXIO);
    ck_assert_int_eq(agent_http_open(NULL, NULL), -ENXIO);
    ck_assert_int_eq(agent_http_status(NULL), -ENXIO);
    ck_assert_int_eq(agent_http_read(NULL, NULL), -ENXIO);
    ck_assert_ptr_null(agent_http_header(NULL, "x"));
    ck_assert_str_eq(agent_http_error(NULL), "");
    agent_http_close(NULL);
}

static int agent_nothing(void)
{
    return 0;
}

CASE(from_the_loop_while_a_run_waits)
{
    start(1, agent_nothing);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    wait_for_end(1);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_uint_eq(record_count, 0);
}

static int agent_emits_nothing_but_sleeps(void)
{
    return agent_sleep(HOUR_MS);
}

CASE(from_the_loop_while_a_run_sleeps)
{
    start(1, agent_emits_nothing_but_sleeps);
    ck_assert_int_eq(emit_event("x", "1"), -ENXIO);
    ck_assert_ptr_null(ctx_get("input"));
    worker_cancel(worker, 1);
    wait_for_end(1);
}

/* ---- credit ---- */

#define CHUNK      (64 * 1024)
#define CHUNK_COST (CHUNK + 1 + WIRE_CHARGE)
#define IN_WINDOW  (WIRE_WINDOW / CHUNK_COST)

/* More than a window takes. */
static int agent_floods(void)
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

CASES("waits on threads", .setup = setup_threads, .teardown = teardown);
CASES("waits on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(waits_without_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    for (size_t i = 1; i <= 5; i++) {
        ck_assert(!accounts[1].ended);
        give_credit(1, CHUNK_COST);
        wait_for_events(1, IN_WINDOW + i);
        ck_assert_uint_eq(accounts[1].events, IN_WINDOW + i);
    }
    wait_for_end(1);
    expect_finished(1);
}

CASE(all_credit_at_once)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    give_credit(1, WIRE_WINDOW);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW + 5);
}

/* What is left of the window counts, and a byte too few is too few. */
CASE(too_little_credit)
{
    size_t missing = CHUNK_COST - WIRE_WINDOW % CHUNK_COST;

    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    give_credit(1, 1);
    give_credit(1, missing - 2);
    loop_comes_to_rest();
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
    give_credit(1, 1);
    wait_for_events(1, IN_WINDOW + 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
}

CASE(cancelled_without_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
}

CASE(others_go_on_while_one_waits)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    start(2, agent_emits);
    wait_for_end(2);
    expect_finished(2);
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    wait_for_end(1);
}

/* A run that waits for its reader costs nothing meanwhile. */
CASE(loop_rests_while_a_run_has_no_credit)
{
    start(1, agent_floods);
    wait_for_events(1, IN_WINDOW);
    ck_assert_msg(loop_comes_to_rest(), "the loop spins");
    worker_cancel(worker, 1);
    wait_for_end(1);
}

/* ---- the sink's pace ---- */

CASE(sink_takes_a_little_at_a_time)
{
    sink_takes = 777;
    start_plugin(1, "\"recursion\"");
    start(2, agent_emits_too_much);
    while (!accounts[1].ended || !accounts[2].ended) {
        uv_run(&loop, UV_RUN_NOWAIT);
        worker_flush(worker);
    }
    ck_assert_uint_eq(accounts[1].events, 5);
    ck_assert_uint_eq(accounts[2].events, 1);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/*
 * What was emitted after the sink had to leave frames must leave as well, once
 * the sink says that it can take more. In fiber mode all of this is
 * deterministic: no frame can still be on its way.
 */
CASE(sink_catches_up)
{
    sink_takes = 0;
    start_plugin(1, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    start_plugin(2, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(accounts[1].events, 1);
    ck_assert(accounts[1].ended);
    ck_assert_uint_eq(accounts[2].events, 1);
    ck_assert(accounts[2].ended);
}

CASE(quits_when_the_sink_catches_up)
{
    sink_takes = 0;
    start_plugin(1, "\"helper\"");
    ck_assert(loop_comes_to_rest());
    start_plugin(2, "\"helper\"");
    worker_quit(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 0);
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 1);
}

#define FLOODS (2 * OUTBOX_MAX / WIRE_WINDOW)

static int agent_fills_its_window(void)
{
    for (size_t i = 0; i < IN_WINDOW; i++) {
        int status = emit_long(CHUNK - 2, 0);
        if (status < 0)
            return status;
    }
    return 0;
}

CASES("waits on threads", .setup = setup_threads, .teardown = teardown);
CASES("waits on fibers", .setup = setup_fibers, .teardown = teardown);

/* More than the outbox takes, with a sink that stands still at first. */
CASE(full_outbox)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= FLOODS; run++)
        start(run, agent_fills_its_window);
    loop_comes_to_rest();
    ck_assert_uint_eq(record_count, 0);
    sink_takes = SIZE_MAX;
    for (uint32_t run = 1; run <= FLOODS; run++) {
        while (!accounts[run].ended) {
            worker_flush(worker);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, IN_WINDOW);
    }
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* Agents wait when the outbox is full: what it holds is bounded. */
CASE(full_outbox_makes_agents_wait)
{
    size_t ended = 0;

    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    loop_comes_to_rest();
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        ended += accounts[run].ended;
    ck_assert_uint_lt(ended, 2 * FLOODS);
    ck_assert_uint_le(record_count * CHUNK_COST, 2 * OUTBOX_MAX + 2 * CHUNK_COST);
    for (uint32_t run = 1; run <= 2 * FLOODS; run++) {
        while (!accounts[run].ended) {
            worker_flush(worker);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
}

/* One word of the sink is enough for all that waits. */
CASE(waiting_agents_go_on_when_the_sink_catches_up)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    ck_assert(loop_comes_to_rest());
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    for (uint32_t run = 1; run <= 2 * FLOODS; run++) {
        ck_assert(accounts[run].ended);
        ck_assert_uint_eq(accounts[run].events, IN_WINDOW);
    }
}

/* ---- cancel and sleep ---- */

static int agent_sleeps_long(void)
{
    emit_event("asleep", "1");
    note_status(run_cancelled());
    note_status(agent_sleep(HOUR_MS));
    note_status(run_cancelled());
    note_status(emit_event("late", "1"));
    note_status(emit_text("late"));
    note_status(agent_sleep(HOUR_MS));
    return 0;
}

CASES("waits on threads", .setup = setup_threads, .teardown = teardown);
CASES("waits on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(cancel_wakes_a_sleeper)
{
    start(1, agent_sleeps_long);
    wait_for_events(1, 1);
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], 1);
    ck_assert_int_eq(notes.status[3], -ECANCELED);
    ck_assert_int_eq(notes.status[4], -ECANCELED);
    ck_assert_int_eq(notes.status[5], -ECANCELED);
    ck_assert_uint_eq(record_count, 1);
}

static int agent_sleeps(void)
{
    emit_event("asleep", "1");
    return agent_sleep(HOUR_MS);
}

CASE(cancel_wakes_only_its_run)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sleeps);
    for (uint32_t run = 1; run <= 10; run++)
        wait_for_events(run, 1);
    for (uint32_t run = 1; run <= 10; run++) {
        ck_assert(!accounts[run].ended);
        worker_cancel(worker, run);
        worker_cancel(worker, run);
        wait_for_end(run);
        expect_cancelled(run);
    }
}

CASE(cancel_unknown)
{
    worker_cancel(worker, 0);
    worker_cancel(worker, 5);
    worker_cancel(worker, UINT32_MAX);
    worker_credit(worker, 5, 1);
    worker_credit(worker, UINT32_MAX, 1);
    start(5, agent_nothing);
    wait_for_end(5);
    worker_cancel(worker, 5);
    worker_credit(worker, 5, 1);
    expect_finished(5);
}

static atomic_int open_gate; /* what agents spin on, in thread mode */

static int agent_waits_at_gate(void)
{
    emit_event("there", "1");
    while (!atomic_load(&open_gate))
        sched_yield();
    return 0;
}

CASES("two threads", .setup = setup_two_threads, .teardown = teardown);

/* Both threads are taken, so that the third run waits. */
CASE(cancelled_before_it_has_a_thread)
{
    atomic_store(&open_gate, 0);
    start(1, agent_waits_at_gate);
    start(2, agent_waits_at_gate);
    start(3, agent_emits);
    wait_for_events(1, 1);
    wait_for_events(2, 1);
    worker_cancel(worker, 3);
    atomic_store(&open_gate, 1);
    for (uint32_t run = 1; run <= 3; run++)
        wait_for_end(run);
    expect_finished(1);
    expect_finished(2);
    expect_cancelled(3);
    ck_assert_uint_eq(accounts[3].events, 0);
    ck_assert_uint_eq(notes.count, 0);
}

static atomic_int running, most_running;

static int agent_counts_itself(void)
{
    int now = atomic_fetch_add(&running, 1) + 1, most = atomic_load(&most_running);

    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
        ;
    agent_sleep(2);
    atomic_fetch_sub(&running, 1);
    return 0;
}

CASE(no_more_threads_than_allowed)
{
    atomic_store(&running, 0);
    atomic_store(&most_running, 0);
    for (uint32_t run = 1; run <= 12; run++)
        start(run, agent_counts_itself);
    for (uint32_t run = 1; run <= 12; run++)
        wait_for_end(run);
    ck_assert_int_ge(atomic_load(&most_running), 1);
    ck_assert_int_le(atomic_load(&most_running), 2);
}

static int agent_naps(void)
{
    note_status(agent_sleep(0));
    note_status(agent_sleep(1));
    note_status(agent_sleep(3));
    return 0;
}

CASES("waits on threads", .setup = setup_threads, .teardown = teardown);
CASES("waits on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(sleep_returns)
{
    run_agent(agent_naps);
    expect_finished(1);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(notes.status[i], 0);
}

static int agent_sleeps_50(void)
{
    agent_sleep(50);
    return emit_event("up", "50");
}

static int agent_sleeps_1(void)
{
    agent_sleep(1);
    return emit_event("up", "1");
}

CASE(sleepers_do_not_hold_each_other_up)
{
    start(1, agent_sleeps_50);
    start(2, agent_sleeps_1);
    wait_for_end(1);
    wait_for_end(2);
    ck_assert_str_eq(records[0].json, "1");
    ck_assert_str_eq(records[1].json, "50");
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* Its time is over before the loop turns again, and something else wakes it as well. */
CASE(woken_twice_in_one_turn)
{
    uint64_t started = uv_hrtime();

    start(1, agent_sleeps_1);
    while (uv_hrtime() - started < 3 * 1000 * 1000)
        ;
    give_credit(1, 1);
    wait_for_end(1);
    ck_assert(loop_comes_to_rest());
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, 1);
}

CASE(thousands_at_once)
{
    for (uint32_t run = 1; run <= 2000; run++)
        start(run, agent_sleeps_1);
    for (uint32_t run = 1; run <= 2000; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 1);
    }
}

/* ---- ctx ---- */

static int agent_uses_ctx(void)
{
    const char *first, *host = ctx_get("input");

    note_text(0, host);
    note_text(1, ctx_get("run.id"));
    note_text(2, ctx_get("a"));
    note_status(ctx_set("a", "1"));
    first = ctx_get("a");
    note_status(ctx_set("a", "2"));
    note_text(3, ctx_get("a"));
    note_status(ctx_set("a", NULL));
    note_text(4, ctx_get("a"));
    note_text(5, first); /* still valid */
    note_text(6, ctx_get(NULL));
    note_text(7, host);
    return 0;
}

CASES("ctx on threads", .setup = setup_threads, .teardown = teardown);
CASES("ctx on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(get_and_set)
{
    run_agent(agent_uses_ctx);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_str_eq(notes.text[0], "{\"a\": 1}");
    ck_assert_str_eq(notes.text[1], "abc");
    ck_assert_str_eq(notes.text[2], "none");
    ck_assert_str_eq(notes.text[3], "2");
    ck_assert_str_eq(notes.text[4], "none");
    ck_assert_str_eq(notes.text[5], "1");
    ck_assert_str_eq(notes.text[6], "none");
    ck_assert_str_eq(notes.text[7], "{\"a\": 1}");
}

static int agent_sets_badly(void)
{
    static const char *const keys[] = {NULL, "", "a b", "input", "run.id", "auth.subject"};
    char key[AGENT_CTX_KEY_MAX + 2];

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        note_status(ctx_set(keys[i], "x"));
    memset(key, 'k', sizeof key);
    key[AGENT_CTX_KEY_MAX + 1] = '\0';
    note_status(ctx_set(key, "x"));
    note_status(ctx_set("run.id", NULL));
    note_text(0, ctx_get("run.id"));
    return 0;
}

CASE(set_errors)
{
    static const int wanted[] = {-EINVAL, -EINVAL, -EINVAL, -EPERM,
                                 -EPERM,  -EPERM,  -EINVAL, -EPERM};

    run_agent(agent_sets_badly);
    ck_assert_uint_eq(notes.count, 8);
    for (int i = 0; i < 8; i++)
        ck_assert_msg(notes.status[i] == wanted[i], "%d: %d", i, notes.status[i]);
    ck_assert_str_eq(notes.text[0], "abc");
}

static int agent_sets_too_much(void)
{
    char *value = long_string(AGENT_CTX_MAX / 2, 0);

    note_status(ctx_set("a", value));
    note_status(ctx_set("b", value));
    note_status(ctx_set("c", "small"));
    note_status(ctx_get("a") && strcmp(ctx_get("a"), value) == 0);
    note_text(0, ctx_get("b"));
    free(value);
    return 0;
}

CASE(set_too_much)
{
    run_agent(agent_sets_too_much);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ENOSPC);
    ck_assert_int_eq(notes.status[2], 0);
    ck_assert_int_eq(notes.status[3], 1);
    ck_assert_str_eq(notes.text[0], "none");
}

static int agent_sets_its_mark(void)
{
    int status = ctx_set("mine", ctx_get(PROBE_MARK));

    return status < 0 || (status = agent_sleep(2)) < 0 ? status
                                                       : emit_event("mine", ctx_get("mine"));
}

CASE(runs_do_not_share_variables)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sets_its_mark);
    for (uint32_t run = 1; run <= 10; run++) {
        char mark[16];
        wait_for_end(run);
        snprintf(mark, sizeof mark, "%u", run);
        expect_event(run, 0, "mine", mark);
    }
}

/* ---- inputs ---- */

/* Takes so many inputs and notes them from the slot on. */
static void take_inputs(unsigned count, int slot, uint32_t timeout_ms)
{
    for (unsigned i = 0; i < count; i++) {
        const char *json = NULL;
        int status = run_input(timeout_ms, &json);
        note_status(status);
        note_text(slot + (int)i, json);
    }
}

static int agent_has_no_place_for_input(void)
{
    note_status(run_input(0, NULL));
    note_status(run_input(AGENT_FOREVER, NULL));
    return 0;
}

CASES("inputs on threads", .setup = setup_threads, .teardown = teardown);
CASES("inputs on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(input_to_nowhere)
{
    run_agent(agent_has_no_place_for_input);
    ck_assert_int_eq(notes.status[0], -EINVAL);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    ck_assert_uint_eq(accounts[1].report_count, 0);
}

CASE(input_for_no_run)
{
    worker_input(worker, 0, "1");
    worker_input(worker, 5, "1");
    worker_input(worker, UINT32_MAX, "1");
    start(5, agent_nothing);
    wait_for_end(5);
    worker_input(worker, 5, "1");
    expect_finished(5);
}

static int agent_polls_for_input(void)
{
    take_inputs(2, 0, 0);
    return 0;
}

CASE(no_input_yet)
{
    run_agent(agent_polls_for_input);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    ck_assert_int_eq(notes.status[1], -ETIMEDOUT);
    ck_assert_str_eq(notes.text[0], "none");
    ck_assert_uint_eq(accounts[1].report_count, 0); /* it did not wait */
}

/* Takes two of three when it is let. */
static int agent_takes_what_came_before(void)
{
    while (!atomic_load(&open_gate))
        agent_sleep(1);
    take_inputs(2, 0, 0);
    return 0;
}

CASE(input_that_came_before)
{
    atomic_store(&open_gate, 0);
    start(1, agent_takes_what_came_before);
    give_input(1, "{\"a\": 1}");
    give_input(1, "\"second\"");
    give_input(1, "\"third\"");
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_str_eq(notes.text[0], "{\"a\": 1}");
    ck_assert_str_eq(notes.text[1], "\"second\"");
    expect_reports(1, "1/0 2/0 ");
}

static int agent_waits_for_input(void)
{
    take_inputs(1, 0, AGENT_FOREVER);
    return 0;
}

CASE(waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    ck_assert(!accounts[1].ended);
    give_input(1, "\"yes\"");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_str_eq(notes.text[0], "\"yes\"");
    expect_reports(1, "0/1 1/0 ");
}

static int agent_waits_an_hour_for_input(void)
{
    take_inputs(3, 0, HOUR_MS);
    return 0;
}

CASE(waits_for_each_input)
{
    start(1, agent_waits_an_hour_for_input);
    for (uint32_t i = 0; i < 3; i++) {
        char json[8];
        while (accounts[1].taken < i || accounts[1].awaited == 0)
            uv_run(&loop, UV_RUN_ONCE);
        snprintf(json, sizeof json, "%u", i);
        give_input(1, json);
    }
    wait_for_end(1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(notes.status[i], 0);
        ck_assert_int_eq(atoi(notes.text[i]), i);
    }
    expect_reports(1, "0/1 1/0 1/1 2/0 2/1 3/0 ");
}

static int agent_waits_a_little_for_input(void)
{
    uint64_t started = uv_hrtime();

    take_inputs(1, 0, 5);
    note_status(uv_hrtime() - started >= 5 * 1000 * 1000);
    return 0;
}

CASE(input_does_not_come_in_time)
{
    run_agent(agent_waits_a_little_for_input);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    ck_assert_int_eq(notes.status[1], 1);
    expect_reports(1, "0/1 0/0 ");
}

/* What wakes it is not an input: it waits on, and says nothing of that. */
CASE(credit_is_no_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    give_credit(1, 1);
    loop_comes_to_rest();
    ck_assert(!accounts[1].ended);
    give_input(1, "1");
    wait_for_end(1);
    expect_reports(1, "0/1 1/0 ");
}

CASE(cancelled_while_it_waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_str_eq(notes.text[0], "none");
}

/* What a cancelled run was sent is not taken any more. */
CASE(cancelled_before_it_takes_its_input)
{
    atomic_store(&open_gate, 0);
    start(1, agent_takes_what_came_before);
    give_input(1, "1");
    worker_cancel(worker, 1);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_int_eq(notes.status[i], -ECANCELED);
    ck_assert_uint_eq(accounts[1].taken, 0);
}

CASE(loop_rests_while_a_run_waits_for_input)
{
    start(1, agent_waits_for_input);
    wait_for_awaited(1, 1);
    ck_assert_msg(loop_comes_to_rest(), "the loop spins");
    worker_cancel(worker, 1);
    wait_for_end(1);
}

static int agent_says_what_it_hears(void)
{
    const char *json;
    int status = run_input(AGENT_FOREVER, &json);

    if (status == 0)
        status = agent_sleep(2); /* others take theirs meanwhile */
    return status < 0 ? status : emit_event("heard", json);
}

CASE(inputs_reach_their_runs)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_says_what_it_hears);
    for (uint32_t run = 1; run <= 10; run++) {
        char json[8];
        snprintf(json, sizeof json, "%u", run);
        give_input(run, json);
        give_input(run, "\"not taken\"");
    }
    for (uint32_t run = 1; run <= 10; run++) {
        char json[8];
        wait_for_end(run);
        expect_finished(run);
        snprintf(json, sizeof json, "%u", run);
        expect_event(run, 0, "heard", json);
    }
}

/* The string stays until the next call, whatever else happens. */
static int agent_keeps_its_input(void)
{
    const char *first, *second;

    if (run_input(AGENT_FOREVER, &first) < 0)
        return -EIO;
    while (!atomic_load(&open_gate))
        agent_sleep(1);
    note_text(0, first);
    if (run_input(AGENT_FOREVER, &second) < 0)
        return -EIO;
    note_status(run_input(0, NULL));
    note_text(1, second);
    return 0;
}

CASE(input_lives_until_the_next_call)
{
    atomic_store(&open_gate, 0);
    start(1, agent_keeps_its_input);
    give_input(1, "\"first\"");
    while (accounts[1].taken < 1)
        uv_run(&loop, UV_RUN_ONCE);
    give_input(1, "\"second\"");
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_str_eq(notes.text[0], "\"first\"");
    ck_assert_str_eq(notes.text[1], "\"second\"");
}

static int agent_takes_a_long_input(void)
{
    const char *json;

    note_status(run_input(AGENT_FOREVER, &json));
    note_status((int)strlen(json));
    return 0;
}

CASE(long_input)
{
    char *json = long_string(WIRE_INPUT_MAX - 3, 0);

    start(1, agent_takes_a_long_input);
    give_input(1, json);
    wait_for_end(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], WIRE_INPUT_MAX - 1);
    free(json);
}

/* ---- inputs of several tasks ---- */

static atomic_int thread_is_done;

static void *thread_waits_for_input(void *captured)
{
    const char *json = NULL;

    ctx_bind(captured);
    ctx_release(captured);
    notes.status[8] = run_input(AGENT_FOREVER, &json);
    note_text(4, json);
    ctx_bind(NULL);
    atomic_store(&thread_is_done, 1);
    return NULL;
}

static int agent_waits_with_a_thread(void)
{
    int status = -pthread_create(&notes.thread, NULL, thread_waits_for_input, ctx_capture());

    take_inputs(1, 0, AGENT_FOREVER);
    while (!atomic_load(&thread_is_done) && agent_sleep(1) == 0)
        ;
    return status;
}

static void start_two_that_wait(void)
{
    atomic_store(&thread_is_done, 0);
    start(1, agent_waits_with_a_thread);
    wait_for_awaited(1, 2);
}

CASE(two_wait_for_input)
{
    start_two_that_wait();
    give_input(1, "\"one\"");
    while (accounts[1].taken < 1)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(accounts[1].awaited, 1);
    give_input(1, "\"two\"");
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[8], 0);
    ck_assert_str_ne(notes.text[0], notes.text[4]);
    expect_reports(1, "0/1 0/2 1/1 2/0 ");
}

CASE(two_inputs_at_once)
{
    start_two_that_wait();
    give_input(1, "\"one\"");
    give_input(1, "\"two\"");
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_str_ne(notes.text[0], notes.text[4]);
    ck_assert_uint_eq(accounts[1].taken, 2);
    ck_assert_uint_eq(accounts[1].awaited, 0);
}

CASE(two_are_cancelled_while_they_wait)
{
    start_two_that_wait();
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_int_eq(notes.status[8], -ECANCELED);
}

/* Leaves its thread behind, which waits for what never comes. */
static int agent_leaves_a_thread_that_waits(void)
{
    int status = -pthread_create(&notes.thread, NULL, thread_waits_for_input, ctx_capture());

    while (status == 0 && !atomic_load(&open_gate))
        status = agent_sleep(1);
    return status;
}

CASE(end_wakes_a_thread_that_waits_for_input)
{
    atomic_store(&open_gate, 0);
    atomic_store(&thread_is_done, 0);
    start(1, agent_leaves_a_thread_that_waits);
    wait_for_awaited(1, 1);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[8], -ECANCELED);
    ck_assert(loop_comes_to_rest());
}

CASES("two threads", .setup = setup_two_threads, .teardown = teardown);

/* Both threads are taken, so that the third run waits. */
CASE(input_before_it_has_a_thread)
{
    atomic_store(&open_gate, 0);
    start(1, agent_waits_at_gate);
    start(2, agent_waits_at_gate);
    start(3, agent_polls_for_input);
    wait_for_events(1, 1);
    wait_for_events(2, 1);
    give_input(3, "\"early\"");
    atomic_store(&open_gate, 1);
    wait_for_end(3);
    expect_finished(3);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_str_eq(notes.text[0], "\"early\"");
    ck_assert_int_eq(notes.status[1], -ETIMEDOUT);
    wait_for_end(1);
    wait_for_end(2);
}

/* ---- inputs while the outbox is full ---- */

static int agent_takes_input_and_sleeps(void)
{
    take_inputs(2, 0, AGENT_FOREVER);
    return agent_sleep(HOUR_MS);
}

static void fill_outbox(void)
{
    sink_takes = 0;
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        start(run, agent_fills_its_window);
    ck_assert(loop_comes_to_rest());
}

static void empty_outbox(void)
{
    sink_takes = SIZE_MAX;
    worker_flush(worker);
    ck_assert(loop_comes_to_rest());
    for (uint32_t run = 1; run <= 2 * FLOODS; run++)
        ck_assert(accounts[run].ended);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* The front gives no more until it hears of that. */
CASE(input_is_taken_while_the_outbox_is_full)
{
    start(100, agent_takes_input_and_sleeps);
    wait_for_awaited(100, 1);
    fill_outbox();
    give_input(100, "1");
    give_input(100, "2");
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(notes.count, 2);
    empty_outbox();
    ck_assert_uint_eq(accounts[100].taken, 2);
    ck_assert_uint_eq(accounts[100].awaited, 0);
    worker_cancel(worker, 100);
    wait_for_end(100);
}

CASE(wait_begins_while_the_outbox_is_full)
{
    fill_outbox();
    start(100, agent_waits_for_input);
    ck_assert(loop_comes_to_rest());
    empty_outbox();
    expect_reports(100, "0/1 ");
    give_input(100, "1");
    wait_for_end(100);
    expect_finished(100);
    expect_reports(100, "0/1 1/0 ");
}

CASE(wait_ends_while_the_outbox_is_full)
{
    start(100, agent_waits_a_little_for_input);
    while (accounts[100].report_count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    fill_outbox();
    while (notes.count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    empty_outbox();
    wait_for_end(100);
    ck_assert_int_eq(notes.status[0], -ETIMEDOUT);
    expect_reports(100, "0/1 0/0 ");
}

static int agent_polls_often(void)
{
    for (int i = 0; i < 100; i++) {
        const char *json;
        if (run_input(1, &json) != -ETIMEDOUT)
            return -EIO;
    }
    note_status(0);
    return agent_sleep(HOUR_MS);
}

/* Nobody would hear it. */
CASE(waits_that_end_while_the_outbox_is_full)
{
    fill_outbox();
    start(100, agent_polls_often);
    while (notes.count == 0)
        uv_run(&loop, UV_RUN_ONCE);
    empty_outbox();
    ck_assert_uint_eq(accounts[100].report_count, 0);
    worker_cancel(worker, 100);
    wait_for_end(100);
}

/* ---- capture and bind ---- */

static void *thread_sets(void *captured)
{
    note_status(ctx_bind(captured));
    note_text(0, ctx_get("before"));
    note_text(1, ctx_get("after"));
    note_status(ctx_set("before", "thread's"));
    note_status(ctx_set("own", "1"));
    note_text(2, ctx_get("before"));
    note_status(ctx_bind(captured)); /* begins anew */
    note_text(3, ctx_get("before"));
    note_text(4, ctx_get("own"));
    note_status(ctx_bind(NULL));
    note_text(5, ctx_get("before"));
    return NULL;
}

static int agent_captures(void)
{
    struct agent_ctx *captured;
    pthread_t thread;

    ctx_set("before", "agent's");
    captured = ctx_capture();
    ctx_set("after", "1");
    if (pthread_create(&thread, NULL, thread_sets, captured) != 0)
        return -EAGAIN;
    pthread_join(thread, NULL);
    ctx_release(captured);
    note_text(6, ctx_get("before"));
    note_text(7, ctx_get("own"));
    return 0;
}

CASES("ctx on threads", .setup = setup_threads, .teardown = teardown);
CASES("ctx on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(captures_are_snapshots)
{
    run_agent(agent_captures);
    expect_finished(1);
    for (unsigned i = 0; i < notes.count; i++)
        ck_assert_int_eq(notes.status[i], 0);
    ck_assert_str_eq(notes.text[0], "agent's");
    ck_assert_str_eq(notes.text[1], "none");
    ck_assert_str_eq(notes.text[2], "thread's");
    ck_assert_str_eq(notes.text[3], "agent's");
    ck_assert_str_eq(notes.text[4], "none");
    ck_assert_str_eq(notes.text[5], "none");
    ck_assert_str_eq(notes.text[6], "agent's");
    ck_assert_str_eq(notes.text[7], "none");
}

static int agent_binds_itself(void)
{
    struct agent_ctx *captured = ctx_capture();

    note_status(ctx_bind(captured));
    note_status(ctx_bind(NULL));
    ctx_release(captured);
    return emit_event("still", "1");
}

CASE(agents_cannot_bind_themselves)
{
    run_agent(agent_binds_itself);
    ck_assert_int_eq(notes.status[0], -EBUSY);
    ck_assert_int_eq(notes.status[1], -EBUSY);
    expect_event(1, 0, "still", "1");
}

static int agent_keeps_a_capture(void)
{
    ctx_set("kept", "1");
    notes.captured = ctx_capture();
    return 0;
}

/* On a thread of its own: the loop's is not for binding. */
static void on_a_thread(void *(*fn)(void *captured))
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, fn, notes.captured), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

CASE(loop_cannot_be_bound)
{
    run_agent(agent_keeps_a_capture);
    ck_assert_int_eq(ctx_bind(notes.captured), -EBUSY);
    ctx_release(notes.captured);
}

static void *thread_is_late(void *captured)
{
    ck_assert_int_eq(ctx_bind(captured), 0);
    ck_assert_int_eq(emit_event("late", "1"), -ECANCELED);
    ck_assert_int_eq(emit_text("late"), -ECANCELED);
    ck_assert_int_eq(agent_sleep(HOUR_MS), -ECANCELED);
    ck_assert_int_eq(run_cancelled(), 1);
    ctx_release(notes.captured);
    ck_assert_str_eq(ctx_get("kept"), "1"); /* bound threads stay bound */
    ck_assert_str_eq(ctx_get("run.id"), "abc");
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ck_assert_ptr_null(ctx_get("kept"));
    ck_assert_int_eq(emit_event("late", "1"), -ENXIO);
    return NULL;
}

CASE(capture_outlives_its_run)
{
    run_agent(agent_keeps_a_capture);
    on_a_thread(thread_is_late);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
}

static void *thread_emits_late(void *captured)
{
    ck_assert_int_eq(ctx_bind(captured), 0);
    ck_assert_int_eq(emit_event("late", "1"), -ECANCELED);
    ck_assert_int_eq(ctx_bind(NULL), 0);
    ctx_release(captured);
    return NULL;
}

/* Its number belongs to another run by then, which must not get the events. */
CASE(late_events_miss_the_next_run)
{
    struct account whole = {.credit = WIRE_WINDOW};

    run_agent(agent_keeps_a_capture);
    free(accounts[1].code);
    free(accounts[1].message);
    free(accounts[1].result);
    accounts[1] = whole;
    start(1, agent_sleeps);
    wait_for_events(1, 1);
    on_a_thread(thread_emits_late);
    worker_cancel(worker, 1);
    wait_for_end(1);
    ck_assert_uint_eq(accounts[1].events, 1);
}

static void *thread_floods(void *captured)
{
    ctx_bind(captured);
    ctx_release(captured);
    agent_floods();
    return NULL; /* still bound */
}

/* Returns while its thread still emits, or waits for credit. */
static int agent_leaves_its_thread(void)
{
    return -pthread_create(&notes.thread, NULL, thread_floods, ctx_capture());
}

CASE(end_wakes_bound_threads)
{
    run_agent(agent_leaves_its_thread);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert(loop_comes_to_rest());
}

/* Returns when its thread has taken all credit. */
static int agent_leaves_its_waiting_thread(void)
{
    int status = agent_leaves_its_thread();

    while (status == 0 && !atomic_load(&open_gate))
        status = agent_sleep(1);
    return status;
}

CASE(end_wakes_bound_threads_without_credit)
{
    atomic_store(&open_gate, 0);
    start(1, agent_leaves_its_waiting_thread);
    wait_for_events(1, IN_WINDOW);
    atomic_store(&open_gate, 1);
    wait_for_end(1);
    expect_finished(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
}

CASE(cancel_wakes_bound_threads)
{
    atomic_store(&open_gate, 0);
    start(1, agent_leaves_its_waiting_thread);
    wait_for_events(1, IN_WINDOW);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    pthread_join(notes.thread, NULL);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
}

#define EMITTERS 4
#define EACH     200

static void *thread_emits_much(void *captured)
{
    long failures = ctx_bind(captured) != 0;

    for (int i = 0; i < EACH; i++)
        failures += emit_event("much", ctx_get(PROBE_MARK)) != 0;
    return (void *)failures;
}

static int agent_has_many_threads(void)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t threads[EMITTERS];
    int started = 0;

    while (started < EMITTERS &&
           pthread_create(&threads[started], NULL, thread_emits_much, captured) == 0)
        started++;
    for (int i = 0; i < EACH; i++)
        emit_event("much", ctx_get(PROBE_MARK));
    for (int i = 0; i < started; i++) {
        void *failures;
        pthread_join(threads[i], &failures);
        if (failures)
            run_fail("lost", "an emit failed");
    }
    ctx_release(captured);
    return started == EMITTERS ? 0 : -EAGAIN;
}

CASE(many_threads_in_each_run)
{
    for (uint32_t run = 1; run <= 5; run++)
        start(run, agent_has_many_threads);
    for (uint32_t run = 1; run <= 5; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, (EMITTERS + 1) * EACH);
    }
    for (size_t i = 0; i < record_count; i++)
        ck_assert_uint_eq(strtoul(records[i].json, NULL, 10), records[i].run);
}

/* ---- tasks ---- */

static int task_returns(void *arg)
{
    struct task_note *note = arg;

    note->called = true;
    return note->result;
}

static int agent_joins_tasks(void)
{
    static const int results[] = {7, -EIO, 0};
    struct agent_task *tasks[3];

    for (int i = 0; i < 3; i++) {
        tasked[i].result = results[i];
        note_status(task_spawn(task_returns, &tasked[i], &tasks[i]));
    }
    for (int i = 2; i >= 0; i--)
        note_status(task_join(tasks[i]));
    return 0;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(tasks_have_results)
{
    run_agent(agent_joins_tasks);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(notes.status[i], 0);
        ck_assert(tasked[i].called);
    }
    ck_assert_int_eq(notes.status[3], 0);
    ck_assert_int_eq(notes.status[4], -EIO);
    ck_assert_int_eq(notes.status[5], 7);
    expect_finished(1);
}

static int agent_joins_wrongly(void)
{
    struct agent_task *task;

    note_status(task_spawn(NULL, NULL, &task));
    note_status(task_spawn(task_returns, &tasked[0], NULL));
    note_status(task_join(NULL));
    note_status(task_spawn(task_returns, &tasked[0], &task));
    note_status(task_join(task));
    note_status(task_join(task));
    note_status(task_join((struct agent_task *)&tasked[0]));
    return 0;
}

CASE(joined_wrongly)
{
    static const int wanted[] = {-EINVAL, -EINVAL, -EINVAL, 0, 0, -EINVAL, -EINVAL};

    run_agent(agent_joins_wrongly);
    ck_assert_uint_eq(notes.count, 7);
    for (int i = 0; i < 7; i++)
        ck_assert_int_eq(notes.status[i], wanted[i]);
    expect_finished(1);
}

static int task_joins_itself(void *arg)
{
    struct task_note *note = arg;

    while (note->handle == NULL)
        agent_sleep(1);
    return task_join(note->handle);
}

static int agent_whose_task_joins_itself(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_joins_itself, &tasked[0], &task));
    tasked[0].handle = task;
    note_status(task_join(task));
    return 0;
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(task_cannot_join_itself)
{
    run_agent(agent_whose_task_joins_itself);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    expect_finished(1);
}

/* Makes a tree of tasks; the number of its leaves, or a negative errno. */
static int task_grows(void *arg)
{
    int depth = (int)(intptr_t)arg, leaves[2];
    struct agent_task *tasks[2];
    void *below = (void *)(intptr_t)(depth - 1);

    if (depth == 0)
        return emit_event("leaf", "1") < 0 ? -EIO : 1;
    for (int i = 0; i < 2; i++) {
        int status = task_spawn(task_grows, below, &tasks[i]);
        if (status < 0)
            return status;
    }
    for (int i = 0; i < 2; i++)
        leaves[i] = task_join(tasks[i]);
    return leaves[0] < 0 || leaves[1] < 0 ? -EIO : leaves[0] + leaves[1];
}

static int agent_grows(void)
{
    return task_grows((void *)6) == 64 ? 0 : -EIO;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(tasks_spawn_tasks)
{
    for (uint32_t run = 1; run <= 8; run++)
        start(run, agent_grows);
    for (uint32_t run = 1; run <= 8; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 64);
    }
}

/* One below the other, as deep as it goes. */
static int task_digs(void *arg)
{
    int depth = (int)(intptr_t)arg;
    struct agent_task *task;
    int status = task_spawn(task_digs, (void *)(intptr_t)(depth + 1), &task);

    if (status == -EAGAIN)
        return depth;
    return status < 0 ? status : task_join(task);
}

static int agent_digs(void)
{
    note_status(task_digs((void *)0));
    return 0;
}

CASE(deep_tasks)
{
    run_agent(agent_digs);
    ck_assert_int_eq(notes.status[0], AGENT_TASKS_MAX);
    expect_finished(1);
}

static int agent_spawns_too_many(void)
{
    struct agent_task *tasks[AGENT_TASKS_MAX], *more;
    int status = 0;

    for (int i = 0; i < AGENT_TASKS_MAX; i++)
        status += task_spawn(task_returns, &tasked[i % TASKS], &tasks[i]);
    note_status(status);
    note_status(task_spawn(task_returns, &tasked[0], &more));
    note_status(task_join(tasks[AGENT_TASKS_MAX / 2]));
    note_status(task_spawn(task_returns, &tasked[0], &more));
    note_status(task_spawn(task_returns, &tasked[0], &more));
    return 0;
}

CASE(most_tasks)
{
    static const int wanted[] = {0, -EAGAIN, 0, 0, -EAGAIN};

    run_agent(agent_spawns_too_many);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(notes.status[i], wanted[i]);
    expect_finished(1);
}

/* Waits for an input, and emits it. */
static int task_echoes(void *arg)
{
    struct task_note *note = arg;
    const char *json;

    note->called = true;
    note->status = run_input(AGENT_FOREVER, &json);
    if (note->status == 0)
        emit_event("echo", json);
    return note->status == 0 ? note->result : note->status;
}

static int agent_leaves_two_tasks(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_echoes, &tasked[0], &task));
    note_status(task_spawn(task_echoes, &tasked[1], &task));
    emit_event("left", "{}");
    return 0;
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(run_ends_when_its_tasks_have)
{
    start(1, agent_leaves_two_tasks);
    wait_for_events(1, 1);
    wait_for_awaited(1, 2);
    give_input(1, "1");
    wait_for_events(1, 2);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    give_input(1, "2");
    wait_for_end(1);
    expect_finished(1);
    expect_event(1, 0, "left", "{}");
    ck_assert_uint_eq(accounts[1].events, 3);
    ck_assert_int_eq(tasked[0].status, 0);
    ck_assert_int_eq(tasked[1].status, 0);
}

static int task_joins(void *arg)
{
    struct task_note *note = arg;

    note->join_status = task_join(note->handle);
    return 0;
}

static int agent_leaves_one_to_the_other(void)
{
    struct agent_task *task;

    tasked[0].result = 42;
    note_status(task_spawn(task_echoes, &tasked[0], &task));
    tasked[1].handle = task;
    note_status(task_spawn(task_joins, &tasked[1], &task));
    return 0;
}

CASE(tasks_join_each_other_when_handle_has_returned)
{
    start(1, agent_leaves_one_to_the_other);
    wait_for_awaited(1, 1);
    ck_assert(loop_comes_to_rest());
    give_input(1, "1");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(tasked[1].join_status, 42);
}

/* Joins one that has ended before. */
static int task_joins_late(void *arg)
{
    struct task_note *note = arg;
    const char *json;

    note->status = run_input(AGENT_FOREVER, &json);
    note->join_status = task_join(note->handle);
    return 0;
}

static int agent_leaves_a_late_one(void)
{
    struct agent_task *task;

    tasked[0].result = 42;
    note_status(task_spawn(task_returns, &tasked[0], &task));
    tasked[1].handle = task;
    note_status(task_spawn(task_joins_late, &tasked[1], &task));
    return 0;
}

CASE(task_that_has_ended_is_joined_late)
{
    start(1, agent_leaves_a_late_one);
    wait_for_awaited(1, 1);
    ck_assert(loop_comes_to_rest());
    give_input(1, "1");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(tasked[1].join_status, 42);
}

static int task_sleeps(void *arg)
{
    struct task_note *note = arg;

    note->called = true;
    emit_event("asleep", "{}");
    atomic_store(&note->begun, true);
    note->status = agent_sleep(HOUR_MS);
    return note->status;
}

/* Until all of them sleep. */
static int spawn_sleepers(struct agent_task **tasks, int count)
{
    int status = 0;

    for (int i = 0; i < count && status == 0; i++)
        status = task_spawn(task_sleeps, &tasked[i], &tasks[i]);
    for (int i = 0; i < count && status == 0; i++) {
        while (!atomic_load(&tasked[i].begun) && status == 0)
            status = agent_sleep(1);
    }
    return status;
}

static int agent_fails_with_tasks(void)
{
    struct agent_task *tasks[3];

    note_status(spawn_sleepers(tasks, 3));
    return -EIO;
}

static int agent_says_it_fails_with_tasks(void)
{
    struct agent_task *tasks[3];

    note_status(spawn_sleepers(tasks, 3));
    run_fail("tired", "of it");
    return 0;
}

static void expect_sleepers_stopped(int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert(tasked[i].called);
        ck_assert_int_eq(tasked[i].status, -ECANCELED);
    }
}

CASE(failure_stops_the_tasks)
{
    run_agent(agent_fails_with_tasks);
    expect_sleepers_stopped(3);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_str_eq(accounts[1].code, "agent_error");
}

CASE(failure_that_was_said_stops_the_tasks)
{
    run_agent(agent_says_it_fails_with_tasks);
    expect_sleepers_stopped(3);
    expect_end(1, WIRE_FAILED, "tired", "of it", "");
}

static int agent_joins_sleepers(void)
{
    struct agent_task *tasks[3], *late;

    note_status(spawn_sleepers(tasks, 3));
    emit_event("joining", "{}");
    for (int i = 0; i < 3; i++)
        note_status(task_join(tasks[i]));
    note_status(task_spawn(task_returns, &tasked[5], &late));
    return 0;
}

CASE(cancelled_while_it_joins)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    expect_sleepers_stopped(3);
    ck_assert_int_eq(notes.status[0], 0);
    for (int i = 1; i <= 4; i++)
        ck_assert_int_eq(notes.status[i], -ECANCELED);
    ck_assert(!tasked[5].called);
}

CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

CASE(cancelled_while_it_joins_ends_at_once)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    worker_cancel(worker, 1);
    for (int turn = 0; turn < 4; turn++)
        uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert(accounts[1].ended);
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(cancelled_while_its_tasks_are_waited_for)
{
    start(1, agent_leaves_two_tasks);
    wait_for_awaited(1, 2);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(tasked[0].status, -ECANCELED);
    ck_assert_int_eq(tasked[1].status, -ECANCELED);
}

static int agent_sleeps_before_it_joins(void)
{
    struct agent_task *task;

    note_status(task_spawn(task_returns, &tasked[0], &task));
    emit_event("spawned", "{}");
    note_status(agent_sleep(HOUR_MS));
    note_status(task_join(task));
    return 0;
}

CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);
CASES("fibers only", .setup = setup_fibers, .teardown = teardown);

/* On one thread, or on fibers before the loop has turned. */
CASE(cancelled_before_a_task_began)
{
    start(1, agent_sleeps_before_it_joins);
    if (worker_plugin(worker)->mode == AGENT_THREAD)
        wait_for_events(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert(!tasked[0].called);
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(quits_with_tasks)
{
    start(1, agent_joins_sleepers);
    wait_for_events(1, 4);
    start(2, agent_leaves_two_tasks);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    expect_cancelled(1);
    expect_cancelled(2);
}

static int task_looks_and_sets(void *arg)
{
    struct task_note *note = arg;

    snprintf(note->text[0], sizeof note->text[0], "%s", ctx_get("a"));
    note->status = ctx_set("a", "2") || ctx_set("b", "3");
    snprintf(note->text[1], sizeof note->text[1], "%s%s", ctx_get("a"), ctx_get("b"));
    snprintf(note->text[2], sizeof note->text[2], "%s", ctx_get("run.id"));
    return 0;
}

static int agent_hands_variables_down(void)
{
    struct agent_task *tasks[2];

    ctx_set("a", "1");
    note_status(task_spawn(task_looks_and_sets, &tasked[0], &tasks[0]));
    ctx_set("a", "9");
    note_status(task_spawn(task_looks_and_sets, &tasked[1], &tasks[1]));
    note_status(task_join(tasks[0]));
    note_status(task_join(tasks[1]));
    note_text(0, ctx_get("a"));
    note_text(1, ctx_get("b"));
    return 0;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(tasks_inherit_variables_and_keep_theirs)
{
    run_agent(agent_hands_variables_down);
    ck_assert_str_eq(tasked[0].text[0], "1");
    ck_assert_str_eq(tasked[1].text[0], "9");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(tasked[i].status, 0);
        ck_assert_str_eq(tasked[i].text[1], "23");
        ck_assert_str_eq(tasked[i].text[2], "abc");
    }
    ck_assert_str_eq(notes.text[0], "9");
    ck_assert_str_eq(notes.text[1], "none");
}

static int agent_scopes_its_events(void)
{
    static const char *const jsons[] = {"{}",  " { } ", "{\"x\":1}", "\n{ \"x\" : {} }",
                                        "[1]", "\"s\"", "1",         "null"};

    note_status(task_scope("a \"b\"\n"));
    for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++)
        emit_event("x", jsons[i]);
    emit_text("t");
    note_status(task_scope("\xff"));
    emit_event("x", "{}");
    note_status(task_scope(""));
    emit_event("x", "{}");
    note_status(task_scope(NULL));
    emit_event("x", "{}");
    return 0;
}

CASE(scope)
{
    static const char *const wanted[] = {"{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"x\":1}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"x\":{}}",
                                         "[1]",
                                         "\"s\"",
                                         "1",
                                         "null",
                                         "{\"scope\":\"a \\\"b\\\"\\n\",\"delta\":\"t\"}",
                                         "{\"scope\":\"a \\\"b\\\"\\n\"}",
                                         "{\"scope\":\"\"}",
                                         "{}"};

    run_agent(agent_scopes_its_events);
    ck_assert_uint_eq(accounts[1].events, 12);
    for (size_t i = 0; i < 12; i++)
        ck_assert_str_eq(nth_event(1, i)->json, wanted[i]);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -EINVAL);
    ck_assert_int_eq(notes.status[2], 0);
    ck_assert_int_eq(notes.status[3], 0);
}

static int task_emits_and_scopes(void *arg)
{
    struct task_note *note = arg;

    emit_event(note->name, "{}");
    task_scope(note->name);
    emit_event(note->name, "{}");
    return 0;
}

static int agent_hands_its_scope_down(void)
{
    struct agent_task *tasks[2];

    tasked[0].name = "one";
    tasked[1].name = "two";
    task_spawn(task_emits_and_scopes, &tasked[0], &tasks[0]);
    task_join(tasks[0]);
    task_scope("mine");
    task_spawn(task_emits_and_scopes, &tasked[1], &tasks[1]);
    task_join(tasks[1]);
    emit_event("last", "{}");
    return 0;
}

CASE(scope_is_inherited)
{
    run_agent(agent_hands_its_scope_down);
    expect_event(1, 0, "one", "{}");
    expect_event(1, 1, "one", "{\"scope\":\"one\"}");
    expect_event(1, 2, "two", "{\"scope\":\"mine\"}");
    expect_event(1, 3, "two", "{\"scope\":\"two\"}");
    expect_event(1, 4, "last", "{\"scope\":\"mine\"}");
}

/* An object of so many bytes. */
static int emit_object(size_t length)
{
    char *json = malloc(length + 1);
    int status;

    snprintf(json, length + 1, "{\"x\":\"%*s\"}", (int)(length - strlen("{\"x\":\"\"}")), "");
    status = emit_event("x", json);
    free(json);
    return status;
}

static int agent_scopes_long_events(void)
{
    size_t more = strlen("\"scope\":\"s\",");

    task_scope("s");
    note_status(emit_object(AGENT_EVENT_MAX - more + 1));
    note_status(emit_object(AGENT_EVENT_MAX - more));
    return 0;
}

CASE(scope_counts)
{
    run_agent(agent_scopes_long_events);
    ck_assert_int_eq(notes.status[0], -EMSGSIZE);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_uint_eq(nth_event(1, 0)->length, AGENT_EVENT_MAX);
}

/* Half of a window. */
static int task_floods(void *arg)
{
    struct task_note *note = arg;

    for (size_t i = 0; i < IN_WINDOW / 2 && note->status == 0; i++)
        note->status = emit_long(CHUNK - 2, 0);
    return note->status;
}

static int agent_floods_with_tasks(void)
{
    struct agent_task *tasks[6];

    for (int i = 0; i < 6; i++)
        task_spawn(task_floods, &tasked[i], &tasks[i]);
    atomic_store(&tasked[7].begun, true);
    for (int i = 0; i < 6; i++)
        note_status(task_join(tasks[i]));
    return 0;
}

CASES("tasks at once on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks at once on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(tasks_wait_for_credit)
{
    start(1, agent_floods_with_tasks);
    wait_for_events(1, IN_WINDOW);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW);
    give_credit(1, CHUNK_COST);
    wait_for_events(1, IN_WINDOW + 1);
    ck_assert(loop_comes_to_rest());
    ck_assert(!accounts[1].ended);
    give_credit(1, 2 * WIRE_WINDOW);
    wait_for_end(1);
    expect_finished(1);
    ck_assert_uint_eq(accounts[1].events, IN_WINDOW / 2 * 6);
}

CASE(tasks_without_credit_are_cancelled)
{
    start(1, agent_floods_with_tasks);
    wait_for_events(1, IN_WINDOW);
    while (!atomic_load(&tasked[7].begun))
        uv_run(&loop, UV_RUN_NOWAIT);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    for (int i = 0; i < 6; i++) /* some may have ended before */
        ck_assert(notes.status[i] == 0 || notes.status[i] == -ECANCELED);
    ck_assert(notes.status[0] || notes.status[1] || notes.status[2] || notes.status[3] ||
              notes.status[4] || notes.status[5]);
}

static void *spawn_on_this_thread(void *captured)
{
    struct agent_task *task = NULL;

    note_status(ctx_bind(captured));
    note_status(task_spawn(task_returns, &tasked[0], &task));
    note_status(task ? task_join(task) : -ENXIO);
    ctx_bind(NULL);
    return NULL;
}

static int agent_spawns_from_a_thread(void)
{
    struct agent_ctx *captured = ctx_capture();
    pthread_t thread;

    tasked[0].result = 5;
    pthread_create(&thread, NULL, spawn_on_this_thread, captured);
    pthread_join(thread, NULL);
    ctx_release(captured);
    return 0;
}

CASES("tasks on threads", .setup = setup_threads, .teardown = teardown);
CASES("tasks on fibers", .setup = setup_fibers, .teardown = teardown);
CASES("tasks on one thread", .setup = setup_one_thread, .teardown = teardown);

CASE(bound_thread_spawns)
{
    bool threads = worker_plugin(worker)->mode == AGENT_THREAD;

    run_agent(agent_spawns_from_a_thread);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], threads ? 0 : -ENOTSUP);
    ck_assert_int_eq(notes.status[2], threads ? 5 : -ENXIO);
    expect_finished(1);
}

static void *join_on_this_thread(void *captured)
{
    note_status(ctx_bind(captured));
    atomic_store(&tasked[2].begun, true);
    note_status(task_join(tasked[0].handle));
    ctx_bind(NULL);
    atomic_store(&tasked[1].begun, true);
    return NULL;
}

/* The task is queued when the thread comes: on fibers, it must not execute it. */
static int agent_joins_from_a_thread(void)
{
    struct agent_ctx *captured = ctx_capture();
    struct agent_task *task;
    pthread_t thread;
    int status = 0;

    tasked[0].result = 5;
    note_status(task_spawn(task_echoes, &tasked[0], &task));
    tasked[0].handle = task;
    pthread_create(&thread, NULL, join_on_this_thread, captured);
    while (!atomic_load(&tasked[2].begun))
        sched_yield();
    for (int i = 0; i < 1000; i++)
        sched_yield();
    tasked[2].called = tasked[0].called;
    while (!atomic_load(&tasked[1].begun) && status == 0)
        status = agent_sleep(1);
    pthread_join(thread, NULL);
    ctx_release(captured);
    return status;
}

CASE(bound_thread_joins)
{
    start(1, agent_joins_from_a_thread);
    wait_for_awaited(1, 1);
    give_input(1, "1");
    wait_for_end(1);
    expect_finished(1);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_int_eq(notes.status[2], 5);
    ck_assert(worker_plugin(worker)->mode == AGENT_THREAD || !tasked[2].called);
}

/* Once its run is over, a thread gets nothing more of it. */
static void *use_run_until_it_is_over(void *captured)
{
    struct agent_http_request request = {.url = "http://127.0.0.1:1/"};
    struct agent_task *task;
    struct agent_http *http;
    int status;

    ctx_bind(captured);
    ctx_release(captured);
    do
        status = task_spawn(task_returns, &tasked[0], &task);
    while (status != -ECANCELED);
    note_status(status);
    note_status(task_join((struct agent_task *)&tasked[0]));
    note_status(agent_host_table->http_open(&request, &http));
    ctx_bind(NULL);
    return NULL;
}

static int agent_leaves_a_thread_that_spawns(void)
{
    struct agent_ctx *captured = ctx_capture();

    return -pthread_create(&notes.thread, NULL, use_run_until_it_is_over, captured);
}

CASE(bound_thread_spawns_until_the_run_is_over)
{
    run_agent(agent_leaves_a_thread_that_spawns);
    pthread_join(notes.thread, NULL);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], -ECANCELED);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
}

/* So many times the same, while all threads are busy. */
static int agent_spawns_and_joins(void)
{
    struct agent_task *task;
    struct mallinfo2 before = mallinfo2(), after;
    int status = 0;

    for (int i = 0; i < 20000 && status == 0; i++) {
        status = task_spawn(task_returns, &tasked[0], &task);
        if (status == 0)
            status = task_join(task);
    }
    after = mallinfo2();
    note_status(status);
    note_status(after.uordblks < before.uordblks + 100000);
    return 0;
}

CASE(tasks_that_were_joined_take_no_memory)
{
    run_agent(agent_spawns_and_joins);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 1);
}

static int task_counts(void *arg)
{
    (void)arg;
    atomic_fetch_add(&calls, 1);
    return emit_event("call", "{}");
}

/* Joins some of them, in turn with others. */
static int agent_spawns_many(void)
{
    struct agent_task *tasks[40];

    for (int i = 0; i < 40; i++) {
        if (task_spawn(task_counts, NULL, &tasks[i]) < 0)
            return -EIO;
        if (i % 3 == 2)
            task_join(tasks[i - i % 2]);
        if (i % 5 == 0)
            agent_sleep(0);
    }
    return 0;
}

CASE(many_tasks_of_many_runs)
{
    enum { COUNT = 40 };

    for (uint32_t run = 1; run <= COUNT; run++)
        start(run, agent_spawns_many);
    for (uint32_t run = 1; run <= COUNT; run++) {
        wait_for_end(run);
        expect_finished(run);
        ck_assert_uint_eq(accounts[run].events, 40);
    }
    ck_assert_uint_eq(atomic_load(&calls), COUNT * 40);
}

/* ---- requests ---- */

/* Nobody accepts there: a connection is made, and nothing comes. */
static char silent_url[64];

static int listen_silently(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(silent_url, sizeof silent_url, "http://127.0.0.1:%d/", ntohs(address.sin_port));
    return fd;
}

static struct agent_http *open_silent(void)
{
    struct agent_http_request request = {.url = silent_url};
    struct agent_http *http = NULL;

    note_status(agent_http_open(&request, &http));
    return http;
}

static struct agent_http *silent;

/* Waits for what does not come; then uses what is not there any more. */
static void *wait_for_response(void *captured)
{
    const char *data;

    ctx_bind(captured);
    ctx_release(captured);
    atomic_store(&tasked[0].begun, true);
    note_status(agent_http_status(silent));
    note_status((int)agent_http_read(silent, &data));
    note_text(0, agent_http_header(silent, "x"));
    note_text(1, agent_http_error(silent));
    agent_http_close(silent);
    ctx_bind(NULL);
    return NULL;
}

static int agent_leaves_a_thread_to_a_request(void)
{
    struct agent_ctx *captured = ctx_capture();

    silent = open_silent();
    pthread_create(&notes.thread, NULL, wait_for_response, captured);
    while (!atomic_load(&tasked[0].begun))
        agent_sleep(1);
    for (int i = 0; i < 5; i++)
        agent_sleep(1);
    return 0;
}

CASES("requests on threads", .setup = setup_threads, .teardown = teardown);
CASES("requests on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(bound_thread_waits_for_a_response_when_the_run_ends)
{
    int fd = listen_silently();

    run_agent(agent_leaves_a_thread_to_a_request);
    ck_assert(loop_comes_to_rest());
    pthread_join(notes.thread, NULL);
    expect_finished(1);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -ECANCELED);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert_str_eq(notes.text[0], "none");
    ck_assert_str_eq(notes.text[1], "");
    close(fd);
}

static int agent_waits_for_responses(void)
{
    struct agent_http *first = open_silent();

    open_silent();
    emit_event("opened", "{}");
    note_status(agent_http_status(first));
    note_status(agent_http_open(&(struct agent_http_request){.url = silent_url}, &first));
    return 0;
}

CASE(cancelled_while_it_waits_for_a_response)
{
    int fd = listen_silently();

    start(1, agent_waits_for_responses);
    wait_for_events(1, 1);
    ck_assert(loop_comes_to_rest());
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
    ck_assert_int_eq(notes.status[2], -ECANCELED);
    ck_assert_int_eq(notes.status[3], -ECANCELED);
    close(fd);
}

/* Their transfers are under way, or have not even begun. */
CASE(quits_with_requests)
{
    int fd = listen_silently();

    for (uint32_t run = 1; run <= 4; run++)
        start(run, agent_waits_for_responses);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    for (uint32_t run = 1; run <= 4; run++)
        expect_cancelled(run);
    close(fd);
}

static int task_waits_for_a_response(void *arg)
{
    (void)arg;
    return agent_http_status(open_silent());
}

static int agent_fails_with_a_request(void)
{
    struct agent_task *task;

    task_spawn(task_waits_for_a_response, NULL, &task);
    agent_sleep(5);
    return -EIO;
}

CASE(failure_stops_a_task_that_waits_for_a_response)
{
    int fd = listen_silently();

    run_agent(agent_fails_with_a_request);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    close(fd);
}

/* ---- ends ---- */

CASES("ends on threads", .setup = setup_threads, .teardown = teardown);
CASES("ends on fibers", .setup = setup_fibers, .teardown = teardown);

CASE(finished)
{
    run_agent(agent_nothing);
    expect_finished(1);
}

static int agent_returns_error(void)
{
    return -EIO;
}

CASE(failed_by_its_return_value)
{
    run_agent(agent_returns_error);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned -5 (Input/output error)", "");
}

static int agent_returns_7(void)
{
    return 7;
}

CASE(failed_by_a_positive_value)
{
    run_agent(agent_returns_7);
    expect_end(1, WIRE_FAILED, "agent_error", "handle() returned 7 (not a negative errno)", "");
}

static int agent_fails(void)
{
    note_status(run_fail("no_model", "model %s: %d", "x", 503));
    note_status(run_fail("second", "reason"));
    run_result("{\"a\":1}");
    return 0;
}

CASE(first_reason_stays)
{
    run_agent(agent_fails);
    ck_assert_int_lt(notes.status[0], 0);
    ck_assert_int_lt(notes.status[1], 0);
    expect_end(1, WIRE_FAILED, "no_model", "model x: 503", "");
}

static int agent_fails_badly(void)
{
    return run_fail("not a code", "%2000d", 1);
}

CASE(bad_code_and_long_message)
{
    run_agent(agent_fails_badly);
    ck_assert_int_eq(accounts[1].status, WIRE_FAILED);
    ck_assert_str_eq(accounts[1].code, "agent_error");
    ck_assert_uint_eq(strlen(accounts[1].message), 1023);
}

static int agent_gives_results(void)
{
    note_status(run_result("1"));
    note_status(run_result(" { \"a\" : [ 1 , 2 ] } "));
    note_status(run_result("{"));
    note_status(run_result(NULL));
    return 0;
}

CASE(last_result_counts)
{
    run_agent(agent_gives_results);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], 0);
    ck_assert_int_eq(notes.status[2], -EINVAL);
    ck_assert_int_eq(notes.status[3], -EINVAL);
    expect_end(1, WIRE_FINISHED, "", "", "{\"a\":[1,2]}");
}

static int result_long(size_t letters)
{
    char *json = long_string(letters, 3);
    int status = run_result(json);

    free(json);
    return status;
}

static int agent_gives_long_results(void)
{
    note_status(result_long(AGENT_EVENT_MAX - 2));
    note_status(result_long(AGENT_EVENT_MAX - 1));
    return 0;
}

CASE(longest_result)
{
    run_agent(agent_gives_long_results);
    ck_assert_int_eq(notes.status[0], 0);
    ck_assert_int_eq(notes.status[1], -EMSGSIZE);
    ck_assert_uint_eq(strlen(accounts[1].result), AGENT_EVENT_MAX);
}

static int agent_fails_when_cancelled(void)
{
    run_result("1");
    agent_sleeps();
    return run_fail("stopped", "it was told to stop");
}

CASE(cancelled_whatever_it_says)
{
    start(1, agent_fails_when_cancelled);
    wait_for_events(1, 1);
    worker_cancel(worker, 1);
    wait_for_end(1);
    expect_cancelled(1);
}

/* ---- start ---- */

static int start_bytes(uint32_t run, const char *pairs, size_t length)
{
    return worker_start(worker, run, pairs, length);
}

CASE(bad_starts)
{
    ck_assert_int_eq(start_bytes(1, "", 0), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input", 6), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input\0{}", 8), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "input\0{}\0x", 11), -EPROTO);
    ck_assert_int_eq(start_bytes(1, "other\0{}", 9), -EPROTO);
    ck_assert_int_eq(start_bytes(WORKER_JOBS_MAX, "input\0{}", 9), -EPROTO);
    ck_assert_int_eq(start_bytes(UINT32_MAX, "input\0{}", 9), -EPROTO);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(record_count, 0);
}

CASE(number_is_taken)
{
    start(3, agent_sleeps);
    ck_assert_int_eq(start_bytes(3, "input\0\"helper\"", 15), -EPROTO);
    wait_for_events(3, 1);
    worker_cancel(worker, 3);
    wait_for_end(3);
    expect_cancelled(3);
}

CASE(number_is_free_again)
{
    struct account whole = {.credit = WIRE_WINDOW};

    for (int i = 0; i < 50; i++) {
        run_agent(agent_nothing);
        expect_finished(1);
        free(accounts[1].code);
        free(accounts[1].message);
        free(accounts[1].result);
        accounts[1] = whole;
    }
}

CASE(numbers_far_apart)
{
    start(RUNS - 1, agent_sleeps);
    start(0, agent_sleeps);
    start(RUNS / 2, agent_sleeps);
    for (uint32_t run = 0; run < RUNS; run++)
        worker_cancel(worker, run);
    wait_for_end(0);
    wait_for_end(RUNS / 2);
    wait_for_end(RUNS - 1);
}

/* ---- quit ---- */

CASE(quit_without_runs)
{
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert(loop_comes_to_rest());
    ck_assert_uint_eq(times_left, 1);
    ck_assert_int_eq(life.destroyed, 1);
}

CASE(quit_ends_all_runs)
{
    for (uint32_t run = 1; run <= 10; run++)
        start(run, agent_sleeps);
    worker_quit(worker);
    while (times_left == 0)
        uv_run(&loop, UV_RUN_ONCE);
    for (uint32_t run = 1; run <= 10; run++) {
        ck_assert(accounts[run].ended);
        expect_cancelled(run);
    }
    ck_assert_int_eq(life.destroyed, 1);
}

/* ---- */
