/*
 * Runs, with an executor and subscribers that only take notes. What subscribers
 * read is parsed as server-sent events and checked as a whole: see stream_after().
 */
#include "front/run.h"

#include "common/json.h"
#include "front/encode_sse.h"

#include <check.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As run.c has them. */
#define CREDIT_STEP  (32 * 1024)
#define RETAINED_MAX 4096

static const struct run_agent agent = {.name = "echo", .version = "1.2", .generation = 3};

static uv_loop_t loop;
static struct runs *runs;
static struct run *run; /* of most tests */

/* ---- the executor ---- */

static struct {
    unsigned cancels;
    unsigned gifts;  /* calls of credit() */
    uint64_t credit; /* what the agent may still spend */
    uint32_t number;
} told;

static void on_cancel(void *data, uint32_t number)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    told.cancels++;
}

static void on_credit(void *data, uint32_t number, uint32_t bytes)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    told.gifts++;
    told.credit += bytes;
    ck_assert_uint_le(told.credit, WIRE_WINDOW);
}

static const struct executor executor = {.cancel = on_cancel, .credit = on_credit};

static struct run *create_run(void)
{
    struct buf pairs = {0};
    struct run *created;

    wire_append_pair(&pairs, "input", "{\"q\":1}");
    ck_assert_int_eq(run_create(runs, "echo", &pairs, &created), 0);
    ck_assert_uint_eq(buf_length(&pairs), 0);
    buf_finish(&pairs);
    return created;
}

static void start(struct run *started)
{
    run_start(started, &agent, &executor, &told, told.number);
}

static int append_event(const char *type, const char *json, size_t json_length)
{
    struct run_event event = {
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

static int end(enum wire_status status, const char *code, const char *message, const char *result)
{
    struct wire_end how = {.status = status, .code = code, .message = message, .result = result};

    return run_end(run, &how);
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
    unsigned leave_at;            /* the event at which it unsubscribes, 0 for none */
    unsigned told;                /* calls of appended() */
    char last_type[16];
    char last_json[256];
};

static struct reader reader;

/* Reads at most so many bytes. */
static void reader_read(struct reader *self, size_t most)
{
    const struct eventlog *eventlog = run_log(self->subscriber.run);
    struct iovec pieces[2];
    int count = eventlog_view(eventlog, self->subscriber.cursor, pieces);
    uint64_t upto = self->subscriber.cursor;

    for (int i = 0; i < count; i++) {
        size_t length = pieces[i].iov_len < most ? pieces[i].iov_len : most;
        buf_append(&self->text, pieces[i].iov_base, length);
        upto += length;
        most -= length;
    }
    run_consume(&self->subscriber, upto);
}

static void on_appended(struct subscriber *subscriber, const struct run_event *event)
{
    struct reader *self = (struct reader *)subscriber;

    self->told++;
    snprintf(self->last_type, sizeof self->last_type, "%.*s", (int)event->type_length, event->type);
    snprintf(self->last_json, sizeof self->last_json, "%.*s",
             (int)(event->json_length < 255 ? event->json_length : 255), event->json);
    if (!self->lazy)
        reader_read(self, SIZE_MAX);
    if (self->told == self->leave_at)
        run_unsubscribe(subscriber);
}

static void subscribe(struct reader *self)
{
    self->subscriber.appended = on_appended;
    run_subscribe(run, &self->subscriber);
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
    ck_assert_str_eq(take_line(at, "id: "), wanted);
    type = take_line(at, "event: ");
    data = take_line(at, "data: ");
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

/* ---- fixtures ---- */

static void setup_runs(void)
{
    memset(&told, 0, sizeof told);
    told.number = 42;
    told.credit = WIRE_WINDOW;
    reader = (struct reader){.text = {0}};
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    runs = runs_create(&loop, 3600);
    run = NULL;
}

static void setup(void)
{
    setup_runs();
    run = create_run();
}

static void setup_running(void)
{
    setup();
    subscribe(&reader);
    start(run);
}

static void teardown(void)
{
    if (run && !run_has_ended(run))
        finish();
    if (reader.subscriber.run)
        run_unsubscribe(&reader.subscriber);
    if (run)
        run_unref(run);
    runs_destroy(runs);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    buf_finish(&reader.text);
}

/* ---- identity ---- */

START_TEST(new_run_is_queued)
{
    ck_assert_int_eq(run_get_state(run), RUN_queued);
    ck_assert(!run_has_ended(run));
    ck_assert_str_eq(run_agent_name(run), "echo");
    ck_assert(!run_has_subscribers(run));
    ck_assert_uint_eq(runs_live(runs), 1);
}
END_TEST

START_TEST(found_by_id)
{
    char other[RUN_ID_LENGTH + 1];

    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    strcpy(other, run_id(run));
    other[RUN_ID_LENGTH - 1] ^= 1;
    ck_assert_ptr_null(runs_find(runs, other));
    ck_assert_ptr_null(runs_find(runs, ""));
}
END_TEST

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

START_TEST(ids_are_unique_and_well_formed)
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
END_TEST

START_TEST(pairs_of_start)
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
END_TEST

/* ---- events ---- */

START_TEST(first_event_is_run)
{
    char wanted[256];

    ck_assert_int_eq(run_get_state(run), RUN_running);
    snprintf(wanted, sizeof wanted,
             "{\"run\":\"%s\",\"agent\":\"echo\",\"version\":\"1.2\",\"generation\":3}",
             run_id(run));
    expect_stream("run ", wanted);
}
END_TEST

START_TEST(bytes_of_an_event)
{
    char wanted[256];

    buf_consume(&reader.text, buf_length(&reader.text));
    ck_assert_int_eq(append("text", "{\"delta\":\"Hello\"}"), 0);
    snprintf(wanted, sizeof wanted, "id: %s.2\nevent: text\ndata: {\"delta\":\"Hello\"}\n\n",
             run_id(run));
    ck_assert_uint_eq(buf_length(&reader.text), strlen(wanted));
    ck_assert_mem_eq(buf_data(&reader.text), wanted, strlen(wanted));
    ck_assert_str_eq(reader.last_type, "text");
    ck_assert_str_eq(reader.last_json, "{\"delta\":\"Hello\"}");
}
END_TEST

START_TEST(numbers_have_no_gaps)
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
END_TEST

START_TEST(line_breaks_are_refused)
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
END_TEST

/* A worker that sends one forges the host's word; agents of ours cannot. */
START_TEST(event_types_of_the_host_are_refused)
{
    static const char *const types[] = {"run", "gap", "done", "error", "open"};

    ck_assert_int_eq(append(types[_i], "{\"status\":\"finished\"}"), -EPROTO);
    ck_assert_uint_eq(stream_of(&reader).events, 1);
}
END_TEST

START_TEST(late_subscriber_reads_what_is_kept)
{
    struct reader late = {.lazy = true};

    reader.lazy = true;
    ck_assert_int_eq(append("a", "1"), 0);
    subscribe(&late);
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert_uint_eq(late.told, 1);
    reader_read(&reader, SIZE_MAX);
    reader_read(&late, SIZE_MAX);
    run_unsubscribe(&late.subscriber);
    ck_assert_str_eq(stream_of(&reader).types, "run a b ");
    /* The first reader had read `run` before; so that was no longer kept. */
    ck_assert_str_eq(stream_after(&late, 1).types, "a b ");
}
END_TEST

START_TEST(each_subscriber_reads_at_its_own_pace)
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
    ck_assert_uint_eq(run_log(run)->start, run_log(run)->end);
    run_unsubscribe(&slow.subscriber);
    stream = stream_of(&reader);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
    stream = stream_after(&slow, 1);
    ck_assert_uint_eq(stream.events, 52);
    ck_assert_uint_eq(stream.dones, 1);
}
END_TEST

START_TEST(nobody_reads_nothing_is_kept)
{
    run_unsubscribe(&reader.subscriber);
    ck_assert(!run_has_subscribers(run));
    ck_assert_int_eq(append("x", "1"), 0);
    ck_assert_uint_eq(run_log(run)->start, run_log(run)->end);
}
END_TEST

START_TEST(unsubscribes_while_told)
{
    reader.leave_at = 3;
    ck_assert_int_eq(append("a", "1"), 0);
    ck_assert(run_has_subscribers(run));
    ck_assert_int_eq(append("b", "2"), 0);
    ck_assert(!run_has_subscribers(run));
    ck_assert_ptr_null(reader.subscriber.run);
    ck_assert_int_eq(append("c", "3"), 0);
    ck_assert_uint_eq(reader.told, 3);
}
END_TEST

/* The one that leaves stands before, between and behind ones that stay. */
START_TEST(others_are_told_when_one_leaves)
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
END_TEST

START_TEST(all_leave_at_done)
{
    struct reader other = {.leave_at = 1};

    subscribe(&other);
    reader.leave_at = 2;
    ck_assert_int_eq(finish(), 0);
    ck_assert(!run_has_subscribers(run));
    ck_assert_str_eq(other.last_type, "done");
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    buf_finish(&other.text);
}
END_TEST

/* ---- ends: each gives exactly one done ---- */

START_TEST(finished)
{
    ck_assert_int_eq(finish(), 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    ck_assert(run_has_ended(run));
    ck_assert_uint_eq(runs_live(runs), 0);
    ck_assert_ptr_eq(runs_find(runs, run_id(run)), run);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}
END_TEST

START_TEST(finished_with_result)
{
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "{\"answer\":[42]}"), 0);
    expect_stream("run done ", "{\"status\":\"finished\",\"result\":{\"answer\":[42]}}");
}
END_TEST

START_TEST(failed)
{
    ck_assert_int_eq(end(WIRE_FAILED, "no_model", "it said: \"no\"\n\xff", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"no_model\","
                               "\"message\":\"it said: \\\"no\\\"\\n?\"}}");
}
END_TEST

START_TEST(cancelled_by_its_worker)
{
    ck_assert_int_eq(end(WIRE_CANCELLED, "", "", ""), 0);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    expect_stream("run done ", "{\"status\":\"cancelled\"}");
}
END_TEST

START_TEST(result_with_line_break_is_refused)
{
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "{\n}"), -EPROTO);
    ck_assert_int_eq(end(WIRE_FINISHED, "", "", "\r"), -EPROTO);
    ck_assert(!run_has_ended(run));
    ck_assert_int_eq(end(WIRE_FAILED, "worker_crashed", "x", ""), 0);
    expect_stream("run done ", "{\"status\":\"failed\",\"error\":{\"code\":\"worker_crashed\","
                               "\"message\":\"x\"}}");
}
END_TEST

START_TEST(aborted_while_queued)
{
    subscribe(&reader);
    run_abort(run, RUN_ERROR_unavailable, "it was refused");
    ck_assert_int_eq(run_get_state(run), RUN_failed);
    ck_assert_uint_eq(told.cancels, 0);
    expect_stream("done ", "{\"status\":\"failed\",\"error\":{\"code\":\"unavailable\","
                           "\"message\":\"the agent cannot be started: it was refused\"}}");
}
END_TEST

START_TEST(aborted_while_running)
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
END_TEST

START_TEST(aborted_twice)
{
    run_abort(run, RUN_ERROR_shutdown, NULL);
    run_abort(run, RUN_ERROR_worker_crashed, "x");
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 1);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
}
END_TEST

START_TEST(aborted_after_its_end)
{
    ck_assert_int_eq(finish(), 0);
    run_abort(run, RUN_ERROR_worker_crashed, NULL);
    run_cancel(run);
    ck_assert_uint_eq(told.cancels, 0);
    ck_assert_int_eq(run_get_state(run), RUN_finished);
    expect_stream("run done ", "{\"status\":\"finished\"}");
}
END_TEST

START_TEST(cancelled_while_queued)
{
    subscribe(&reader);
    run_cancel(run);
    run_cancel(run);
    ck_assert_int_eq(run_get_state(run), RUN_cancelled);
    ck_assert_uint_eq(runs_live(runs), 0);
    expect_stream("done ", "{\"status\":\"cancelled\"}");
}
END_TEST

START_TEST(cancelled_while_running)
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
END_TEST

START_TEST(aborted_while_it_is_being_cancelled)
{
    run_cancel(run);
    run_abort(run, RUN_ERROR_worker_crashed, "killed by signal 9");
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(stream_of(&reader).dones, 1);
    ck_assert_int_eq(run_get_state(run), RUN_failed);
}
END_TEST

START_TEST(all_are_failed)
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
END_TEST

START_TEST(ended_run_that_is_read_holds_no_events)
{
    ck_assert_ptr_nonnull(run_log(run)->ring);
    ck_assert_int_eq(finish(), 0);
    ck_assert_uint_eq(run_log(run)->start, run_log(run)->end);
    ck_assert_ptr_null(run_log(run)->ring);
}
END_TEST

/* The executor's reference and the table's keep it; sanitizers look on. */
START_TEST(caller_may_let_go_at_once)
{
    struct run *kept = run;

    run_unsubscribe(&reader.subscriber);
    run_unref(run);
    ck_assert_ptr_eq(runs_find(runs, run_id(kept)), kept);
    ck_assert_int_eq(finish(), 0);
    run = NULL;
}
END_TEST

/* ---- credit ---- */

START_TEST(unread_events_cost_credit)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
}
END_TEST

START_TEST(overdraw_is_refused)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_int_eq(append_cost(WIRE_CHARGE + 2), -EPROTO);
    ck_assert_uint_eq(told.gifts, 0);
}
END_TEST

START_TEST(overdraw_by_one_byte_is_refused)
{
    reader.lazy = true;
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2), 0);
    ck_assert_int_eq(append_cost(WIRE_WINDOW / 2 + 1), -EPROTO);
}
END_TEST

START_TEST(all_credit_comes_back_when_all_is_read)
{
    reader.lazy = true;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(append_cost(WIRE_WINDOW / 1024), 0);
    ck_assert_uint_eq(told.credit, 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
    ck_assert_uint_eq(run_log(run)->start, run_log(run)->end);
}
END_TEST

START_TEST(credit_comes_back_in_steps)
{
    for (int i = 0; i < 31; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 1);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}
END_TEST

START_TEST(nobody_reads_credit_comes_back)
{
    run_unsubscribe(&reader.subscriber);
    for (int i = 0; i < 5000; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_gt(told.credit, WIRE_WINDOW - CREDIT_STEP);
}
END_TEST

START_TEST(slowest_reader_rules)
{
    struct reader slow = {.lazy = true};

    subscribe(&slow);
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_uint_eq(told.gifts, 0);
    run_unsubscribe(&slow.subscriber);
    ck_assert_uint_eq(told.credit, WIRE_WINDOW);
}
END_TEST

START_TEST(no_credit_after_the_end)
{
    reader.lazy = true;
    for (int i = 0; i < 512; i++)
        ck_assert_int_eq(append_cost(1024), 0);
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(told.gifts, 0);
}
END_TEST

/*
 * An agent that emits as long as it has credit, and a subscriber that reads
 * as it likes: unread events never take more than the window (the run's own
 * first event beside it), and the agent never stalls when all is read.
 */
START_TEST(random_pace)
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
        ck_assert_uint_le(run_log(run)->end - run_log(run)->start, WIRE_WINDOW + 512);
        reader_read(&reader, rand() % 4 ? (size_t)rand() % 100000 : SIZE_MAX);
        if (reader.subscriber.cursor == run_log(run)->end)
            ck_assert_uint_ge(told.credit, wire_charge(WIRE_TYPE_MAX, WIRE_EVENT_MAX));
    }
    ck_assert_int_eq(finish(), 0);
    reader_read(&reader, SIZE_MAX);
    ck_assert_uint_eq(stream_of(&reader).events, sent + 1);
}
END_TEST

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

START_TEST(describe_queued)
{
    cJSON *tree = describe();

    expect_string(tree, "run", run_id(run));
    expect_string(tree, "agent", "echo");
    expect_string(tree, "status", "queued");
    expect_number(tree, "events", 0);
    ck_assert_int_eq(cJSON_GetArraySize(tree), 4);
    cJSON_Delete(tree);
}
END_TEST

START_TEST(describe_running)
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
END_TEST

START_TEST(describe_ends)
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
END_TEST

/* ---- retention ---- */

START_TEST(forgotten_after_its_time)
{
    struct run *live, *ended;
    char id[RUN_ID_LENGTH + 1];
    uint64_t ended_at;

    runs_destroy(runs);
    runs = runs_create(&loop, 1);
    live = run = create_run();
    ended = create_run();
    strcpy(id, run_id(ended));
    run_cancel(ended);
    ended_at = uv_now(&loop);
    run_unref(ended);
    ck_assert_ptr_eq(runs_find(runs, id), ended);
    while (runs_find(runs, id))
        ck_assert_int_ne(uv_run(&loop, UV_RUN_ONCE), 0);
    ck_assert_uint_ge(uv_now(&loop) - ended_at, 1000);
    ck_assert_ptr_eq(runs_find(runs, run_id(live)), live);
    run_cancel(run);
}
END_TEST

START_TEST(oldest_is_forgotten_beyond_the_most)
{
    char ids[3][RUN_ID_LENGTH + 1];

    for (int i = 0; i <= RETAINED_MAX; i++) {
        struct run *one = create_run();
        if (i < 2 || i == RETAINED_MAX)
            strcpy(ids[i < 2 ? i : 2], run_id(one));
        run_cancel(one);
        run_unref(one);
    }
    ck_assert_ptr_null(runs_find(runs, ids[0]));
    ck_assert_ptr_nonnull(runs_find(runs, ids[1]));
    ck_assert_ptr_nonnull(runs_find(runs, ids[2]));
}
END_TEST

START_TEST(forgotten_run_can_still_be_read)
{
    reader.lazy = true;
    ck_assert_int_eq(append("text", "1"), 0);
    ck_assert_int_eq(finish(), 0);
    for (int i = 0; i < RETAINED_MAX; i++) {
        struct run *one = create_run();
        run_cancel(one);
        run_unref(one);
    }
    ck_assert_ptr_null(runs_find(runs, run_id(run)));
    reader_read(&reader, SIZE_MAX);
    expect_stream("run text done ", "{\"status\":\"finished\"}");
}
END_TEST

static TCase *case_create(Suite *suite, const char *name, SFun before)
{
    TCase *tcase = tcase_create(name);

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, before, teardown);
    return tcase;
}

static void add_queued(Suite *suite)
{
    TCase *tcase = case_create(suite, "queued", setup);

    tcase_add_test(tcase, new_run_is_queued);
    tcase_add_test(tcase, found_by_id);
    tcase_add_test(tcase, ids_are_unique_and_well_formed);
    tcase_add_test(tcase, pairs_of_start);
    tcase_add_test(tcase, describe_queued);
    tcase_add_test(tcase, aborted_while_queued);
    tcase_add_test(tcase, cancelled_while_queued);
}

static void add_events(Suite *suite)
{
    TCase *tcase = case_create(suite, "events", setup_running);

    tcase_add_test(tcase, first_event_is_run);
    tcase_add_test(tcase, bytes_of_an_event);
    tcase_add_test(tcase, numbers_have_no_gaps);
    tcase_add_test(tcase, line_breaks_are_refused);
    tcase_add_loop_test(tcase, event_types_of_the_host_are_refused, 0, 5);
    tcase_add_test(tcase, late_subscriber_reads_what_is_kept);
    tcase_add_test(tcase, each_subscriber_reads_at_its_own_pace);
    tcase_add_test(tcase, nobody_reads_nothing_is_kept);
    tcase_add_test(tcase, unsubscribes_while_told);
    tcase_add_loop_test(tcase, others_are_told_when_one_leaves, 0, 3);
    tcase_add_test(tcase, all_leave_at_done);
    tcase_add_test(tcase, describe_running);
}

static void add_ends(Suite *suite)
{
    TCase *tcase = case_create(suite, "ends", setup_running);

    tcase_add_test(tcase, finished);
    tcase_add_test(tcase, finished_with_result);
    tcase_add_test(tcase, failed);
    tcase_add_test(tcase, cancelled_by_its_worker);
    tcase_add_test(tcase, result_with_line_break_is_refused);
    tcase_add_test(tcase, aborted_while_running);
    tcase_add_test(tcase, aborted_twice);
    tcase_add_test(tcase, aborted_after_its_end);
    tcase_add_test(tcase, cancelled_while_running);
    tcase_add_test(tcase, aborted_while_it_is_being_cancelled);
    tcase_add_test(tcase, all_are_failed);
    tcase_add_test(tcase, ended_run_that_is_read_holds_no_events);
    tcase_add_test(tcase, caller_may_let_go_at_once);
    tcase_add_loop_test(tcase, describe_ends, 0, 3);
}

static void add_credit(Suite *suite)
{
    TCase *tcase = case_create(suite, "credit", setup_running);

    tcase_add_test(tcase, unread_events_cost_credit);
    tcase_add_test(tcase, overdraw_is_refused);
    tcase_add_test(tcase, overdraw_by_one_byte_is_refused);
    tcase_add_test(tcase, all_credit_comes_back_when_all_is_read);
    tcase_add_test(tcase, credit_comes_back_in_steps);
    tcase_add_test(tcase, nobody_reads_credit_comes_back);
    tcase_add_test(tcase, slowest_reader_rules);
    tcase_add_test(tcase, no_credit_after_the_end);
    tcase_add_loop_test(tcase, random_pace, 0, 4);
}

static void add_retention(Suite *suite)
{
    TCase *tcase = case_create(suite, "retention", setup_runs);
    TCase *running = case_create(suite, "retention of a read run", setup_running);

    tcase_add_test(tcase, oldest_is_forgotten_beyond_the_most);
    tcase_add_test(tcase, forgotten_after_its_time);
    tcase_add_test(running, forgotten_run_can_still_be_read);
}

int main(void)
{
    Suite *suite = suite_create("run");
    SRunner *runner = srunner_create(suite);
    int failures;

    add_queued(suite);
    add_events(suite);
    add_ends(suite);
    add_credit(suite);
    add_retention(suite);
    srunner_run_all(runner, CK_ENV);
    failures = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
