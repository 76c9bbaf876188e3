#include "../case.h"
#include "api/request.h"
#include "base/log.h"
#include "config/config.h"
#include "protocol/native.h"
#include "run/runs.h"
#include "wire/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- ids of events ---- */

#define RUN "7q3vj5k8m2n4p6r9s1t0w2xyzh"

static void expect_position(const char *id, uint64_t after)
{
    struct position position;

    memset(&position, '#', sizeof position);
    ck_assert_int_eq(position_read(id, &position), 0);
    ck_assert_str_eq(position.run, RUN);
    ck_assert_uint_eq(position.after, after);
}

static void expect_none(const char *id)
{
    struct position position;

    ck_assert_msg(position_read(id, &position) == -EINVAL, "%s", id);
}

CASE(ids_of_events)
{
    expect_position(RUN ".1", 1);
    expect_position(RUN ".0", 0);
    expect_position(RUN ".1234567", 1234567);
    expect_position(RUN ".007", 7);
}

CASE(largest_number)
{
    expect_position(RUN ".999999999999999999", UINT64_C(999999999999999999));
}

CASE(numbers_that_overflow)
{
    expect_none(RUN ".1000000000000000000");
    expect_none(RUN ".18446744073709551615");
    expect_none(RUN ".18446744073709551616");
    expect_none(RUN ".99999999999999999999999999999999999999999999");
}

CASE(numbers_that_are_none)
{
    static const char *const numbers[] = {"",    " 1",  "1 ",  "+1",  "-1",  "0x1",
                                          "1.",  ".1",  "1.5", "1e3", "abc", "1a",
                                          "1\n", "\t1", "1,2", "--1", "١",   "1\r\n"};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char id[64] = RUN ".";
        strcat(id, numbers[i]);
        expect_none(id);
    }
}

CASE(run_of_another_length)
{
    expect_none("7q3vj5k8m2n4p6r9s1t0w2xyz.1");
    expect_none(RUN "0.1");
    expect_none(RUN RUN ".1");
    expect_none(".1");
    expect_none("r.1");
}

CASE(garbage)
{
    expect_none("");
    expect_none(".");
    expect_none("..");
    expect_none("1");
    expect_none(RUN);
    expect_none(RUN "1");
    expect_none(RUN "/1");
    expect_none("7q3vj5k8m2n4p6r9s1t0w2xy.h.1");
    expect_none("..........................."
                "1");
}

/* The parser does not read past the end, which sanitizers see. */
CASE(cut_at_any_place)
{
    static const char whole[] = RUN ".12";

    for (size_t length = 0; length <= RUN_ID_LENGTH + 1; length++) {
        char *cut = strndup(whole, length);
        expect_none(cut);
        free(cut);
    }
    expect_position(whole, 12);
}

/* ---- requests without HTTP ---- */

/* What the request of a test says; names without a value are absent. */
static struct {
    const char *name, *value;
} headers[8], queries[8];

static struct buf body;
static struct config *config;
static struct config_plugin plugin;
static struct request_texts texts;
static struct run_request wanted;
static struct request_view view;
static uv_loop_t loop;
static struct runs *runs;

static const char *on_header(void *data, const char *name)
{
    ck_assert_ptr_eq(data, headers);
    for (size_t i = 0; i < sizeof headers / sizeof *headers && headers[i].name; i++) {
        if (strcasecmp(headers[i].name, name) == 0)
            return headers[i].value;
    }
    return NULL;
}

static const char *on_query(void *data, const char *name)
{
    ck_assert_ptr_eq(data, headers);
    for (size_t i = 0; i < sizeof queries / sizeof *queries && queries[i].name; i++) {
        if (strcmp(queries[i].name, name) == 0)
            return queries[i].value;
    }
    return NULL;
}

static void say_header(const char *name, const char *value)
{
    size_t i = 0;

    while (headers[i].name && strcmp(headers[i].name, name) != 0)
        i++;
    headers[i].name = name;
    headers[i].value = value;
}

static void ask(const char *name, const char *value)
{
    size_t i = 0;

    while (queries[i].name && strcmp(queries[i].name, name) != 0)
        i++;
    queries[i].name = name;
    queries[i].value = value;
}

static void say_body(const char *json)
{
    buf_finish(&body);
    buf_puts(&body, json);
}

static void setup_request(void)
{
    static const struct runs_limits limits = {
        .retention_ms = 60000, .log_size = 1024 * 1024, .log_budget = 16 * 1024 * 1024};

    log_open("test", "", LOG_FATAL);
    memset(headers, 0, sizeof headers);
    memset(queries, 0, sizeof queries);
    config = config_create();
    plugin = config->plugin_defaults;
    wanted = (struct run_request){.agent = "echo"};
    view = (struct request_view){.header = on_header,
                                 .query = on_query,
                                 .data = headers,
                                 .body = &body,
                                 .subject = "",
                                 .address = "192.0.2.1"};
    say_header("Content-Type", "application/json");
    say_body("{\"text\":\"to be\"}");
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    runs = runs_create(&loop, &limits);
}

static void teardown_request(void)
{
    runs_fail_all(runs, RUN_ERROR_shutdown);
    runs_destroy(runs);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    config_destroy(config);
    buf_finish(&body);
    buf_finish(&wanted.vars);
}

static enum admission read_request(const char *forward_headers)
{
    enum admission refusal = request_read_form(&view, &wanted.form);

    if (refusal == ADMISSION_granted)
        refusal = request_read(&view, &plugin,
                               wanted.form.answer == ANSWER_DETACH ? DISCONNECT_CONTINUE
                                                                   : plugin.on_disconnect,
                               &texts, &wanted);
    return refusal == ADMISSION_granted
               ? request_read_input(&view, forward_headers, &texts, &wanted)
               : refusal;
}

CASES("request", .setup = setup_request, .teardown = teardown_request);

CASE(defaults)
{
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_int_eq(wanted.form.answer, ANSWER_STREAM);
    ck_assert_ptr_eq(wanted.form.encoder, &encoder_native);
    ck_assert_str_eq(wanted.subject, "");
    ck_assert_str_eq(wanted.client, "192.0.2.1");
    ck_assert_ptr_eq(wanted.key, NULL);
    ck_assert_ptr_eq(wanted.digest, NULL);
    ck_assert_uint_eq(wanted.linger_ms, 30000);
    ck_assert_uint_eq(wanted.deadline_ms, NEVER);
    ck_assert_uint_eq(wanted.grace_ms, 10000);
    ck_assert_uint_eq(wanted.input_length, strlen("{\"text\":\"to be\"}"));
    ck_assert_mem_eq(wanted.input, "{\"text\":\"to be\"}", wanted.input_length);
    ck_assert_uint_eq(buf_length(&wanted.vars), 0);
}

/* The run of a request that no HTTP library has seen, as its worker will get it. */
CASE(run_of_a_view)
{
    static const struct run_agent agent = {.name = "echo", .version = "1.2", .generation = 3};
    const struct buf *pairs;
    struct buf expected = {0};
    struct run *run;

    view.subject = "alice";
    say_header("X-Tenant", "blue");
    say_header("X-Other", "kept back");
    say_header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    ck_assert_int_eq(read_request("X-Tenant, X-Absent"), ADMISSION_granted);
    ck_assert_str_eq(wanted.client, "alice");
    ck_assert_int_eq(run_create(runs, &wanted, &run), 0);
    ck_assert_str_eq(run_agent_name(run), "echo");
    ck_assert_str_eq(run_subject(run), "alice");
    ck_assert_uint_eq(runs_live_of(runs, "alice"), 1);
    pairs = run_pairs(run, &agent);
    wire_append_pair(&expected, "input", "{\"text\":\"to be\"}");
    wire_append_pair(&expected, "traceparent",
                     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    wire_append_pair(&expected, "auth.subject", "alice");
    wire_append_pair(&expected, "request.header.x-tenant", "blue");
    wire_append_pair(&expected, "run.id", run_id(run));
    ck_assert_uint_gt(buf_length(pairs), buf_length(&expected));
    ck_assert_mem_eq(buf_data(pairs), buf_data(&expected), buf_length(&expected));
    buf_finish(&expected);
    run_unref(run);
}

CASE(traceparent_that_is_none)
{
    say_header("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_uint_eq(buf_length(&wanted.vars), 0);
}

CASE(options)
{
    plugin.deadline = 60;
    ask("mode", "wait");
    ask("on_disconnect", "continue");
    ask("deadline", "5");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_int_eq(wanted.form.answer, ANSWER_WAIT);
    ck_assert_uint_eq(wanted.linger_ms, NEVER);
    ck_assert_uint_eq(wanted.deadline_ms, 5000);
    ask("deadline", "61"); /* the plugin's can only be shortened */
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_uint_eq(wanted.deadline_ms, 60000);
}

CASE(detached_run_goes_on)
{
    ask("mode", "detach");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_int_eq(wanted.form.answer, ANSWER_DETACH);
    ck_assert_uint_eq(wanted.linger_ms, NEVER);
    ask("on_disconnect", "cancel");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_uint_eq(wanted.linger_ms, 0);
}

CASE(options_that_are_none)
{
    ask("mode", "later");
    ck_assert_int_eq(read_request(""), ADMISSION_bad_mode);
    ask("mode", "stream");
    ask("on_disconnect", "0");
    ck_assert_int_eq(read_request(""), ADMISSION_bad_on_disconnect);
    ask("on_disconnect", "1");
    ask("deadline", "0");
    ck_assert_int_eq(read_request(""), ADMISSION_bad_deadline);
    ask("deadline", "1");
    say_header("Idempotency-Key", "\"\"");
    ck_assert_int_eq(read_request(""), ADMISSION_bad_key);
}

CASE(key_and_digest)
{
    unsigned char first[DIGEST_SIZE];

    say_header("Idempotency-Key", "\"one\"");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_str_eq(wanted.key, "one");
    memcpy(first, wanted.digest, sizeof first);
    say_body("{}");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_mem_ne(wanted.digest, first, sizeof first);
}

CASE(bodies_that_are_none)
{
    view.body = NULL;
    ck_assert_int_eq(read_request(""), ADMISSION_body_too_large);
    view.body = &body;
    say_body("{");
    ck_assert_int_eq(read_request(""), ADMISSION_body_not_json);
    say_body("");
    ck_assert_int_eq(read_request(""), ADMISSION_body_not_json);
    say_body("{}");
    say_header("Content-Type", "application/jsonp");
    ck_assert_int_eq(read_request(""), ADMISSION_body_of_other_type);
    say_header("Content-Type", "Application/JSON; charset=utf-8");
    ck_assert_int_eq(read_request(""), ADMISSION_granted);
}

static void expect_after(const struct run *run, enum admission refusal, uint64_t after)
{
    uint64_t number = UINT64_MAX;

    ck_assert_int_eq(request_read_after(&view, run, &number), refusal);
    if (refusal == ADMISSION_granted)
        ck_assert_uint_eq(number, after);
}

CASE(an_input_is_no_longer_than_a_worker_takes)
{
    ck_assert_int_eq(admission_check_size(1), ADMISSION_granted);
    ck_assert_int_eq(admission_check_size(WIRE_BODY_MAX + (size_t)1), ADMISSION_input_too_large);
}

CASE(where_to_read_on)
{
    char id[64];
    struct run *run;

    ck_assert_int_eq(read_request(""), ADMISSION_granted);
    ck_assert_int_eq(run_create(runs, &wanted, &run), 0);
    run_cancel(run); /* its only event is done */
    expect_after(run, ADMISSION_granted, 0);
    ask("after", "1");
    expect_after(run, ADMISSION_granted, 1);
    ask("after", "2");
    expect_after(run, ADMISSION_no_such_event, 0);
    ask("after", "-1");
    expect_after(run, ADMISSION_bad_after, 0);
    snprintf(id, sizeof id, "%s.1", run_id(run));
    ask("last_event_id", id);
    expect_after(run, ADMISSION_granted, 1);
    ask("last_event_id", "");
    ask("lastEventId", id); /* of the polyfill */
    expect_after(run, ADMISSION_granted, 1);
    say_header("Last-Event-ID", RUN ".1"); /* counts before the query */
    expect_after(run, ADMISSION_event_of_other_run, 0);
    say_header("Last-Event-ID", "");
    expect_after(run, ADMISSION_granted, 1);
    run_unref(run);
}
