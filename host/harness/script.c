/*
 * Inputs and the cancellation are alarms of the clock, set when the run starts.
 *
 * A response goes through these steps, each at its own time. The time of one is
 * the time of the one before plus the answer's delay, whenever the agent reads;
 * a timeout that comes earlier ends the response at its own time:
 *
 *     head ──► piece ──► … ──► end, or the answer's error
 *
 * A piece is added when the agent has read the one before, so that each call of
 * agent_http_read() returns one piece: after each, the exchange is held up.
 */
#include "harness/script.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "worker/asks.h"
#include "worker/inputs.h"
#include "worker/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct input {
    struct clock_alarm alarm; /* first */
    struct script *script;
    char *json;
};

/* What a person replies to a question. */
struct response {
    struct clock_alarm alarm; /* first */
    struct script *script;
    char *id;
    uint64_t delay;
    char *json;
};

struct answer {
    char *method; /* NULL for any */
    char *url;
    int status; /* 0 for none */
    struct list headers;
    struct list body;
    int error;
    uint64_t delay;
    bool used;
};

struct cancellation {
    struct clock_alarm alarm; /* first */
    struct script *script;
    unsigned at_emit; /* 0: at none */
    unsigned at_wait;
};

struct script {
    struct list inputs;
    struct list responses;
    struct list answers;
    struct cancellation cancel;
    unsigned emits;
    unsigned waits;
    struct http_driver driver;
    struct virtual_clock *clock;
    struct job *job;
    const struct script_handler *handler;
    void *data;
};

/* The response of one exchange. */
struct reply {
    struct clock_alarm alarm; /* first: of its next step */
    struct script *script;
    struct agent_http *exchange;
    const struct answer *answer;
    uint64_t came;     /* when the last step was */
    uint64_t deadline; /* of all of it */
    size_t pieces;     /* that were added */
};

/* ---- planning ---- */

static void on_cancel(struct clock_alarm *alarm)
{
    struct cancellation *cancel = (struct cancellation *)alarm;

    job_cancel(cancel->script->job);
}

static void attend(void *data, struct agent_http *exchange);

struct script *script_create(void)
{
    struct script *script = mem_alloc(sizeof *script);

    script->cancel.script = script;
    script->cancel.alarm.at = NEVER;
    script->cancel.alarm.ring = on_cancel;
    script->driver = (struct http_driver){.attend = attend, .data = script};
    return script;
}

static void input_destroy(void *item)
{
    struct input *input = item;

    free(input->json);
    free(input);
}

static void response_destroy(void *item)
{
    struct response *response = item;

    free(response->id);
    free(response->json);
    free(response);
}

static void answer_destroy(void *item)
{
    struct answer *answer = item;

    free(answer->method);
    free(answer->url);
    list_finish(&answer->headers, free);
    list_finish(&answer->body, free);
    free(answer);
}

void script_destroy(struct script *script)
{
    list_finish(&script->inputs, input_destroy);
    list_finish(&script->responses, response_destroy);
    list_finish(&script->answers, answer_destroy);
    free(script);
}

static void on_input(struct clock_alarm *alarm)
{
    struct input *input = (struct input *)alarm;

    inputs_give(input->script->job, input->json);
}

void script_input(struct script *script, uint64_t at_ms, const char *json)
{
    struct input *input = mem_alloc(sizeof *input);

    input->alarm.at = at_ms * CLOCK_MS;
    input->alarm.ring = on_input;
    input->script = script;
    input->json = mem_strdup(json);
    list_add(&script->inputs, input);
}

static void on_response(struct clock_alarm *alarm)
{
    struct response *response = (struct response *)alarm;

    asks_answer(response->script->job, (uint32_t)strtoul(response->id + 1, NULL, 10),
                response->json);
}

void script_reply(struct script *script, const char *id, uint64_t delay_ms, const char *json)
{
    struct response *response = mem_alloc(sizeof *response);

    response->alarm.ring = on_response;
    response->script = script;
    response->id = mem_strdup(id);
    response->delay = delay_ms * CLOCK_MS;
    response->json = mem_strdup(json);
    list_add(&script->responses, response);
}

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void copy_all(struct list *list, const char *const *texts)
{
    for (; texts && *texts; texts++)
        list_add(list, mem_strdup(*texts));
}

void script_answer(struct script *script, const struct agent_test_response *theirs)
{
    struct answer *answer = mem_alloc(sizeof *answer);

    answer->method = copy(theirs->method);
    answer->url = copy(theirs->url);
    answer->status = theirs->status || theirs->error ? theirs->status : 200;
    copy_all(&answer->headers, theirs->headers);
    copy_all(&answer->body, theirs->body);
    answer->error = theirs->error;
    answer->delay = theirs->delay_ms * CLOCK_MS;
    list_add(&script->answers, answer);
}

void script_cancel_at_emit(struct script *script, unsigned n)
{
    script->cancel.at_emit = n;
}

void script_cancel_at_wait(struct script *script, unsigned n)
{
    script->cancel.at_wait = n;
}

void script_cancel_at(struct script *script, uint64_t at_ms)
{
    script->cancel.alarm.at = at_ms * CLOCK_MS;
}

/* ---- playing ---- */

const struct http_driver *script_driver(struct script *script)
{
    return &script->driver;
}

void script_attach(struct script *script, struct virtual_clock *clock, struct job *job,
                   const struct script_handler *handler, void *data)
{
    sched_assert_locked(job_sched(job));
    script->clock = clock;
    script->job = job;
    script->handler = handler;
    script->data = data;
}

void script_play(struct script *script, struct virtual_clock *clock, struct job *job,
                 const struct script_handler *handler, void *data)
{
    script_attach(script, clock, job, handler, data);
    if (script->cancel.alarm.at != NEVER)
        virtual_clock_set_alarm(clock, &script->cancel.alarm);
    for (size_t i = 0; i < script->inputs.count; i++)
        virtual_clock_set_alarm(clock, script->inputs.items[i]);
}

void script_asked(struct script *script, const char *id)
{
    sched_assert_locked(job_sched(script->job));
    for (size_t i = 0; i < script->responses.count; i++) {
        struct response *response = script->responses.items[i];
        if (strcmp(response->id, id) != 0)
            continue;
        response->alarm.at = sched_now(job_sched(script->job)) + response->delay;
        virtual_clock_set_alarm(script->clock, &response->alarm);
    }
}

void script_count_emit(struct script *script)
{
    sched_assert_locked(job_sched(script->job));
    if (++script->emits == script->cancel.at_emit)
        job_cancel(script->job);
}

void script_count_wait(struct script *script)
{
    sched_assert_locked(job_sched(script->job));
    if (++script->waits == script->cancel.at_wait)
        job_cancel(script->job);
}

/* ---- replies ---- */

/* Return the first answer that is left for the request, or NULL. */
static const struct answer *script_take_answer(struct script *script,
                                               const struct exchange_request *request)
{
    for (size_t i = 0; i < script->answers.count; i++) {
        struct answer *answer = script->answers.items[i];
        if (answer->used || (answer->method && strcasecmp(answer->method, request->method) != 0) ||
            (answer->url && !strstr(request->url, answer->url)))
            continue;
        answer->used = true;
        return answer;
    }
    return NULL;
}

static void script_record_request(struct script *script, const struct exchange_request *request)
{
    struct agent_test_requested *recorded = mem_alloc(sizeof *recorded);
    struct buf headers = {0};

    for (char **header = request->headers; *header; header++)
        buf_printf(&headers, "%s\n", *header);
    recorded->method = mem_strdup(request->method);
    recorded->url = mem_strdup(request->url);
    recorded->headers = buf_steal(&headers);
    recorded->body_length = request->body_length;
    recorded->body = mem_copy(request->body ? request->body : "", request->body_length);
    script->handler->requested(script->data, recorded);
}

/* Return the next piece that is not empty, or NULL. */
static const char *reply_next_piece(struct reply *reply)
{
    const struct list *body = &reply->answer->body;

    while (reply->pieces < body->count && *(const char *)body->items[reply->pieces] == '\0')
        reply->pieces++;
    return reply->pieces < body->count ? body->items[reply->pieces] : NULL;
}

static void reply_fail(struct reply *reply, int error)
{
    exchange_fail(reply->exchange, error, "%s", strerror(-error));
    exchange_end(reply->exchange);
}

static void reply_head(struct reply *reply)
{
    const struct list *headers = &reply->answer->headers;

    for (size_t i = 0; i < headers->count; i++)
        exchange_add_header(reply->exchange, headers->items[i], strlen(headers->items[i]));
    exchange_set_status(reply->exchange, reply->answer->status);
}

static void reply_piece(struct reply *reply, const char *piece)
{
    reply->pieces++;
    if (exchange_add_data(reply->exchange, piece, strlen(piece)) < 0)
        exchange_end(reply->exchange);
    else
        exchange_hold_up(reply->exchange);
}

/* Return when the next step is, and whether it is the end of the agent's patience. */
static uint64_t reply_next_at(const struct reply *reply, bool *too_late)
{
    uint64_t due = reply->came + reply->answer->delay;
    uint64_t idle = reply->came + exchange_request(reply->exchange)->idle_timeout_ms * CLOCK_MS;
    uint64_t limit = idle < reply->deadline ? idle : reply->deadline;

    *too_late = due > limit;
    return *too_late ? limit : due;
}

/* Take the steps whose time has come, until the agent must read or the clock must go on. */
static void reply_go_on(struct reply *reply)
{
    const struct answer *answer = reply->answer;
    struct agent_http *exchange = reply->exchange;

    while (!exchange_is_held_up(exchange)) {
        bool begun = exchange_get_status(exchange) != 0, too_late;
        const char *piece = begun ? reply_next_piece(reply) : NULL;
        uint64_t at = reply_next_at(reply, &too_late);

        if (begun && piece == NULL && answer->error == 0) {
            exchange_end(exchange);
            return;
        }
        if (at > sched_now(virtual_clock_sched(reply->script->clock))) {
            reply->alarm.at = at;
            virtual_clock_set_alarm(reply->script->clock, &reply->alarm);
            return;
        }
        reply->came = at;
        if (too_late) {
            exchange_fail(exchange, -ETIMEDOUT, "a timeout was reached");
            exchange_end(exchange);
            return;
        }
        if (begun ? piece == NULL : answer->status == 0) {
            reply_fail(reply, answer->error);
            return;
        }
        if (!begun)
            reply_head(reply);
        else
            reply_piece(reply, piece);
    }
}

static void on_step(struct clock_alarm *alarm)
{
    reply_go_on((struct reply *)alarm);
}

static void reply_begin(struct script *script, struct agent_http *exchange)
{
    const struct exchange_request *request = exchange_request(exchange);
    struct reply *reply = mem_alloc(sizeof *reply);
    bool too_late;

    reply->alarm.ring = on_step;
    reply->script = script;
    reply->exchange = exchange;
    reply->came = sched_now(virtual_clock_sched(script->clock));
    reply->deadline = request->timeout_ms ? reply->came + request->timeout_ms * CLOCK_MS : NEVER;
    reply->answer = script_take_answer(script, request);
    exchange_set_transfer(exchange, reply);
    script_record_request(script, request);
    if (reply->answer == NULL) {
        struct buf text = {0};
        char *words;
        buf_printf(&text, "the test has no answer for %s %s", request->method, request->url);
        words = buf_steal(&text);
        exchange_fail(exchange, -ECONNREFUSED, "%s", words);
        exchange_end(exchange);
        script->handler->warn(script->data, words);
        free(words);
        return;
    }
    /* Nothing comes before the agent waits, even without a delay. */
    reply->alarm.at = reply_next_at(reply, &too_late);
    virtual_clock_set_alarm(script->clock, &reply->alarm);
}

static void attend(void *data, struct agent_http *exchange)
{
    struct script *script = data;
    struct reply *reply = exchange_transfer(exchange);

    if (exchange_is_closed(exchange)) {
        virtual_clock_clear_alarm(script->clock, &reply->alarm);
        exchange_unref(exchange);
        free(reply);
    } else if (reply == NULL) {
        reply_begin(script, exchange);
    } else {
        reply_go_on(reply);
    }
}
