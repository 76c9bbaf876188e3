#include "run_fixture.h"
#include "../case.h"
#include "base/json.h"
#include "base/log.h"
#include "protocol/native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct run_agent agent = {.name = "echo", .version = "1.2", .generation = 3};

const struct runs_limits plenty = {
    .retention_ms = HOUR_MS, .log_size = 1024 * 1024, .log_budget = 256 * 1024 * 1024};

uv_loop_t loop;
struct runs *runs;
struct run *run;
struct run_request request;

struct told told;

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

static int on_input(void *data, uint32_t number, uint32_t question, const char *json, size_t length)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    ck_assert_uint_lt(length, sizeof told.last_input);
    if (told.input_status < 0)
        return told.input_status;
    told.inputs++;
    told.last_question = question;
    memcpy(told.last_input, json, length);
    told.last_input[length] = '\0';
    return 0;
}

void on_ignored(void *data, uint32_t number)
{
    ck_assert_ptr_eq(data, &told);
    ck_assert_uint_eq(number, told.number);
    ck_assert(run_has_ended(run));
    told.ignored++;
    told.at_ms = uv_now(&loop);
}

const struct executor executor = {
    .cancel = on_cancel, .credit = on_credit, .input = on_input, .ignored = on_ignored};

struct run *create_run(void)
{
    struct run *created;

    wire_append_pair(&request.vars, "auth.subject", "alice");
    ck_assert_int_eq(run_create(runs, &request, &created), 0);
    ck_assert_uint_eq(buf_length(&request.vars), 0);
    return created;
}

struct run *create_ended(void)
{
    struct run *ended = create_run();

    run_cancel(ended);
    return ended;
}

void start(struct run *started)
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

int append(const char *type, const char *json)
{
    return append_event(type, json, strlen(json));
}

int append_cost(size_t cost)
{
    size_t length = cost - WIRE_CHARGE - 1;
    char *json = malloc(length);
    int status;

    memset(json, '1', length);
    status = append_event("t", json, length);
    free(json);
    return status;
}

void append_kilobytes(unsigned count)
{
    while (count-- > 0)
        ck_assert_int_eq(append_cost(1024), 0);
}

int end_run(enum wire_status status, const char *code, const char *message, const char *result)
{
    struct wire_end how = {.status = status, .code = code, .message = message, .result = result};
    int refused = run_end(run, &how);

    told.has_run = told.has_run && refused < 0;
    return refused;
}

int finish(void)
{
    return end_run(WIRE_FINISHED, "", "", "");
}

struct reader reader;

size_t unread(const struct reader *self)
{
    return (size_t)(run_log(self->subscriber.run)->end.at - self->subscriber.cursor.at);
}

static void reader_take(struct reader *self, size_t most)
{
    const struct eventlog *log = run_log(self->subscriber.run);
    struct log_cursor cursor = self->subscriber.cursor;
    struct buf scratch = {0}, frames = {0};

    while (most > 0 && cursor.at < log->end.at) {
        struct log_cursor next = cursor;
        struct event event;
        size_t length;
        eventlog_read(log, &next, &scratch, &event);
        encoder_native.event(NULL, &(struct encoding){.run = run_identity(self->subscriber.run)},
                             &event, &frames);
        length = buf_length(&frames) - self->begun;
        if (length > most)
            length = most;
        buf_append(&self->text, buf_data(&frames) + self->begun, length);
        most -= length;
        self->begun += length;
        if (self->begun == buf_length(&frames)) {
            self->begun = 0;
            cursor = next;
        }
        buf_consume(&frames, buf_length(&frames));
    }
    run_consume(&self->subscriber, &cursor);
    buf_finish(&scratch);
    buf_finish(&frames);
}

/* Read the event that was read in part to its end, as the reader can no longer do that later. */
static void on_lost(struct subscriber *subscriber)
{
    struct reader *self = (struct reader *)subscriber;
    struct buf scratch = {0}, frames = {0};
    struct event event;

    ck_assert(!self->lost);
    self->lost = true;
    self->place = subscriber->cursor;
    if (self->begun == 0)
        return;
    eventlog_read(run_log(subscriber->run), &self->place, &scratch, &event);
    encoder_native.event(NULL, &(struct encoding){.run = run_identity(subscriber->run)}, &event,
                         &frames);
    buf_append(&self->text, buf_data(&frames) + self->begun, buf_length(&frames) - self->begun);
    self->begun = 0;
    buf_finish(&scratch);
    buf_finish(&frames);
}

static void reader_return(struct reader *self)
{
    const struct run *of = self->subscriber.run;
    const struct log_cursor *start = &run_log(of)->start;
    struct run_gap gap = {.from = self->place.sequence + 1, .to = start->sequence};

    if (self->place.at < start->at) {
        encoder_native.gap(NULL, &(struct encoding){.run = run_identity(of)}, &gap, &self->text);
        self->place = *start;
    }
    run_return(&self->subscriber, &self->place);
    self->lost = false;
}

void reader_read(struct reader *self, size_t most)
{
    if (self->lost)
        reader_return(self);
    reader_take(self, most);
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

struct run_gap subscribe_after(struct reader *self, uint64_t after)
{
    struct run_gap gap;

    self->subscriber.appended = on_appended;
    self->subscriber.lost = on_lost;
    self->lost = false;
    run_subscribe(run, &self->subscriber, after, &gap);
    return gap;
}

void subscribe(struct reader *self)
{
    struct run_gap gap = subscribe_after(self, 0);

    ck_assert_uint_eq(gap.to, 0);
}

/* Return the value of the line that begins with this name, and move *at to the next line. */
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
    unsigned to = stream->events + 1;

    type = take_line(at, "event: ");
    data = take_line(at, "data: ");
    if (strcmp(type, "gap") == 0) {
        unsigned from = 0;
        ck_assert_int_eq(sscanf(data, "{\"from\":%u,\"to\":%u}", &from, &to), 2);
        ck_assert_uint_eq(from, stream->events + 1);
        ck_assert_uint_ge(to, from);
        stream->gaps++;
    }
    stream->events = to;
    snprintf(wanted, sizeof wanted, "%s.%u", run_id(run), to);
    ck_assert_str_eq(take_line(at, "id: "), wanted);
    ck_assert_str_eq(take_line(at, ""), "");
    ck_assert_int_eq(json_check(data, strlen(data)), (ssize_t)strlen(data));
    if (strlen(stream->types) + strlen(type) + 2 < sizeof stream->types)
        strcat(strcat(stream->types, type), " ");
    snprintf(stream->last_data, sizeof stream->last_data, "%s", data);
    stream->dones += strcmp(type, "done") == 0;
}

struct stream stream_after(struct reader *self, unsigned missed)
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

struct stream replay(uint64_t after)
{
    struct reader late = {.lazy = true};
    struct run_gap gap = subscribe_after(&late, after);

    reader_read(&late, SIZE_MAX);
    run_unsubscribe(&late.subscriber);
    return stream_after(&late, (unsigned)(gap.to > 0 ? gap.to : after));
}

struct stream stream_of(struct reader *self)
{
    return stream_after(self, 0);
}

void expect_stream(const char *types, const char *last_data)
{
    struct stream stream = stream_of(&reader);

    ck_assert_str_eq(stream.types, types);
    ck_assert_str_eq(stream.last_data, last_data);
}

static void on_passed(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void pass(uint64_t ms)
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

static void setup_runs_with(const struct runs_limits *limits)
{
    log_open("test", "", LOG_FATAL);
    memset(&told, 0, sizeof told);
    told.number = 42;
    told.credit = WIRE_WINDOW;
    reader = (struct reader){.text = {0}};
    request = (struct run_request){.agent = "echo",
                                   .input = "{\"q\":1}",
                                   .input_length = strlen("{\"q\":1}"),
                                   .subject = "",
                                   .linger_ms = NEVER,
                                   .input_ms = NEVER,
                                   .deadline_ms = NEVER,
                                   .grace_ms = NEVER};
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    runs = runs_create(&loop, limits);
    run = NULL;
}

void setup_runs(void)
{
    setup_runs_with(&plenty);
}

void setup(void)
{
    setup_runs();
    run = create_run();
}

void start_run(void)
{
    run = create_run();
    subscribe(&reader);
    start(run);
}

void setup_running(void)
{
    setup_runs();
    start_run();
}

void forget_all(void)
{
    struct runs_limits nothing = {.retention_ms = HOUR_MS};
    struct run *last;

    runs_set_limits(runs, &nothing);
    request.key = request.client = NULL;
    last = create_ended();
    run_unref(last);
}

void teardown(void)
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

void set_log_size(size_t log_size)
{
    struct runs_limits limits = plenty;

    limits.log_size = log_size;
    runs_set_limits(runs, &limits);
}

size_t log_length(void)
{
    return (size_t)(run_log(run)->end.at - run_log(run)->start.at);
}
