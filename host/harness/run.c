#include "harness/run.h"

#include "base/json.h"
#include "base/mem.h"
#include "harness/exchange.h"
#include "harness/turn.h"
#include "worker/emit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- life --------------------------------------------------------------- */

struct run *run_create(struct agent_test *test)
{
    struct run *run = mem_alloc(sizeof *run);

    run->test = test;
    run->refs = 1;
    run->cancel_ms = NEVER;
    run->status = "";
    TAILQ_INIT(&run->tasks);
    TAILQ_INIT(&run->exchanges);
    return run;
}

struct run *run_ref(struct run *run)
{
    run->refs++;
    return run;
}

static void input_destroy(void *item)
{
    struct run_input *input = item;

    free(input->json);
    free(input);
}

void run_unref(struct run *run)
{
    if (run == NULL || --run->refs > 0)
        return;
    list_finish(&run->inputs, input_destroy);
    list_finish(&run->answers, answer_destroy);
    list_finish(&run->requests, request_destroy);
    list_finish(&run->vars, free);
    list_finish(&run->events, free);
    free(run->code);
    free(run->message);
    free(run->result);
    free(run->text);
    free(run->transcript);
    free(run);
}

const struct var *run_push(struct run *run, const struct var *vars, const char *key,
                           const char *value)
{
    struct var *var = vars_push(vars, key, value);

    list_add(&run->vars, var);
    return var;
}

/* ---- inputs ------------------------------------------------------------- */

void run_script_input(struct run *run, uint64_t at_ms, const char *json)
{
    struct run_input *input = mem_alloc(sizeof *input);
    struct list *inputs = &run->inputs;
    size_t i = inputs->count;

    input->at_ms = at_ms;
    input->json = mem_strdup(json);
    list_add(inputs, input);
    for (; i > 0 && ((struct run_input *)inputs->items[i - 1])->at_ms > at_ms; i--)
        inputs->items[i] = inputs->items[i - 1];
    inputs->items[i] = input;
}

uint64_t run_next_input_ms(const struct run *run)
{
    const struct run_input *input;

    if (run->inputs_taken == run->inputs.count)
        return NEVER;
    input = run->inputs.items[run->inputs_taken];
    return input->at_ms;
}

const char *run_take_input(struct run *run)
{
    const struct run_input *input;

    if (run_next_input_ms(run) > run->now_ms)
        return NULL;
    input = run->inputs.items[run->inputs_taken++];
    return input->json;
}

/* ---- what the agent does ------------------------------------------------ */

bool run_is_stopped(const struct run *run)
{
    return run->cancelled || run->stopping || run->over;
}

void run_cancel(struct run *run)
{
    run->cancelled = true;
    run_wake(run);
}

int run_enter_wait(struct run *run, struct agent_task *task)
{
    if (++run->waits == run->cancel_wait)
        run_cancel(run);
    if (!run_is_stopped(run))
        return 0;
    task_wait(task, run->now_ms);
    return -ECANCELED;
}

static struct agent_test_emitted *event_create(const struct emit *emit, const char *scope,
                                               uint64_t at_ms)
{
    size_t size = emit_size(emit, scope);
    struct agent_test_emitted *event = mem_alloc(sizeof *event + emit->type_length + size + 2);
    char *type = (char *)(event + 1), *json = type + emit->type_length + 1;

    memcpy(type, emit->type, emit->type_length);
    emit_write(emit, scope, json);
    *event = (struct agent_test_emitted){.type = type, .json = json, .at_ms = at_ms};
    return event;
}

int run_emit(struct run *run, const struct emit *emit, const char *scope)
{
    if (emit_size(emit, scope) > AGENT_EVENT_MAX)
        return -EMSGSIZE;
    if (++run->emits == run->cancel_emit)
        run_cancel(run);
    if (run_is_stopped(run))
        return -ECANCELED;
    list_add(&run->events, event_create(emit, scope, run->now_ms));
    return 0;
}

int run_set_failure(struct run *run, const char *code, const char *message)
{
    if (run->over)
        return -ECANCELED;
    if (run->code == NULL) {
        run->code = mem_strdup(code);
        run->message = mem_strdup(message);
    }
    return -EIO;
}

int run_set_result(struct run *run, const char *json)
{
    ssize_t length = json ? json_check(json, strlen(json)) : -EINVAL;
    char *result;

    if (length < 0)
        return (int)length;
    if (length > AGENT_EVENT_MAX)
        return -EMSGSIZE;
    if (run->over)
        return -ECANCELED;
    result = mem_alloc((size_t)length + 1);
    json_compact(result, json, strlen(json));
    free(run->result);
    run->result = result;
    return 0;
}

/* ---- the whole ---------------------------------------------------------- */

static void run_fail_by_return(struct run *run, int status)
{
    char message[128];

    snprintf(message, sizeof message, "handle() returned %d (%s)", status,
             status < 0 ? strerror((int)(0u - (unsigned)status)) : "not a negative errno");
    run_set_failure(run, "agent_error", message);
}

/* What it was cancelled or failed for counts more than what it has achieved. */
static void run_finish(struct run *run, int status)
{
    if (!run->cancelled && status != 0)
        run_fail_by_return(run, status);
    run->status = run->cancelled ? "cancelled" : run->code ? "failed" : "finished";
    if (run->cancelled) {
        mem_set(&run->code, NULL);
        mem_set(&run->message, NULL);
    }
    if (run->cancelled || run->code)
        mem_set(&run->result, NULL);
    run->returned = status;
    run->over = true;
    exchanges_close_all(run);
}

void run_execute(struct run *run, int (*fn)(void *arg), void *arg)
{
    struct agent_task first;
    int status = -ECANCELED;

    run_lock();
    task_init(&first, run, NULL);
    first.state = TASK_RUNNING;
    TAILQ_INSERT_HEAD(&run->tasks, &first, in_run);
    run->turn = &first;
    task_set_current(&first);
    if (run->cancel_ms == 0)
        run_cancel(run);
    if (!run->cancelled) {
        run_unlock();
        status = fn(arg);
        run_lock();
    }
    run->stopping = status != 0;
    run_wake(run);
    turn_join_all(&first);
    task_set_current(NULL);
    TAILQ_REMOVE(&run->tasks, &first, in_run);
    task_finish(&first);
    run_finish(run, status);
    run_unlock();
}

/* ---- reading back ------------------------------------------------------- */

static void append_delta(struct buf *text, const struct agent_test_emitted *event)
{
    cJSON *json = cJSON_Parse(event->json);
    const char *delta = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "delta"));

    if (delta)
        buf_puts(text, delta);
    cJSON_Delete(json);
}

const char *run_text(struct run *run)
{
    struct buf text = {0};

    for (size_t i = 0; i < run->events.count; i++) {
        const struct agent_test_emitted *event = run->events.items[i];
        if (strcmp(event->type, "text") == 0)
            append_delta(&text, event);
    }
    free(run->text);
    return run->text = buf_steal(&text);
}

static void append_end(struct buf *text, const struct run *run)
{
    if (!*run->status)
        return;
    buf_printf(text, "done {\"status\":\"%s\"", run->status);
    if (run->result)
        buf_printf(text, ",\"result\":%s", run->result);
    if (run->code) {
        buf_puts(text, ",\"error\":{\"code\":");
        json_append_string(text, run->code);
        buf_puts(text, ",\"message\":");
        json_append_string(text, run->message);
        buf_puts(text, "}");
    }
    buf_puts(text, "}\n");
}

const char *run_transcript(struct run *run)
{
    struct buf text = {0};

    for (size_t i = 0; i < run->events.count; i++) {
        const struct agent_test_emitted *event = run->events.items[i];
        buf_printf(&text, "%s %s\n", event->type, event->json);
    }
    append_end(&text, run);
    free(run->transcript);
    return run->transcript = buf_steal(&text);
}
