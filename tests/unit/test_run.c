/*
 * Runs, with an executor and subscribers that only take notes. What subscribers
 * read is parsed as server-sent events and checked as a whole: see stream_after().
 */
#include "../case.h"
#include "run/run.h"

#include "base/json.h"
#include "base/log.h"
#include "protocol/native.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As run.c has it. */
#define CREDIT_STEP (32 * 1024)

/* What a log may hold beside what is counted: the run's own first event and its done. */
#define OWN_EVENTS 512

#define HOUR_MS (60 * 60 * 1000)

static const struct run_agent agent = {.name = "echo", .version = "1.2", .generation = 3};

static const struct runs_limits plenty = {
    .retention_ms = HOUR_MS, .log_size = 1024 * 1024, .log_budget = 256 * 1024 * 1024};

static uv_loop_t loop;
static struct runs *runs;
static struct run *run;      /* of most tests */
static struct run_spec spec; /* of the next run */

/* ---- the executor ---- */

static struct {
    bool has_run;
    unsigned cancels;
    unsigned gifts;  /* calls of credit() */
    uint64_t credit; /* what the agent may still spend */
    unsigned inputs;
    char last_input[32];
    int input_status; /* what input() answers */
    unsigned ignored;
    uint64_t at_ms; /* of the last call of cancel() or ignored() */
    uint32_t number;
} told;

static void on_cancel(void *data, uint32_t number)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    told.cancels++;
    told.at_ms = uv_now(&loop);
}

static void on_credit(void *data, uint32_t number, uint32_t bytes)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    told.gifts++;
    told.credit += bytes;
    ck_assert_uint_le(told.credit, WIRE_WINDOW);
}

static int on_input(void *data, uint32_t number, const char *json, size_t length)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    ck_assert_uint_lt(length, sizeof told.last_input);
    if (told.input_status < 0)
        return told.input_status;
    told.inputs++;
    memcpy(told.last_input, json, length);
    told.last_input[length] = '\0';
    return 0;
}

static void on_ignored(void *data, uint32_t number)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    ck_assert(run_has_ended(run));
    told.ignored++;
    told.at_ms = uv_now(&loop);
}

static const struct executor executor = {
    .cancel = on_cancel, .credit = on_credit, .input = on_input, .ignored = on_ignored};

/* As spec says. */
static struct run *create_run(void)
{
    struct buf pairs = {0};
    struct run *created;

    wire_append_pair(&pairs, "input", "{\"q\":1}");
    spec.pairs = &pairs;
    ck_assert_int_eq(run_create(runs, &spec, &created), 0);
    ck_assert_uint_eq(buf_length(&pairs), 0);
    buf_finish(&pairs);
    return created;
}

/* One that nobody runs: it has ended and can be found. */
static struct run *create_ended(void)
{
    struct run *ended = create_run();

    run_cancel(ended);
    return ended;
}

static void start(struct run *started)
{
    run_start(started, &agent, &executor, &told, told.number);
    told.has_run = true;
}

static int append_event(const char *type, const char *json, size_t json_length)
{
    struct event event = {
        .type = type, .type_length = strlen(type), .json = json, .json_length = json_length};
    uint64_t cost = wire_charge(event.type_length, json_length);
    int status;

    told.credit -= cost;
    status = run_append(run, &event);
    if (status < 0)
        told.credit += cost;
    return status;
}

static int append(const char *type, const char *json)
{
    return append_event(type, json, strlen(json));
}

/* Appends an event that costs exactly so much; at least WIRE_CHARGE and 2. */
static int append_cost(size_t cost)
{
    size_t length = cost - WIRE_CHARGE - 1;
    char *json = malloc(length);
    int status;

    memset(json, '1', length);
    status = append_event("t", json, length);
    free(json);
    return status;
}

static void append_kilobytes(unsigned count)
{
    while (count-- > 0)
        ck_assert_int_eq(append_cost(1024), 0);
}

static int end(enum wire_status status, const char *code, const char *message, const char *result)
{
    struct wire_end how = {.status = status, .code = code, .message = message, .result = result};
    int refused = run_end(run, &how);

    told.has_run = told.has_run && refused < 0;
    return refused;
}

static int finish(void)
{
    return end(WIRE_FINISHED, "", "", "");
}

/* ---- the subscriber ---- */

struct reader {
    struct subscriber subscriber; /* first */
    struct buf text;              /* what it has read */
    bool lazy;                    /* it does not read by itself */
    unsigned leave_at;            /* the call of appended() at which it unsubscribes, 0 for none */
    unsigned told;                /* calls of appended() */
};

static struct reader reader;

static size_t unread(const struct reader *self)
{
    return (size_t)(run_log(self->subscriber.run)->ring.end - self->subscriber.cursor);
}

/* Reads at most so many bytes. */
static void reader_read(struct reader *self, size_t most)
{
    const struct ring *ring = &run_log(self->subscriber.run)->ring;
    uint64_t upto = self->subscriber.cursor + (unread(self) < most ? unread(self) : most);
    struct iovec pieces[2];
    int count = ring_view(ring, self->subscriber.cursor, upto, pieces);

    for (int i = 0; i < count; i++)
        buf_append(&self->text, pieces[i].iov_base, pieces[i].iov_len);
    run_consume(&self->subscriber, upto);
}

static void on_appended(struct subscriber *subscriber)
{
    struct reader *self = (struct reader *)subscriber;

    self->told++;
    if (!self->lazy)
        reader_read(self, SIZE_MAX);
    if (self->told == self->leave_at)
        run_unsubscribe(subscriber);
}

static struct run_gap subscribe_after(struct reader *self, uint64_t after)
{
    struct run_gap gap;

    self->subscriber.appended = on_appended;
    run_subscribe(run, &self->subscriber, after, &gap);
    return gap;
}

static void subscribe(struct reader *self)
{
    struct run_gap gap = subscribe_after(self, 0);

    ck_assert_uint_eq(gap.to, 0);
}

/* ---- the stream ---- */

struct stream {
    unsigned events; /* the number of the last */
    unsigned dones;
    char types[512];     /* each followed by a space */
    char last_data[512]; /* of the last event, cut */
};

/* The value of the line that begins with this name; *at moves behind the line. */
static char *take_line(char **at, const char *name)
{
    char *value = *at + strlen(name);
    char *line_end;

    ck_assert_msg(strncmp(*at, name, strlen(name)) == 0, "wanted %s: %.80s", name, *at);
    line_end = strchr(value, '\n');
    ck_assert_ptr_nonnull(line_end);
    *line_end = '\0';
    *at = line_end + 1;
    return value;
}

static void take_event(char **at, struct stream *stream)
{
    char wanted[64];
    char *type, *data;

    snprintf(wanted, sizeof wanted, "%s.%u", run_id(run), ++stream->events);
    type = take_line(at, "event: ");
    data = take_line(at, "data: ");
    ck_assert_str_eq(take_line(at, "id: "), wanted);
    ck_assert_str_eq(take_line(at, ""), "");
    ck_assert_int_eq(json_check(data, strlen(data)), (ssize_t)strlen(data));
    if (strlen(stream->types) + strlen(type) + 2 < sizeof stream->types)
        strcat(strcat(stream->types, type), " ");
    snprintf(stream->last_data, sizeof stream->last_data, "%s", data);
    stream->dones += strcmp(type, "done") == 0;
}

/* All that the reader has read: events numbered without gaps, nothing behind `done`. */
static struct stream stream_after(struct reader *self, unsigned missed)
{
    struct stream stream = {.events = missed};
    char *text = buf_steal(&self->text), *at = text;

    while (*at) {
        ck_assert_uint_eq(stream.dones, 0);
        take_event(&at, &stream);
    }
    free(text);
    return stream;
}

/* What one who comes now reads from behind this event on. */
static struct stream replay(uint64_t after)
{
    struct reader late = {.lazy = true};
    struct run_gap gap = subscribe_after(&late, after);

    reader_read(&late, SIZE_MAX);
    run_unsubscribe(&late.subscriber);
    return stream_after(&late, (unsigned)(gap.to > 0 ? gap.to : after));
}

static struct stream stream_of(struct reader *self)
{
    return stream_after(self, 0);
}

static void expect_stream(const char *types, const char *last_data)
{
    struct stream stream = stream_of(&reader);

    ck_assert_str_eq(stream.types, types);
    ck_assert_str_eq(stream.last_data, last_data);
}

/* ---- time ---- */

static void on_passed(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* So many milliseconds of the loop's time; what is due until then happens before it returns. */
static void pass(uint64_t ms)
{
    bool passed = false;
    uv_timer_t timer;

    uv_timer_init(&loop, &timer);
    timer.data = &passed;
    uv_timer_start(&timer, on_passed, ms, 0);
    while (!passed)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* ---- fixtures ---- */

static void setup_runs_with(const struct runs_limits *limits)
{
    log_open("test", "", LOG_FATAL);
    memset(&told, 0, sizeof told);
    told.number = 42;
    told.credit = WIRE_WINDOW;
    reader = (struct reader){.text = {0}};
    spec = (struct run_spec){.agent = "echo",
                             .subject = "",
                             .linger_ms = NEVER,
                             .deadline_ms = NEVER,
                             .grace_ms = NEVER};
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    runs = runs_create(&loop, limits);
    run = NULL;
}

static void setup_runs(void)
{
    setup_runs_with(&plenty);
}

static void setup(void)
{
    setup_runs();
    run = create_run();
}

/* As spec says. */
static void start_run(void)
{
    run = create_run();
    subscribe(&reader);
    start(run);
}

static void setup_running(void)
{
    setup_runs();
    start_run();
}

/* Forgets all that is ended and not read. */
static void forget_all(void)
{
    struct runs_limits nothing = {.retention_ms = HOUR_MS};
    struct run *last;

    runs_set_limits(runs, &nothing);
    spec.key = spec.client = NULL;
    last = create_ended();
    run_unref(last);
}

static void teardown(void)
{
    if (run && (told.has_run || !run_has_ended(run)))
        ck_assert_int_eq(finish(), 0);
    if (reader.subscriber.run)
        run_unsubscribe(&reader.subscriber);
    if (run)
        run_unref(run);
    forget_all();
    ck_assert_uint_eq(runs_memory(runs), 0);
    ck_assert_uint_eq(runs_live(runs), 0);
    runs_destroy(runs);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    buf_finish(&reader.text);
}

/* ---- identity ---- */

CASES("queued", .setup = setup, .teardown = teardown);

CASE(new_run_is_queued)
{
    ck_assert_int_eq(run_get_state(run), RUN_queued);
    ck_assert(!run_has_ended(run));
    ck_assert_str_eq(run_agent_name(run), "echo");
    ck_assert_str_eq(run_subject(run), "");
    ck_assert_uint_eq(run_log(run)->last, 0);
    ck_assert_uint_eq(runs_live(runs), 1);
}

CASE(subject_is_copied)
{
    char subject[] = "alice";
    struct run *hers;

    spec.subject = subject;
    hers = create_run();
    subject[0] = 'A';
    ck_assert_str_eq(run_subject(hers), "alice");
    run_cancel(hers);
    ck_assert_str_eq(run_subject(hers), "alice");
    run_unref(hers);
}

CASE(found_by_id)
{
    char other[RUN_ID_LENGTH + 1];

    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    strcpy(other, run_id(run));
    other[RUN_ID_LENGTH - 1] ^= 1;
    ck_assert_ptr_null(runs_find(runs, other));
    ck_assert_ptr_null(runs_find(runs, ""));
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

CASE(ids_are_unique_and_well_formed)
{
    enum { COUNT = 2000 };
    static struct run *made[COUNT];
    static const char *ids[COUNT];
    char all[COUNT + 1] = {0};

    for (int i = 0; i < COUNT; i++) {
        made[i] = create_run();
        ids[i] = run_id(made[i]);
        all[i] = ids[i][RUN_ID_LENGTH - 1];
        ck_assert_uint_eq(strlen(ids[i]), RUN_ID_LENGTH);
        ck_assert_uint_eq(strspn(ids[i], "0123456789abcdefghjkmnpqrstvwxyz"), RUN_ID_LENGTH);
        ck_assert_int_le(ids[i][0], '7'); /* 128 bits in 26 letters of five */
    }
    for (const char *letter = "0123456789abcdefghjkmnpqrstvwxyz"; *letter; letter++)
        ck_assert_msg(strchr(all, *letter) != NULL, "no id ends in %c", *letter);
    qsort(ids, COUNT, sizeof *ids, compare_strings);
    for (int i = 1; i < COUNT; i++)
        ck_assert_str_ne(ids[i - 1], ids[i]);
    runs_fail_all(runs, RUN_ERROR_shutdown);
    for (int i = 0; i < COUNT; i++)
        run_unref(made[i]);
}

CASE(pairs_of_start)
{
    const struct buf *pairs = run_pairs(run, &agent);
    struct buf wanted = {0};

    wire_append_pair(&wanted, "input", "{\"q\":1}");
    wire_append_pair(&wanted, "run.id", run_id(run));
    wire_append_pair(&wanted, "run.agent", "echo");
    wire_append_pair(&wanted, "plugin.version", "1.2");
    wire_append_pair(&wanted, "plugin.generation", "3");
    ck_assert_uint_eq(buf_length(pairs), buf_length(&wanted));
    ck_assert_mem_eq(buf_data(pairs), buf_data(&wanted), buf_length(&wanted));
    buf_finish(&wanted);
}

/* ---- events ---- */

CASES("events", .setup = setup_running, .teardown = teardown);

CASE(first_event_is_run)
{
    char wanted[256];

    ck_assert_int_eq(run_get_state(run), RUN_running);
    snprintf(wanted, sizeof wanted,
             "{\"run\":\"%s\",\"agent\":\"echo\",\"version\":\"1.2\",\"generation\":3}",
             run_id(run));
    expect_stream("run ", wanted);
}

CASE(bytes_of_an_event)
{
    char wanted[256];

    buf_consume(&reader.text, buf_length(&reader.text));
    ck_assert_int_eq(append("text", "{\"delta\":\"Hello\"}"), 0);
    snprintf(wanted, sizeof wanted, "event: text\ndata: {\"delta\":\"Hello\"}\nid: %s.2\n\n",
             run_id(run));
    ck_assert_uint_eq(buf_length(&reader.text), strlen(wanted));
    ck_assert_mem_eq(buf_data(&reader.text), wanted, strlen(wanted));
}

CASE(numbers_have_no_gaps)
{
    struct stream stream;

    for (int i = 0; i < 1200; i++)
        ck_assert_int_eq(append("n", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    stream = stream_of(&reader);
    ck_assert_uint_eq(stream.events, 1202);
    ck_assert_uint_eq(stream.dones, 1);
    ck_assert_uint_eq(reader.told, 1202);
}

CASE(line_breaks_are_refused)
{
    ck_assert_int_eq(append("text", "{\"a\":\n1}"), -EPROTO);
    ck_assert_int_eq(append("text", "1\r"), -EPROTO);
    ck_assert_int_eq(append("text", "\n"), -EPROTO);
    ck_assert_int_eq(append("te\nxt", "1"), -EPROTO);
    ck_assert_int_eq(append("text\r", "1"), -EPROTO);
    ck_assert_int_eq(append("te xt", "1"), -EPROTO);
    ck_assert_int_eq(append("t\xc3\xa4", "1"), -EPROTO);
    ck_assert_int_eq(append("t\x7f", "1"), -EPROTO);
    ck_assert_int_eq(append("t\x01", "1"), -EPROTO);
    ck_assert_uint_eq(stream_of(&reader).events, 1);
}

/* A worker that sends one forges the host's word; agents of ours cannot. */
CASE_LOOP(event_types_of_the_host_are_refused, 0, 5)
{
    static const char *const types[] = {"run", "gap", "done", "error", "open"};

    ck_assert_int_eq(append(types[_i], "{\"status\":\"finished\"}"), -EPROTO);
    ck_assert_uint_eq(stream_of(&reader).events, 1);
}

CASE(late_subscriber_reads_from_the_start)
{
    struct reader late = {.lazy = false};

    ck_assert_int_eq(append("a", "1"), 0);
    subscribe(&late);
    ck_assert_uint_eq(late.told, 0); /* what there is, it may read at once */
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert_uint_eq(late.told, 1);
    run_unsubscribe(&late.subscriber);
    ck_assert_str_eq(stream_of(&late).types, "run a b ");
    ck_assert_str_eq(stream_of(&reader).types, "run a b ");
}

CASE(late_subscriber_reads_behind_any_event)
{
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(append("n", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    for (unsigned after = 0; after <= 22; after++) {
        struct stream stream = replay(after);
        ck_assert_uint_eq(stream.events, 22);
        ck_assert_uint_eq(stream.dones, after < 22);
    }
}

/* Nothing is there for it yet. */
CASE(subscribes_behind_the_last_event)
{
    struct reader late = {.lazy = false};
    struct run_gap gap = subscribe_after(&late, 1);

    ck_assert_uint_eq(gap.to, 0);
    ck_assert_uint_eq(unread(&late), 0);
    ck_assert_int_eq(append("a", "1"), 0);
    run_unsubscribe(&late.subscriber);
    ck_assert_str_eq(stream_after(&late, 1).types, "a ");
}

CASE(subscribes_before_it_runs)
{
    struct run *running = run;

    run = create_run();
    run_unsubscribe(&reader.subscriber);
    buf_finish(&reader.text);
    subscribe(&reader);
    ck_assert_uint_eq(unread(&reader), 0);
    run_abort(run, RUN_ERROR_unavailable, NULL);
    ck_assert_str_eq(stream_of(&reader).types, "done ");
    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    run = running;
}

CASE(each_subscriber_reads_at_its_own_pace)
{
    struct reader slow = {.lazy = true};
    struct stream stream;

    subscribe(&slow);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(append("x", "12345"), 0);
        reader_read(&slow, 17);
    }
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_lt(slow.subscriber.cursor, reader.subscriber.cursor);
    reader_read(&slow, SIZE_MAX);
    run_unsubscribe(&slow.subscriber);
    stream = stream_of(&reader);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
    stream = stream_of(&slow);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
}

CASE(kept_while_nobody_reads)
{
    run_unsubscribe(&reader.subscriber);
    ck_assert_int_eq(append("x", "1"), 0);
    ck_assert_int_eq(append("y", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_str_eq(replay(0).types, "run x y done ");
}

CASE(unsubscribes_while_told)
{
    reader.leave_at = 3;
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_ptr_eq(reader.subscriber.run, run);
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert_ptr_null(reader.subscriber.run);
    ck_assert_int_eq(append("c", "3"), 0);
    ck_assert_uint_eq(reader.told, 3);
}

/* The one that leaves stands before, between and behind ones that stay. */
CASE_LOOP(others_are_told_when_one_leaves, 0, 3)
{
    struct reader others[3] = {{.lazy = true}, {.lazy = true}, {.lazy = true}};

    for (int i = 0; i < 3; i++) {
        others[i].leave_at = i == _i ? 1 : 0;
        subscribe(&others[i]);
    }
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_int_eq(append("b", "2"), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(others[i].told, i == _i ? 1 : 2);
        if (others[i].subscriber.run)
            run_unsubscribe(&others[i].subscriber);
    }
    ck_assert_uint_eq(reader.told, 3);
}

CASE(all_leave_at_done)
{
    struct reader other = {.leave_at = 1};

    subscribe(&other);
    reader.leave_at = 2;
    ck_assert_int_eq(finish(), 0);
    ck_assert_ptr_null(reader.subscriber.run);
    ck_assert_ptr_null(other.subscriber.run);
    ck_assert_uint_eq(stream_of(&other).dones, 1);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

/* ---- ends: each gives exactly one done ---- */

CASES("ends", .setup = setup_running, .teardown = teardown);

CASE(finished)
{
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    ck_assert(run_has_ended(run));
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASE(finished_with_result)
{
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "{\"answer\":[42]}"), 0);
    expect_stream("run done ", "{\"status\":\"finished\",\"result\":{\"answer\":[42]}}");
}

CASE(failed)
{
    ck_assert_int_eq(end(WIRE_FAILED, "no_model", "it said: \"no\"\n\xff", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"no_model\","
                               "\"message\":\"it said: \\\"no\\\"\\n?\"}}");
}

CASE(cancelled_by_its_worker)
{
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\"}");
}

CASE(result_with_line_break_is_refused)
{
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "{\n}"), -EPROTO);
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "\r"), -EPROTO);
    ck_assert(!run_has_ended(run));
    ck_assert_int_eq(end(WIRE_FAILED, "worker_crashed", "x", ""), 0);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"worker_crashed\","
                               "\"message\":\"x\"}}");
}

CASES("queued", .setup = setup, .teardown = teardown);

CASE(aborted_while_queued)
{
    subscribe(&reader);
    run_abort(run, RUN_ERROR_unavailable, "it was refused");
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("done ", "{\"status\":\"failed\",\"error\":{\"code\":\"unavailable\","
                           "\"message\":\"the agent cannot be started: it was refused\"}}");
}

CASES("ends", .setup = setup_running, .teardown = teardown);

CASE(aborted_while_running)
{
    run_abort(run, RUN_ERROR_shutdown, NULL);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_int_eq(append("late", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"shutdown\","
                               "\"message\":\"the server is stopping\"}}");
}

CASE(aborted_twice)
{
    run_abort(run, RUN_ERROR_shutdown, NULL);
    run_abort(run, RUN_ERROR_worker_crashed, "x");
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

CASE(aborted_after_its_end)
{
    ck_assert_int_eq(finish(), 0);
    run_abort(run, RUN_ERROR_worker_crashed, NULL);
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASES("queued", .setup = setup, .teardown = teardown);

CASE(cancelled_while_queued)
{
    subscribe(&reader);
    run_cancel(run);
    run_cancel(run);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_uint_eq(runs_live(runs), 0);
    expect_stream("done ", "{\"status\":\"cancelled\"}");
}

CASES("ends", .setup = setup_running, .teardown = teardown);

CASE(cancelled_while_running)
{
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert(!run_has_ended(run));
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(append("last", "1"), 0);
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    expect_stream("run last done ", "{\"status\":\"cancelled\"}");
}

CASE(aborted_while_it_is_being_cancelled)
{
    run_cancel(run);
    run_abort(run, RUN_ERROR_worker_crashed, "killed by signal 9");
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
}

CASE(all_are_failed)
{
    struct run *other = create_run();

    runs_fail_all(runs, RUN_ERROR_shutdown);
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_int_eq(run_get_state(other), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    runs_fail_all(runs, RUN_ERROR_shutdown);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    run_unref(other);
}

/* The executor's reference and the table's keep it; sanitizers look on. */
CASE(caller_may_let_go_at_once)
{
    struct run *kept = run;

    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    ck_assert_ptr_eq(runs_find(runs, run_id(kept)), kept);
    ck_assert_int_eq(finish(), 0);
    ck_assert_ptr_eq(runs_find(runs, run_id(kept)), kept);
    run = NULL;
}

/* ---- credit ---- */

CASES("credit", .setup = setup_running, .teardown = teardown);

CASE(unread_events_cost_credit)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
}

CASE(overdraw_is_refused)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_int_eq(append_cost(WIRE_CHARGE + 2), -EPROTO);
    ck_assert_uint_eq(told.gifts, 0);
}

CASE(overdraw_by_one_byte_is_refused)
{
    reader.lazy = true;
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2), 0);
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2 + 1), -EPROTO);
}

CASE(all_credit_comes_back_when_all_is_read)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.credit, 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

CASE(credit_comes_back_in_steps)
{
    for (int i = 0; i < 31; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 1);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

CASE(nobody_reads_credit_comes_back)
{
    run_unsubscribe(&reader.subscriber);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
}

CASE(slowest_reader_rules)
{
    struct reader slow = {.lazy = true};

    subscribe(&slow);
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&slow.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

/* Of three at the same place, the last one that leaves it frees what is before. */
CASE(several_equal_readers_rule)
{
    struct reader others[2] = {{.lazy = true}, {.lazy = true}};

    reader.lazy = true;
    subscribe(&others[0]);
    subscribe(&others[1]);
    reader_read(&reader, 0);
    run_consume(&reader.subscriber, 0); /* is where they are */
    append_kilobytes(512);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&others[0].subscriber);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&others[1], 1);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&others[1], SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&others[1].subscriber);
    buf_finish(&others[1].text);
}

/* The one behind it is the slowest then, not the one that was. */
CASE(slowest_reader_overtakes)
{
    struct reader other = {.lazy = true};

    reader.lazy = true;
    append_kilobytes(480);
    subscribe_after(&other, 481);
    append_kilobytes(32);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - 64 * 1024);
    ck_assert_uint_lt(told.credit, WIRE_WINDOW);
    reader_read(&other, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&other.subscriber);
    buf_finish(&other.text);
}

/* What it has yet to read was paid for and given back; it holds the agent all the same. */
CASE(late_reader_holds_the_agent)
{
    struct reader late = {.lazy = true};

    append_kilobytes(512);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    told.gifts = 0;
    subscribe(&late);
    append_kilobytes(1024);
    ck_assert_uint_eq(told.gifts, 0);
    reader_read(&late, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    run_unsubscribe(&late.subscriber);
    ck_assert_uint_eq(stream_of(&late).events, 1 + 512 + 1024);
}

CASE(late_reader_that_leaves_frees_the_agent)
{
    struct reader late = {.lazy = true};

    append_kilobytes(512);
    subscribe(&late);
    append_kilobytes(1024);
    ck_assert_uint_eq(told.credit, 0);
    run_unsubscribe(&late.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}

CASE(no_credit_after_the_end)
{
    reader.lazy = true;
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
}

/*
 * An agent that emits as long as it has credit, and a subscriber that reads
 * as it likes: unread events never take more than the window (the run's own
 * first event beside it), and the agent never stalls when all is read.
 */
CASE_LOOP(random_pace, 0, 4)
{
    static const size_t most[] = {200, 3000, 60000, WIRE_EVENT_MAX};
    unsigned sent = 1;

    reader.lazy = true;
    srand((unsigned)_i);
    for (int round = 0; round < 1000; round++) {
        size_t cost = WIRE_CHARGE + 2 + (size_t)rand() % most[rand() % 4];
        while (rand() % 4 && cost <= told.credit) {
            ck_assert_int_eq(append_cost(cost), 0);
            sent++;
        }
        ck_assert_uint_le(ring_length(&run_log(run)->ring),
                          plenty.log_size + WIRE_WINDOW + OWN_EVENTS);
        ck_assert_uint_le(unread(&reader), WIRE_WINDOW + OWN_EVENTS);
        reader_read(&reader, rand() % 4 ? (size_t)rand() % 100000 : SIZE_MAX);
        if (unread(&reader) == 0)
            ck_assert_uint_ge(told.credit, wire_charge(WIRE_TYPE_MAX, WIRE_EVENT_MAX));
    }
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, sent + 1);
}

/* ---- describe ---- */

static cJSON *describe(void)
{
    struct buf json = {0};
    cJSON *tree;

    run_describe(run, &json);
    tree = cJSON_ParseWithLength(buf_data(&json), buf_length(&json));
    ck_assert_ptr_nonnull(tree);
    ck_assert_int_eq(json_check(buf_data(&json), buf_length(&json)), (ssize_t)buf_length(&json));
    buf_finish(&json);
    return tree;
}

static void expect_string(const cJSON *tree, const char *name, const char *wanted)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    ck_assert_msg(cJSON_IsString(item), "no %s", name);
    ck_assert_str_eq(item->valuestring, wanted);
}

static void expect_number(const cJSON *tree, const char *name, int wanted)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(tree, name);

    ck_assert_msg(cJSON_IsNumber(item), "no %s", name);
    ck_assert_int_eq(item->valueint, wanted);
}

CASES("queued", .setup = setup, .teardown = teardown);

CASE(describe_queued)
{
    cJSON *tree = describe();

    expect_string(tree, "run", run_id(run));
    expect_string(tree, "agent", "echo");
    expect_string(tree, "status", "queued");
    expect_number(tree, "events", 0);
    ck_assert_int_eq(cJSON_GetArraySize(tree), 4);
    cJSON_Delete(tree);
}

CASES("events", .setup = setup_running, .teardown = teardown);

CASE(describe_running)
{
    cJSON *tree;

    ck_assert_int_eq(append("text", "1"), 0);
    tree = describe();
    expect_string(tree, "run", run_id(run));
    expect_string(tree, "agent", "echo");
    expect_string(tree, "version", "1.2");
    expect_number(tree, "generation", 3);
    expect_string(tree, "status", "running");
    expect_number(tree, "events", 2);
    ck_assert_int_eq(cJSON_GetArraySize(tree), 6);
    cJSON_Delete(tree);
}

CASES("ends", .setup = setup_running, .teardown = teardown);

CASE_LOOP(describe_ends, 0, 3)
{
    static const char *const states[] = {"finished", "failed", "cancelled"};
    cJSON *tree, *error;

    ck_assert_int_eq(end((enum wire_status)_i, _i == WIRE_FAILED ? "c\"d" : "",
                         _i == WIRE_FAILED ? "a\nb\xff" : "", ""),
                     0);
    tree = describe();
    expect_string(tree, "status", states[_i]);
    expect_number(tree, "events", 2);
    error = cJSON_GetObjectItemCaseSensitive(tree, "error");
    ck_assert_int_eq(error != NULL, _i == WIRE_FAILED);
    if (error) {
        expect_string(error, "code", "c\"d");
        expect_string(error, "message", "a\nb?");
    }
    cJSON_Delete(tree);
}

/* ---- what is kept ---- */

static void set_log_size(size_t log_size)
{
    struct runs_limits limits = plenty;

    limits.log_size = log_size;
    runs_set_limits(runs, &limits);
}

static size_t log_length(void)
{
    return ring_length(&run_log(run)->ring);
}

CASES("kept events", .setup = setup_running, .teardown = teardown);

/* What its reader has read, when an event comes: so there is one event more. */
CASE(history_is_bounded_by_log_size)
{
    set_log_size(100000);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), 100000 + 1024);
    ck_assert_uint_gt(log_length(), 100000);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW - 300 * 1024 % CREDIT_STEP);
}

CASE(hardly_any_history)
{
    set_log_size(1024);
    append_kilobytes(300);
    ck_assert_uint_eq(stream_of(&reader).events, 301);
    ck_assert_uint_le(log_length(), 2 * 1024);
    ck_assert_uint_le(run_log(run)->ring.capacity, 4 * 1024);
}

CASE(unread_takes_nothing_from_history)
{
    set_log_size(100000);
    append_kilobytes(90);
    reader.lazy = true;
    append_kilobytes(300);
    ck_assert_uint_eq(replay(0).events, 391);
}

CASE(history_without_readers_is_bounded)
{
    run_unsubscribe(&reader.subscriber);
    set_log_size(100000);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), 100000);
    ck_assert_uint_gt(log_length(), 100000 - 1024);
}

/* The more live runs there are, the less each keeps. */
CASE(history_is_bounded_by_the_fair_share)
{
    struct runs_limits limits = plenty;
    struct run *others[9];

    limits.log_budget = 4 * 1100 * 1024;
    runs_set_limits(runs, &limits);
    append_kilobytes(700);
    ck_assert_uint_le(log_length(), 551 * 1024);
    ck_assert_uint_gt(log_length(), 550 * 1024);
    for (int i = 0; i < 9; i++)
        others[i] = create_run();
    append_kilobytes(1);
    ck_assert_uint_le(log_length(), 101 * 1024);
    ck_assert_uint_gt(log_length(), 100 * 1024);
    for (int i = 0; i < 9; i++) {
        run_cancel(others[i]);
        run_unref(others[i]);
    }
}

CASE(history_has_the_least_share)
{
    struct runs_limits limits = plenty;

    limits.log_budget = 1024;
    runs_set_limits(runs, &limits);
    append_kilobytes(300);
    ck_assert_uint_le(log_length(), RUN_SHARE_LEAST + 1024);
    ck_assert_uint_gt(log_length(), RUN_SHARE_LEAST);
}

CASE(gap)
{
    struct reader late = {.lazy = true};
    struct run_gap told_gap;
    uint64_t dropped;

    set_log_size(10000);
    append_kilobytes(100);
    subscribe_after(&late, 0); /* which drops what has been read meanwhile */
    run_unsubscribe(&late.subscriber);
    dropped = run_log(run)->dropped;
    ck_assert_uint_gt(dropped, 80);
    for (uint64_t after = 0; after <= 101; after++) {
        told_gap = subscribe_after(&late, after);
        ck_assert_uint_eq(told_gap.from, after < dropped ? after + 1 : 0);
        ck_assert_uint_eq(told_gap.to, after < dropped ? dropped : 0);
        run_unsubscribe(&late.subscriber);
        ck_assert_uint_eq(replay(after).events, 101);
    }
}

CASE(unread_events_are_not_dropped)
{
    set_log_size(10000);
    reader.lazy = true;
    append_kilobytes(1024);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, 1025);
}

/* Neither what the slowest of several has not read, nor the rest of an event that it reads. */
CASE(event_that_is_read_in_part_is_kept)
{
    struct reader slow = {.lazy = true};

    set_log_size(1000);
    subscribe(&slow);
    append_kilobytes(10);
    reader_read(&slow, 3000);
    append_kilobytes(10);
    ck_assert_uint_gt(log_length(), 17 * 1024);
    reader_read(&slow, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&slow).events, 21);
    run_unsubscribe(&slow.subscriber);
}

CASE(large_event_that_is_read_in_part)
{
    set_log_size(1000);
    reader.lazy = true;
    ck_assert_int_eq(append_cost(900000), 0);
    reader_read(&reader, 899900);
    while (told.credit >= 1024)
        append_kilobytes(1);
    ck_assert_uint_gt(log_length(), 900000 + 900000);
    ck_assert_uint_le(log_length(), 900000 + WIRE_WINDOW + OWN_EVENTS);
}

/* Each comes before the agent has used the credit that the one before gave back. */
CASE(readers_one_after_another)
{
    struct reader late = {.lazy = true};

    set_log_size(100000);
    reader.lazy = true;
    for (int i = 0; i < 5; i++) {
        while (told.credit >= 1024)
            append_kilobytes(1);
        ck_assert_uint_le(log_length(), 100000 + WIRE_WINDOW + OWN_EVENTS);
        reader_read(&reader, SIZE_MAX);
        ck_assert_uint_eq(told.credit, WIRE_WINDOW);
        subscribe_after(&late, 0);
        ck_assert_uint_le(unread(&late), 100000);
        run_unsubscribe(&reader.subscriber);
        subscribe_after(&reader, 0);
        run_unsubscribe(&late.subscriber);
    }
}

/* Else who comes late would wait for it in vain. */
CASE_LOOP(done_is_kept_however_large, 0, 2)
{
    char *result = malloc(200001);
    struct stream stream;

    memset(result, '1', 200000);
    result[200000] = '\0';
    set_log_size(100000);
    if (_i)
        run_unsubscribe(&reader.subscriber);
    append_kilobytes(50);
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", result), 0);
    stream = replay(0);
    ck_assert_uint_eq(stream.dones, 1);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_lt(log_length(), 200000 + 60 * 1024);
    free(result);
}

/* A reader at its own pace, and others that come at any event and go: see random_pace. */
CASE_LOOP(random_readers, 0, 6)
{
    static const size_t log_sizes[] = {65536, 200000, 1024 * 1024};
    static const size_t most[] = {200, 3000, 60000};
    size_t log_size = log_sizes[_i % 3];
    struct reader others[4] = {{.told = 0}};
    unsigned missed[4], sent = 1;

    set_log_size(log_size);
    reader.lazy = true;
    srand((unsigned)_i);
    for (int round = 0; round < 500; round++) {
        int which = rand() % 4;
        struct reader *other = &others[which];
        size_t cost = WIRE_CHARGE + 2 + (size_t)rand() % most[rand() % 3];
        while (rand() % 4 && cost <= told.credit) {
            ck_assert_int_eq(append_cost(cost), 0);
            sent++;
        }
        ck_assert_uint_le(log_length(), log_size + WIRE_WINDOW + OWN_EVENTS);
        if (rand() % 8)
            reader_read(&reader, rand() % 4 ? (size_t)rand() % 100000 : SIZE_MAX);
        if (other->subscriber.run == NULL) {
            struct run_gap behind;
            other->lazy = rand() % 4 > 0;
            missed[which] = (unsigned)rand() % (sent + 1);
            behind = subscribe_after(other, missed[which]);
            missed[which] = behind.to > 0 ? (unsigned)behind.to : missed[which];
        } else if (rand() % 4) {
            reader_read(other, rand() % 4 ? (size_t)rand() % 200000 : SIZE_MAX);
        } else {
            reader_read(other, SIZE_MAX);
            run_unsubscribe(&other->subscriber);
            ck_assert_uint_eq(stream_after(other, missed[which]).events, sent);
        }
    }
    for (int i = 0; i < 4; i++) {
        if (others[i].subscriber.run)
            run_unsubscribe(&others[i].subscriber);
        buf_finish(&others[i].text);
    }
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_le(log_length(), log_size + WIRE_WINDOW + OWN_EVENTS);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, sent + 1);
}

/* ---- cancel, and an agent that ignores it ---- */

CASES("cancel", .setup = setup_running, .teardown = teardown);

CASE(cancel_says_so)
{
    run_cancel(run);
    run_cancel(run);
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASES("cancel in time", .setup = setup_runs, .teardown = teardown);

CASE(ignored_after_its_grace)
{
    uint64_t cancelled_at;

    spec.grace_ms = 5;
    start_run();
    run_cancel(run);
    cancelled_at = told.at_ms;
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(told.at_ms, cancelled_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\"}");
    run_cancel(run);
    pass(20);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(told.ignored, 1);
}

/* The rest of its agent's words is for nobody. */
CASE(ignored_agent_goes_on)
{
    spec.grace_ms = 0;
    start_run();
    run_cancel(run);
    pass(1);
    ck_assert_uint_eq(told.ignored, 1);
    ck_assert_int_eq(append("late", "1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\"}");
}

CASE(ignored_after_an_abort)
{
    spec.grace_ms = 5;
    start_run();
    run_abort(run, RUN_ERROR_shutdown, NULL);
    ck_assert_uint_eq(told.cancels, 1);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    pass(20);
    ck_assert_uint_eq(told.ignored, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

CASE_LOOP(stops_within_its_grace, 0, 2)
{
    spec.grace_ms = 5;
    start_run();
    if (_i)
        run_abort(run, RUN_ERROR_shutdown, NULL);
    else
        run_cancel(run);
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    pass(20);
    ck_assert_uint_eq(told.ignored, 0);
}

CASES("cancel", .setup = setup_running, .teardown = teardown);

CASE(grace_without_end)
{
    run_cancel(run);
    pass(20);
    ck_assert_uint_eq(told.ignored, 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

static void on_second_cancel(uv_timer_t *timer)
{
    (void)timer;
    run_cancel(run);
    run_abort(run, RUN_ERROR_shutdown, NULL);
}

CASES("cancel in time", .setup = setup_runs, .teardown = teardown);

/* Its time began with the first. */
CASE(second_cancel_gives_no_more_time)
{
    uv_timer_t later;

    spec.grace_ms = 30;
    start_run();
    run_cancel(run);
    uv_timer_init(&loop, &later);
    uv_timer_start(&later, on_second_cancel, 10, 0);
    pass(30);
    uv_close((uv_handle_t *)&later, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_uint_eq(told.ignored, 1);
}

/* As one that kills its worker may do. */
static void on_ignored_end(void *data, uint32_t number)
{
    on_ignored(data, number);
    ck_assert_int_eq(end(WIRE_FAILED, "worker_crashed", "", ""), 0);
}

CASE(executor_ends_an_ignored_run_at_once)
{
    struct executor killer = executor;

    killer.ignored = on_ignored_end;
    spec.grace_ms = 1;
    run = create_run();
    run_start(run, &agent, &killer, &told, told.number);
    run_cancel(run);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
}

/* ---- readers that leave ---- */

/* Started with this time to linger; its reader leaves. */
static void leave_run(uint64_t linger_ms)
{
    spec.linger_ms = linger_ms;
    start_run();
    run_leave(&reader.subscriber);
    ck_assert_ptr_null(reader.subscriber.run);
}

CASES("leave", .setup = setup_runs, .teardown = teardown);

CASE(last_leaves_without_linger)
{
    leave_run(0);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE_LOOP(last_leaves_a_queued_run, 0, 2)
{
    spec.linger_ms = _i ? 2 : 0;
    run = create_run();
    subscribe(&reader);
    run_leave(&reader.subscriber);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_uint_eq(told.cancels, 0);
}

CASE(lingers_without_end)
{
    leave_run(NEVER);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_str_eq(replay(0).types, "run a done ");
}

CASE(lingers_for_its_time)
{
    uint64_t left_at;

    leave_run(5);
    left_at = uv_now(&loop);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(append("a", "1"), 0);
    while (told.cancels == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(told.at_ms, left_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    pass(20);
    ck_assert_uint_eq(told.cancels, 1);
}

CASE(reader_comes_back)
{
    leave_run(5);
    subscribe_after(&reader, 1);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    run_leave(&reader.subscriber);
    while (told.cancels == 0)
        uv_run(&loop, UV_RUN_ONCE);
}

CASE(another_reader_stays)
{
    struct reader other = {.lazy = false};

    spec.linger_ms = 0;
    start_run();
    subscribe(&other);
    run_leave(&reader.subscriber);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
    run_leave(&other.subscriber);
    ck_assert_uint_eq(told.cancels, 1);
    buf_finish(&other.text);
}

/* One that has what it wanted, and one whose client left, are not the same. */
CASE(unsubscribing_is_not_leaving)
{
    spec.linger_ms = 0;
    start_run();
    run_unsubscribe(&reader.subscriber);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
}

CASE_LOOP(leaves_after_the_end, 0, 2)
{
    spec.linger_ms = (uint64_t)_i;
    start_run();
    ck_assert_int_eq(finish(), 0);
    run_leave(&reader.subscriber);
    pass(10);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
}

CASE(ends_while_it_lingers)
{
    leave_run(5);
    ck_assert_int_eq(finish(), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
}

CASE(ignored_after_its_time_to_linger)
{
    spec.grace_ms = 2;
    leave_run(2);
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
}

/* ---- deadlines ---- */

static const char late_done[] = "{\"status\":\"failed\",\"error\":{\"code\":\"deadline\","
                                "\"message\":\"the run took longer than its deadline allows\"}}";

CASES("deadline", .setup = setup_runs, .teardown = teardown);

CASE(deadline_of_a_queued_run)
{
    uint64_t created_at = uv_now(&loop);

    spec.deadline_ms = 5;
    run = create_run();
    subscribe(&reader);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_ge(uv_now(&loop), created_at + 5);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("done ", late_done);
}

CASE(deadline_of_a_running_run)
{
    spec.deadline_ms = 5;
    start_run();
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    pass(10);
    ck_assert_uint_eq(told.ignored, 0);
    expect_stream("run done ", late_done);
}

CASE(deadline_of_an_agent_that_ignores_it)
{
    spec.deadline_ms = 2;
    spec.grace_ms = 2;
    start_run();
    while (told.ignored == 0)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", late_done);
}

CASE(ends_before_its_deadline)
{
    spec.deadline_ms = 5;
    start_run();
    ck_assert_int_eq(finish(), 0);
    pass(20);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}

CASE(deadline_comes_while_it_lingers)
{
    spec.deadline_ms = 5;
    leave_run(HOUR_MS);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
}

CASE(deadline_comes_within_its_grace)
{
    spec.deadline_ms = 5;
    spec.grace_ms = HOUR_MS;
    start_run();
    run_cancel(run);
    while (!run_has_ended(run))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 1);
}

/* A time that is beyond all time is none. */
CASE(times_do_not_overflow)
{
    spec.deadline_ms = spec.grace_ms = NEVER - 1;
    leave_run(NEVER - 1);
    pass(5);
    ck_assert_uint_eq(told.cancels, 0);
    run_cancel(run);
    pass(5);
    ck_assert_uint_eq(told.ignored, 0);
}

/* ---- inputs ---- */

static int give(const char *json)
{
    return run_give_input(run, json, strlen(json));
}

CASES("queued", .setup = setup, .teardown = teardown);

CASE(input_while_queued)
{
    ck_assert_int_eq(give("1"), -ENXIO);
    ck_assert_uint_eq(told.inputs, 0);
}

CASES("inputs", .setup = setup_running, .teardown = teardown);

CASE(input_reaches_the_executor)
{
    ck_assert_int_eq(run_give_input(run, "{\"a\":1} behind it", 7), 0);
    ck_assert_uint_eq(told.inputs, 1);
    ck_assert_str_eq(told.last_input, "{\"a\":1}");
}

CASE_LOOP(input_after_the_end, 0, 2)
{
    if (_i)
        run_abort(run, RUN_ERROR_deadline, NULL); /* its agent is still there */
    else
        ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(give("1"), -ENXIO);
    ck_assert_uint_eq(told.inputs, 0);
}

CASE(most_inputs)
{
    for (unsigned i = 0; i < RUN_INPUTS_MAX; i++)
        ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("1"), -EAGAIN);
    ck_assert_uint_eq(told.inputs, RUN_INPUTS_MAX);
    ck_assert_int_eq(run_set_waiting(run, 3, 0), 0);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("1"), -EAGAIN);
    ck_assert_int_eq(run_set_waiting(run, RUN_INPUTS_MAX + 3, 1), 0);
    ck_assert_int_eq(give("1"), 0);
}

CASE(input_that_the_executor_cannot_take)
{
    told.input_status = -EAGAIN;
    for (unsigned i = 0; i < 2 * RUN_INPUTS_MAX; i++)
        ck_assert_int_eq(give("1"), -EAGAIN);
    told.input_status = 0;
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_set_waiting(run, 2, 0), -EPROTO);
}

CASE(waits_for_input)
{
    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert(!run_has_ended(run));
    ck_assert_int_eq(run_set_waiting(run, 0, 2), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 1), 0);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
    ck_assert_int_eq(run_get_state(run), RUN_running);
    ck_assert_uint_eq(run_log(run)->last, 1); /* it is no event */
}

CASE_LOOP(ends_while_it_waits, 0, 3)
{
    static const enum run_state states[] = {RUN_finished, RUN_failed, RUN_cancelled};

    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    if (_i == WIRE_CANCELLED)
        run_cancel(run);
    ck_assert_int_eq(run_get_state(run), RUN_waiting);
    ck_assert_int_eq(end((enum wire_status)_i, "", "", ""), 0);
    ck_assert_int_eq(run_get_state(run), states[_i]);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}

/* Only what it was sent can be taken, and only once. */
CASE(forged_counts)
{
    ck_assert_int_eq(run_set_waiting(run, 1, 0), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, UINT32_MAX, 1), -EPROTO);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(give("2"), 0);
    ck_assert_int_eq(run_set_waiting(run, 3, 1), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, 2, 0), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 1), -EPROTO);
    ck_assert_int_eq(run_set_waiting(run, 0, 1), -EPROTO);
    ck_assert_int_eq(run_get_state(run), RUN_running);
}

CASE(input_to_an_agent_that_is_being_cancelled)
{
    run_cancel(run);
    ck_assert_int_eq(give("1"), 0);
    ck_assert_int_eq(run_set_waiting(run, 1, 0), 0);
}

CASE(describe_waiting)
{
    cJSON *tree;

    ck_assert_int_eq(run_set_waiting(run, 0, 1), 0);
    tree = describe();
    expect_string(tree, "status", "waiting");
    expect_number(tree, "events", 1);
    cJSON_Delete(tree);
}

CASES("cancel", .setup = setup_running, .teardown = teardown);

CASE(describe_cancelling)
{
    cJSON *tree;

    run_cancel(run);
    tree = describe();
    expect_string(tree, "status", "running");
    ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(tree, "cancelling")));
    cJSON_Delete(tree);
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    tree = describe();
    expect_string(tree, "status", "cancelled");
    ck_assert_ptr_null(cJSON_GetObjectItemCaseSensitive(tree, "cancelling"));
    cJSON_Delete(tree);
}

/* ---- keys of idempotency ---- */

static struct run *create_with_key(const char *subject, const char *key)
{
    static unsigned char digest[DIGEST_SIZE];

    memset(digest, key[0], sizeof digest);
    spec.subject = subject;
    spec.key = key;
    spec.digest = digest;
    return create_run();
}

CASES("keys", .setup = setup_runs, .teardown = teardown);

CASE(no_key)
{
    run = create_run();
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", ""));
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
}

CASE(found_by_key)
{
    unsigned char digest[DIGEST_SIZE];

    run = create_with_key("alice", "k");
    memset(digest, 'k', sizeof digest);
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "echo", "k"), run);
    ck_assert_mem_eq(run_digest(run), digest, sizeof digest);
}

CASE(key_is_of_subject_and_agent)
{
    struct run *bobs = create_with_key("bob", "k"), *other;

    spec.agent = "other";
    other = create_with_key("alice", "k");
    spec.agent = "echo";
    run = create_with_key("alice", "k");
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "echo", "k"), run);
    ck_assert_ptr_eq(runs_find_key(runs, "bob", "echo", "k"), bobs);
    ck_assert_ptr_eq(runs_find_key(runs, "alice", "other", "k"), other);
    ck_assert_ptr_null(runs_find_key(runs, "bob", "other", "k"));
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
    ck_assert_ptr_null(runs_find_key(runs, "alice", "echo", "K"));
    ck_assert_ptr_null(runs_find_key(runs, "alice", "echo", ""));
    ck_assert_ptr_null(runs_find_key(runs, "aliceecho", "", "k"));
    run_cancel(bobs);
    run_cancel(other);
    run_unref(bobs);
    run_unref(other);
}

CASE(found_by_key_after_its_end)
{
    run = create_with_key("", "k");
    run_cancel(run);
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
}

/* Also while one still reads it; the key is free then. */
CASE(key_is_forgotten_with_its_run)
{
    struct run *old = create_with_key("", "k");

    run_cancel(old);
    forget_all();
    ck_assert_ptr_null(runs_find_key(runs, "", "echo", "k"));
    runs_set_limits(runs, &plenty);
    run = create_with_key("", "k");
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
    run_unref(old);
    ck_assert_ptr_eq(runs_find_key(runs, "", "echo", "k"), run);
}

CASE(many_keys)
{
    enum { COUNT = 500 };
    struct run *made[COUNT];
    char key[16];

    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key %d", i * 7919 % COUNT);
        made[i] = create_with_key("", key);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key %d", i * 7919 % COUNT);
        ck_assert_ptr_eq(runs_find_key(runs, "", "echo", key), made[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        run_cancel(made[i]);
        run_unref(made[i]);
    }
}

/* ---- clients ---- */

CASES("clients", .setup = setup_runs, .teardown = teardown);

CASE(live_runs_of_a_client)
{
    struct run *first, *second, *nobodys;

    spec.client = "10.0.0.1";
    first = create_run();
    second = create_run();
    spec.client = "10.0.0.2";
    run = create_run();
    spec.client = NULL;
    nobodys = create_run();
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 2);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.2"), 1);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.3"), 0);
    ck_assert_uint_eq(runs_live(runs), 4);
    run_cancel(first);
    run_cancel(first);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 1);
    run_abort(second, RUN_ERROR_unavailable, NULL);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 0);
    run_cancel(nobodys);
    run_unref(first);
    run_unref(second);
    run_unref(nobodys);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.1"), 0);
    ck_assert_uint_eq(runs_live_of(runs, "10.0.0.2"), 1);
}

/* Its agent may not have stopped yet; but for its client it is over. */
CASE(ended_run_does_not_count)
{
    spec.client = "alice";
    start_run();
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 1);
    run_abort(run, RUN_ERROR_deadline, NULL);
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 0);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 0);
}

/* ---- the budget ---- */

static void set_budget(size_t log_budget)
{
    struct runs_limits limits = plenty;

    limits.log_budget = log_budget;
    runs_set_limits(runs, &limits);
}

CASES("budget", .setup = setup_runs, .teardown = teardown);

CASE(memory_of_no_runs)
{
    ck_assert_uint_eq(runs_memory(runs), 0);
    ck_assert(runs_make_room(runs));
}

CASE(memory_grows_and_shrinks)
{
    size_t empty, small, large;

    run = create_run();
    empty = runs_memory(runs);
    ck_assert_uint_gt(empty, 0);
    start(run);
    small = runs_memory(runs);
    ck_assert_uint_gt(small, empty);
    append_kilobytes(500);
    large = runs_memory(runs);
    ck_assert_uint_ge(large, empty + log_length());
    ck_assert_uint_le(large, empty + 2 * log_length());
    set_log_size(1000);
    append_kilobytes(1);
    ck_assert_uint_lt(runs_memory(runs), large / 100);
}

/* What is forgotten but still read takes memory as well. */
CASE(memory_of_a_forgotten_run)
{
    size_t before;

    start_run();
    append_kilobytes(100);
    reader.lazy = true;
    ck_assert_int_eq(finish(), 0);
    before = runs_memory(runs);
    run_unsubscribe(&reader.subscriber);
    forget_all();
    ck_assert_ptr_null(runs_find(runs, run_id(run)));
    ck_assert_uint_eq(runs_memory(runs), before);
    run_unref(run);
    run = NULL;
    ck_assert_uint_eq(runs_memory(runs), 0);
}

CASE(oldest_are_forgotten_beyond_the_budget)
{
    enum { COUNT = 100 };
    char ids[COUNT][RUN_ID_LENGTH + 1];
    int found = 0;

    set_budget(20 * 1024);
    for (int i = 0; i < COUNT; i++) {
        struct run *one = create_ended();
        strcpy(ids[i], run_id(one));
        run_unref(one);
        ck_assert_uint_le(runs_memory(runs), 20 * 1024);
        ck_assert_ptr_nonnull(runs_find(runs, ids[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        found += runs_find(runs, ids[i]) != NULL;
        ck_assert_msg(found == 0 || runs_find(runs, ids[i]), "run %d is gone before its turn", i);
    }
    ck_assert_int_ge(found, 10);
    ck_assert_int_le(found, 20);
}

CASE(ended_make_room_for_events_of_live_ones)
{
    struct run *old[5];

    for (int i = 0; i < 5; i++)
        old[i] = create_ended();
    start_run();
    set_budget(runs_memory(runs) + 3000);
    append_kilobytes(3);
    ck_assert_ptr_null(runs_find(runs, run_id(old[0])));
    append_kilobytes(100);
    for (int i = 0; i < 5; i++) {
        ck_assert_ptr_null(runs_find(runs, run_id(old[i])));
        run_unref(old[i]);
    }
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
}

CASE(live_ones_are_never_forgotten)
{
    struct run *others[20];

    set_budget(1);
    run = create_run();
    start(run);
    for (int i = 0; i < 20; i++)
        others[i] = create_run();
    append_kilobytes(10);
    for (int i = 0; i < 20; i++)
        ck_assert_ptr_eq(runs_find(runs, run_id(others[i])), others[i]);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    for (int i = 0; i < 20; i++) {
        run_cancel(others[i]);
        ck_assert_ptr_null(runs_find(runs, run_id(others[i])));
        run_unref(others[i]);
    }
}

CASE(ended_one_that_is_read_stays)
{
    start_run();
    ck_assert_int_eq(finish(), 0);
    forget_all();
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    run_unsubscribe(&reader.subscriber);
    forget_all();
    ck_assert_ptr_null(runs_find(runs, run_id(run)));
}

CASE(younger_ones_go_when_the_oldest_is_read)
{
    struct run *younger;

    start_run();
    ck_assert_int_eq(finish(), 0);
    younger = create_ended();
    forget_all();
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    ck_assert_ptr_null(runs_find(runs, run_id(younger)));
    run_unref(younger);
}

CASE(no_room_while_live_ones_fill_the_budget)
{
    set_budget(50 * 1024);
    start_run();
    ck_assert(runs_make_room(runs));
    reader.lazy = true;
    append_kilobytes(50);
    ck_assert(!runs_make_room(runs));
    reader_read(&reader, SIZE_MAX);
    ck_assert(runs_make_room(runs));
}

/* Each gives back what is beyond its share when more come. */
CASE(room_for_many_live_ones)
{
    struct run *others[25];

    set_budget(1024 * 1024);
    for (int i = 0; i < 25; i++) {
        ck_assert_msg(runs_make_room(runs), "no room for run %d", i);
        run = others[i] = create_run();
        start(run);
        append_kilobytes(200);
    }
    for (int i = 0; i < 25; i++) {
        run = others[i];
        ck_assert_int_eq(finish(), 0);
        run_unref(run);
    }
    run = NULL;
}

CASE(inputs_of_queued_runs_count)
{
    struct buf pairs = {0};
    struct run_spec queued = {.agent = "echo",
                              .subject = "",
                              .linger_ms = NEVER,
                              .deadline_ms = NEVER,
                              .grace_ms = 1000,
                              .pairs = &pairs};

    buf_commit(&pairs, (memset(buf_reserve(&pairs, 60000), 'x', 60000), 60000));
    ck_assert_int_eq(run_create(runs, &queued, &run), 0);
    ck_assert_uint_gt(runs_memory(runs), 60000);
    run_cancel(run);
    ck_assert_uint_lt(runs_memory(runs), 60000);
}

/* One that is ended makes room, unless it is being read. */
CASE(room_of_ended_ones)
{
    start_run();
    append_kilobytes(50);
    ck_assert_int_eq(finish(), 0);
    set_budget(50 * 1024);
    ck_assert_uint_gt(runs_memory(runs), 50 * 1024);
    ck_assert(!runs_make_room(runs));
    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    run = NULL;
    ck_assert(runs_make_room(runs));
}

/* ---- retention ---- */

CASES("retention", .setup = setup_runs, .teardown = teardown);

CASE(forgotten_after_its_time)
{
    struct runs_limits limits = plenty;
    struct run *ended;
    char id[RUN_ID_LENGTH + 1];
    uint64_t ended_at;

    limits.retention_ms = 100;
    runs_set_limits(runs, &limits);
    run = create_run();
    ended = create_ended();
    strcpy(id, run_id(ended));
    ended_at = uv_now(&loop);
    run_unref(ended);
    ck_assert_ptr_eq(runs_find(runs, id), ended);
    while (runs_find(runs, id))
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_uint_ge(uv_now(&loop) - ended_at, 100);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
}

CASES("retention of a read run", .setup = setup_running, .teardown = teardown);

CASE(forgotten_run_can_still_be_read)
{
    struct runs_limits limits = plenty;

    reader.lazy = true;
    ck_assert_int_eq(append("text", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    limits.retention_ms = 0;
    runs_set_limits(runs, &limits);
    while (runs_find(runs, run_id(run)))
        uv_run(&loop, UV_RUN_ONCE);
    reader_read(&reader, SIZE_MAX);
    expect_stream("run text done ", "{\"status\":\"finished\"}");
}
