/*
 * States change in run_set_state() alone, by the table `may`. Who may end a run, and
 * what follows:
 *
 *     run_end     the agent has ended        ─┐
 *     run_abort   the host ends the run      ─┤
 *                  (deadline, worker died,    ├─► end_with ─► `done` ─► runs_retain
 *                  shutdown, ...)             │
 *     run_cancel  while queued               ─┤
 *     give_up     the agent ignores          ─┘
 *                  the cancellation
 *
 * The executor is asked to stop by run_cancel and by run_abort (stop_executor), and
 * keeps its reference until run_end: an aborted run has ended for its readers while
 * its agent still runs. If the agent has not ended after its grace, give_up ends
 * the run if it has not, and tells the executor, which ends the worker.
 *
 * One timer serves three times: the deadline, the time without a reader, the grace. arm()
 * sets it for the first of them.
 *
 * Without a reader a run has two times, which begin when the last reader leaves: linger_left
 * goes by while the agent works, input_left while the run waits for a person. So a question
 * outlives a client that leaves to answer it, while an agent that asks again and again with
 * timeouts of its own does not outlive its clients for ever. Both begin anew when somebody
 * answers.
 *
 * To add a reason for a failed end, add a line to RUN_ERRORS and call run_abort().
 */
#include "run/inside.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *name;
    bool is_end;
} states[] = {
#define X(name, is_end) {#name, is_end},
    RUN_STATES(X)
#undef X
};

static const struct {
    const char *code;
    const char *words;
} errors[] = {
#define X(name, words) {#name, words},
    RUN_ERRORS(X)
#undef X
};

static const char *const cancellers[] = {
#define X(name) #name,
    RUN_CANCELLERS(X)
#undef X
};

#define IN(state) (1u << RUN_##state)
#define ENDS      (IN(finished) | IN(failed) | IN(cancelled))

/* The states that a run may go to from each; from an end none. */
static const unsigned may[] = {
    [RUN_queued] = IN(running) | ENDS,
    [RUN_running] = IN(running) | IN(waiting) | ENDS,
    [RUN_waiting] = IN(running) | IN(waiting) | ENDS,
    [RUN_finished] = 0,
    [RUN_failed] = 0,
    [RUN_cancelled] = 0,
};

static void run_set_state(struct run *run, enum run_state state)
{
    assert(may[run->state] & 1u << state);
    run->state = state;
    runs_note_change(run->runs, run);
}

const char *run_error_code(enum run_error error)
{
    return errors[error].code;
}

const char *run_id(const struct run *run)
{
    return run->identity.id;
}

const struct run_identity *run_identity(const struct run *run)
{
    return &run->identity;
}

const char *run_agent_name(const struct run *run)
{
    return run->identity.agent;
}

const char *run_subject(const struct run *run)
{
    return run->subject;
}

const char *run_note(const struct run *run)
{
    return run->note;
}

void run_empty_note(struct run *run)
{
    if (run->note)
        run->note[0] = '\0';
}

const unsigned char *run_digest(const struct run *run)
{
    return run->digest;
}

enum run_state run_get_state(const struct run *run)
{
    return run->state;
}

bool run_has_ended(const struct run *run)
{
    return states[run->state].is_end;
}

bool run_tell_end(struct run *run)
{
    uint32_t asked = ++run->end_asked;

    while (asked > 0 && asked % 8 == 0)
        asked /= 8;
    return asked == 1;
}

const struct eventlog *run_log(const struct run *run)
{
    return run->log;
}

struct buf *run_pairs(struct run *run, const struct run_agent *agent)
{
    char generation[24];

    snprintf(generation, sizeof generation, "%" PRIu64, agent->generation);
    wire_append_pair(&run->pairs, "run.id", run->identity.id);
    wire_append_pair(&run->pairs, "run.agent", agent->name);
    wire_append_pair(&run->pairs, "plugin.version", agent->version);
    wire_append_pair(&run->pairs, "plugin.generation", generation);
    if (run->identity.thread)
        wire_append_pair(&run->pairs, "request.thread", run->identity.thread);
    return &run->pairs;
}

/* Append the open questions, as they were asked. */
static void describe_questions(const struct run *run, struct buf *json)
{
    const struct question *question = NULL;

    while ((question = run_question_next(run, question))) {
        buf_puts(json, question->sequence == run_question_next(run, NULL)->sequence
                           ? ",\"questions\":["
                           : ",");
        buf_append(json, question->json, question->length);
    }
    if (run->questions.open > 0)
        buf_puts(json, "]");
}

/* Say why the run did not finish. */
static void describe_error(const struct run *run, struct buf *json)
{
    if (run->state == RUN_cancelled)
        buf_printf(json, ",\"reason\":\"%s\"", cancellers[run->canceller]);
    if (run->error_code == NULL)
        return;
    buf_puts(json, ",\"error\":{\"code\":");
    json_append_string(json, run->error_code);
    buf_puts(json, ",\"message\":");
    json_append_string(json, run->error_message);
    buf_puts(json, "}");
}

void run_describe(const struct run *run, struct buf *json)
{
    run_identity_describe(&run->identity, json);
    buf_printf(json, ",\"status\":\"%s\",\"events\":%" PRIu64, states[run->state].name,
               eventlog_last(run->log));
    if (run->held && !run_has_ended(run))
        buf_puts(json, ",\"held\":true");
    if (run->cancelling && !run_has_ended(run))
        buf_puts(json, ",\"cancelling\":true");
    describe_questions(run, json);
    describe_error(run, json);
    buf_puts(json, "}");
}

/* ---- times ---- */

static void on_time(void *data);

/* Return the time that is this far from now. */
static uint64_t run_time(const struct run *run, uint64_t ms)
{
    return time_after(patience_now(runs_loop(run->runs)), ms);
}

static void arm(struct run *run)
{
    uint64_t now = patience_now(runs_loop(run->runs)), due = run->deadline_at;

    if (run->deserted_at < due)
        due = run->deserted_at;
    if (run->ignored_at < due)
        due = run->ignored_at;
    if (due == NEVER)
        patience_stop(&run->timer);
    else
        patience_start(&run->timer, due > now ? due - now : 0, on_time);
}

/* Begin both times that the run has without a reader. */
static void begin_alone(struct run *run, uint64_t linger_ms)
{
    run->alone = true;
    run->linger_left = linger_ms;
    run->input_left = run->input_ms;
    run->alone_since = run_time(run, 0);
    run->deserted_at =
        run_time(run, run->state == RUN_waiting ? run->input_left : run->linger_left);
    arm(run);
}

void run_set_deserted(struct run *run, bool deserted)
{
    if (deserted && run->linger_ms == 0 && run->state != RUN_waiting) {
        run_cancel_by(run, RUN_BY_disconnect);
    } else if (deserted && !run_has_ended(run)) {
        begin_alone(run, run->linger_ms);
    } else if (!deserted) {
        run->alone = false;
        run->deserted_at = NEVER;
        arm(run);
    }
}

void run_set_asking(struct run *run)
{
    bool waits = run->awaiting > 0 || run->questions.open > 0;

    if (run->alone && waits != (run->state == RUN_waiting)) {
        uint64_t now = run_time(run, 0), spent = now - run->alone_since;
        uint64_t *left = waits ? &run->linger_left : &run->input_left;

        if (*left != NEVER)
            *left -= spent < *left ? spent : *left;
        run->alone_since = now;
        run->deserted_at = run_time(run, waits ? run->input_left : run->linger_left);
        arm(run);
    }
    run_set_state(run, waits ? RUN_waiting : RUN_running);
}

void run_hear(struct run *run)
{
    if (run->state == RUN_waiting && run->alone)
        begin_alone(run, run->linger_ms < RUN_RETURN_MS ? RUN_RETURN_MS : run->linger_ms);
}

/* ---- life ---- */

int run_create(struct runs *runs, struct run_request *request, struct run **out)
{
    struct run *run = mem_alloc(sizeof *run);
    int status = runs_make_id(runs, run->identity.id);

    if (status < 0) {
        free(run);
        return status;
    }
    run->refs = 2; /* the table's and the caller's */
    run->runs = runs;
    run->identity.agent = mem_strdup(request->agent);
    run->identity.thread = request->thread       ? mem_strdup(request->thread)
                           : request->own_thread ? mem_strdup(run->identity.id)
                                                 : NULL;
    run->identity.created = time(NULL);
    run->log = eventlog_create();
    questions_init(&run->questions);
    run->subject = mem_strdup(request->subject);
    run->note = request->note ? mem_strdup(request->note) : NULL;
    run->texts_size = request->note ? strlen(request->note) : 0;
    if (request->input) {
        buf_append(&run->pairs, "input", sizeof "input");
        buf_append(&run->pairs, request->input, request->input_length);
        buf_append(&run->pairs, "", 1);
    }
    buf_append(&run->pairs, buf_data(&request->vars), buf_length(&request->vars));
    buf_finish(&request->vars);
    TAILQ_INIT(&run->subscribers);
    patience_init(runs_loop(runs), &run->timer, run);
    run->linger_ms = request->linger_ms;
    run->input_ms = request->input_ms;
    run->grace_ms = request->grace_ms;
    run->deadline_at = run_time(run, request->deadline_ms);
    run->deserted_at = run->ignored_at = NEVER;
    runs_enter(runs, run, request);
    begin_alone(run, request->linger_ms > 0 ? request->linger_ms : NEVER);
    *out = run;
    return 0;
}

struct run *run_ref(struct run *run)
{
    run->refs++;
    return run;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void run_unref(struct run *run)
{
    if (--run->refs > 0)
        return;
    runs_leave(run->runs, run);
    eventlog_destroy(run->log);
    buf_finish(&run->pairs);
    free((char *)run->identity.agent);
    free((char *)run->identity.version);
    free((char *)run->identity.thread);
    free(run->subject);
    free(run->note);
    free(run->key);
    free(run->error_code);
    free(run->error_message);
    run->timer.timer.data = run;
    uv_close((uv_handle_t *)&run->timer.timer, on_timer_closed);
}

/* ---- events ---- */

/* Append an event, drop events that need not be kept, and tell the subscribers. */
static void publish(struct run *run, struct event *event)
{
    uint64_t before = run->log->end.at;

    eventlog_append(run->log, event);
    /* `done` is never dropped, nor what a reader was not told of. */
    runs_drop(run->runs, run, run_has_ended(run) || run->readers > 0 ? before : run->log->end.at);
    readers_tell(run);
}

/* Make room for an event, if need be at the cost of what is only kept. */
static bool make_space(struct run *run, const struct event *event)
{
    if (eventlog_reserve(run->log, event))
        return true;
    runs_squeeze(run->runs, run);
    return eventlog_reserve(run->log, event);
}

static void publish_own(struct run *run, const char *type, const struct buf *json)
{
    struct event event = {.type = type,
                          .type_length = strlen(type),
                          .json = buf_data(json),
                          .json_length = buf_length(json)};

    if (!make_space(run, &event)) { /* the run must end in `done`, for whoever comes back */
        readers_drop(run);
        runs_squeeze(run->runs, run);
    }
    publish(run, &event);
}

void run_start(struct run *run, const struct run_agent *agent, const struct executor *executor,
               void *data, uint32_t number)
{
    struct buf json = {0};

    run_set_state(run, RUN_running);
    run->identity.version = mem_strdup(agent->version);
    run->identity.generation = agent->generation;
    run->executor = executor;
    run->executor_data = data;
    run->number = number;
    run_ref(run);
    run_identity_describe(&run->identity, &json);
    buf_puts(&json, "}");
    publish_own(run, "run", &json);
    buf_finish(&json);
}

/* A worker is not trusted with the stream's lines, nor with the host's events. */
static bool event_is_safe(const struct event *event)
{
    return wire_type_is_free(event->type, event->type_length) &&
           !memchr(event->json, '\n', event->json_length) &&
           !memchr(event->json, '\r', event->json_length);
}

int run_append(struct run *run, struct event *event)
{
    if (!readers_charge(run, event) || !event_is_safe(event))
        return -EPROTO;
    if (run_has_ended(run))
        return 0;
    if (event_is(event, WIRE_ASK)) {
        if (questions_open(run, event, eventlog_last(run->log) + 1) < 0)
            return -EPROTO;
        run_set_asking(run);
    }
    if (make_space(run, event))
        publish(run, event);
    else
        run_abort(run, RUN_ERROR_out_of_memory, NULL);
    return 0;
}

/* The inputs before this number are taken, or are no longer wanted. */
static void inputs_give_back(struct run *run, uint32_t upto)
{
    for (; run->inputs_taken < upto; run->inputs_taken++)
        run->inputs_size -= run->input_sizes[run->inputs_taken % RUN_INPUTS_MAX];
    runs_account(run->runs, run);
}

int run_set_waiting(struct run *run, uint32_t taken, uint32_t waiting)
{
    if (taken > run->inputs_sent || taken < run->inputs_taken)
        return -EPROTO;
    inputs_give_back(run, taken);
    run->awaiting = waiting;
    run->takes_inputs |= taken > 0 || waiting > 0;
    if (!run_has_ended(run))
        run_set_asking(run);
    return 0;
}

int run_close_question(struct run *run, uint32_t question)
{
    if (run_has_ended(run)) /* which has closed them all */
        return 0;
    if (questions_close(run, question) < 0)
        return -EPROTO;
    run_set_asking(run);
    return 0;
}

void run_set_held(struct run *run, bool held)
{
    run->held = held;
}

int run_give_input(struct run *run, const char *json, size_t length)
{
    bool has_room = runs_make_room(run->runs, run->quota->name, length);
    int status;

    if (run->executor == NULL || run_has_ended(run))
        return -ENXIO;
    if (run->questions.open > 0 && !run->takes_inputs)
        return -EBUSY;
    if (run->inputs_sent - run->inputs_taken >= RUN_INPUTS_MAX ||
        (run->inputs_size > 0 && run->inputs_size + length > RUN_INPUTS_SIZE))
        return -EAGAIN;
    if (!has_room)
        return -EDQUOT;
    status = run->executor->input(run->executor_data, run->number, 0, json, length);
    if (status < 0)
        return status;
    run_hear(run);
    run->input_sizes[run->inputs_sent++ % RUN_INPUTS_MAX] = (uint32_t)length;
    run->inputs_size += length;
    runs_account(run->runs, run);
    return 0;
}

/* ---- the end ---- */

/* The only way to an end. */
static void end_with(struct run *run, enum run_state state, const struct wire_end *end)
{
    struct buf json = {0};

    run_set_state(run, state);
    questions_clear(run);
    if (state == RUN_failed) {
        run->error_code = mem_strdup(end->code);
        run->error_message = mem_strdup(end->message);
        run->texts_size += strlen(end->code) + strlen(end->message);
    }
    buf_puts(&json, "{\"status\":\"");
    buf_puts(&json, states[state].name);
    buf_puts(&json, "\"");
    if (*end->result) {
        buf_puts(&json, ",\"result\":");
        buf_puts(&json, end->result);
    }
    describe_error(run, &json);
    buf_puts(&json, "}");
    buf_finish(&run->pairs);
    publish_own(run, "done", &json);
    buf_finish(&json);
    run->deadline_at = run->deserted_at = NEVER;
    arm(run);
    runs_retain(run->runs, run);
}

static void end_cancelled(struct run *run)
{
    struct wire_end end = {.status = WIRE_CANCELLED, .code = "", .message = "", .result = ""};

    end_with(run, RUN_cancelled, &end);
}

int run_end(struct run *run, const struct wire_end *end)
{
    static const enum run_state by_status[] = {[WIRE_FINISHED] = RUN_finished,
                                               [WIRE_FAILED] = RUN_failed,
                                               [WIRE_CANCELLED] = RUN_cancelled};
    size_t length = strlen(end->result);

    if (length > 0 && (json_check(end->result, length) < 0 || strpbrk(end->result, "\r\n")))
        return -EPROTO;
    if (!run->cancelling)
        run->canceller = RUN_BY_operator; /* if so: the host had the worker quit */
    if (!run_has_ended(run))
        end_with(run, by_status[end->status], end);
    if (run->executor) { /* it reports nothing more about the run */
        run->executor = NULL;
        run->ignored_at = NEVER;
        arm(run);
        inputs_give_back(run, run->inputs_sent);
        run_unref(run);
    }
    return 0;
}

/* Ask the agent to stop, once. */
static void stop_executor(struct run *run)
{
    if (run->executor == NULL || run->cancelling)
        return;
    run->cancelling = true;
    run->ignored_at = run_time(run, run->grace_ms);
    arm(run);
    run->executor->cancel(run->executor_data, run->number);
}

void run_abort(struct run *run, enum run_error error, const char *detail)
{
    struct wire_end end = {
        .status = WIRE_FAILED, .code = errors[error].code, .message = "", .result = ""};
    char *message;

    if (run_has_ended(run))
        return;
    message = mem_printf("%s%s%s", errors[error].words, detail ? ": " : "", detail ? detail : "");
    end.message = message;
    run_ref(run);
    end_with(run, RUN_failed, &end);
    free(message);
    stop_executor(run);
    run_unref(run);
}

void run_cancel(struct run *run)
{
    run_cancel_by(run, RUN_BY_client);
}

void run_cancel_by(struct run *run, enum run_canceller by)
{
    if (run_has_ended(run))
        return;
    if (!run->cancelling)
        run->canceller = by;
    if (run->executor)
        stop_executor(run);
    else
        end_cancelled(run);
}

bool run_is_given_up(const struct run *run)
{
    return run->executor && run->cancelling && run->ignored_at == NEVER;
}

/* The agent goes on, but nobody waits for it. */
static void give_up(struct run *run)
{
    log_plugin("an agent ignores that its run was cancelled plugin=%s generation=%" PRIu64
               " run=%s",
               run->identity.agent, run->identity.generation, run->identity.id);
    run->ignored_at = NEVER;
    if (!run_has_ended(run))
        end_cancelled(run);
    run->executor->ignored(run->executor_data, run->number);
}

static void on_time(void *data)
{
    struct run *run = run_ref(data);
    uint64_t now = patience_now(runs_loop(run->runs));

    if (now >= run->deadline_at)
        run_abort(run, RUN_ERROR_deadline, NULL);
    if (now >= run->deserted_at) {
        run->deserted_at = NEVER;
        run_cancel_by(run, RUN_BY_disconnect);
    }
    if (now >= run->ignored_at)
        give_up(run);
    arm(run);
    run_unref(run);
}
