/*
 * The frames of a worker: in which states of its process each may come, and what the
 * front does then. Any other frame ends the worker.
 */
#include "base/log.h"
#include "base/mem.h"
#include "fleet/process_inside.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *string_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    return text ? text : "";
}

static int on_hello(struct process *process, const struct wire_frame *frame)
{
    cJSON *json = cJSON_ParseWithLength(frame->data, frame->length);
    struct card card = {0};
    struct process_hello hello = {.name = string_of(json, "name"),
                                  .version = string_of(json, "version"),
                                  .description = string_of(json, "description"),
                                  .mode = string_of(json, "mode"),
                                  .card = &card};
    struct card_texts texts = {.title = string_of(json, "title"),
                               .input_schema = string_of(json, "input_schema"),
                               .output_schema = string_of(json, "output_schema"),
                               .examples = string_of(json, "examples"),
                               .tags = string_of(json, "tags")};
    struct why why = {0};
    int status = 0;

    if (card_make(&card, &texts, &why) < 0) {
        status = -EPROTO;
    } else if (process->state == PROCESS_loading && *hello.name) {
        process->state = PROCESS_greeted;
        process->name = mem_strdup(hello.name);
        output_set_plugin(process->output, hello.name);
        process->handler->hello(process->data, process, &hello);
    } else if (process->state != PROCESS_leaving) {
        status = -EPROTO;
    }
    card_finish(&card);
    why_finish(&why);
    cJSON_Delete(json);
    return status;
}

static int on_refused(struct process *process, const struct wire_frame *frame)
{
    cJSON *json = cJSON_ParseWithLength(frame->data, frame->length);
    char *reason;

    if (json && process->state == PROCESS_leaving) { /* it was told meanwhile */
        cJSON_Delete(json);
        return 0;
    }
    if (json == NULL || process->state >= PROCESS_ready) {
        cJSON_Delete(json);
        return -EPROTO;
    }
    reason = mem_printf("refused at %s: %s", string_of(json, "step"), string_of(json, "reason"));
    process_refuse(process, reason);
    free(reason);
    cJSON_Delete(json);
    return 0;
}

static int on_state(struct process *process, const struct wire_frame *frame)
{
    char *state;

    if (!process->saving)
        return -EPROTO;
    process->saving = false;
    state = mem_alloc(frame->length + 1);
    memcpy(state, frame->data, frame->length);
    if (process->handler->saved)
        process->handler->saved(process->data, process, state);
    free(state);
    return 0;
}

static int on_ready(struct process *process)
{
    if (process->state == PROCESS_leaving || process->condemned)
        return 0;
    if (process->state != PROCESS_creating)
        return -EPROTO;
    process_serve(process);
    return 0;
}

static int on_event(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_runs_find(&process->runs, frame->run);
    struct event event;

    if (run == NULL || wire_read_event(frame, &event.type, &event.type_length, &event.json,
                                       &event.json_length) < 0)
        return -EPROTO;
    return run_append(run, &event);
}

static int on_end(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_runs_find(&process->runs, frame->run);
    struct wire_end end;

    if (run == NULL || wire_read_end(frame, &end) < 0)
        return -EPROTO;
    if (run == process->culprit)
        process->culprit = NULL;
    if (run_end(run, &end) < 0)
        return -EPROTO;
    process_runs_remove(&process->runs, frame->run);
    if (process->state == PROCESS_draining && process->runs.live == 0)
        process_quit(process, PROCESS_QUIT_MS);
    if (process->handler->freed)
        process->handler->freed(process->data, process);
    return 0;
}

static int on_waiting(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_runs_find(&process->runs, frame->run);
    uint32_t counts[2];

    memcpy(counts, frame->data, sizeof counts);
    return run ? run_set_waiting(run, counts[0], counts[1]) : -EPROTO;
}

static int on_closed(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_runs_find(&process->runs, frame->run);
    uint32_t question;

    memcpy(&question, frame->data, sizeof question);
    return run ? run_close_question(run, question) : -EPROTO;
}

static int on_held(struct process *process, const struct wire_frame *frame)
{
    struct run *run = process_runs_find(&process->runs, frame->run);
    uint32_t tasks;

    if (run == NULL)
        return -EPROTO;
    memcpy(&tasks, frame->data, sizeof tasks);
    run_set_held(run, tasks > 0);
    return 0;
}

/* The first one counts. */
static int on_crash(struct process *process, const struct wire_frame *frame)
{
    struct run *run = frame->data[0] ? process_runs_find(&process->runs, frame->run) : NULL;
    const char *text;
    size_t at = 1;

    if ((frame->data[0] && run == NULL) || wire_read_string(frame, &at, &text) != 1 ||
        at != frame->length)
        return -EPROTO;
    if (*why_text(&process->crash))
        return 0;
    why_set(&process->crash, 0, "%s", text);
    process->culprit = run;
    return 0;
}

static int on_pong(struct process *process, const struct wire_frame *frame)
{
    struct wire_pong pong;

    if (process->pulse.pings == 0)
        return -EPROTO;
    memcpy(&pong, frame->data, sizeof pong);
    process->stray_emits = pong.stray_emits;
    process->refused_calls = pong.refused;
    if (!pulse_answer(&process->pulse))
        return 0;
    log_info("worker answers again plugin=%s generation=%" PRIu64 " pid=%d runs=%" PRIu32,
             process->name, process->spec.generation, process->child.pid, process->runs.live);
    if (process->handler->answered)
        process->handler->answered(process->data, process);
    return 0;
}

int process_on_frame(void *data, const struct wire_frame *frame)
{
    struct process *process = data;

    switch ((int)frame->type) {
    case WIRE_HELLO:
        return on_hello(process, frame);
    case WIRE_READY:
        return on_ready(process);
    case WIRE_REFUSED:
        return on_refused(process, frame);
    case WIRE_STATE:
        return on_state(process, frame);
    case WIRE_EVENT:
        return on_event(process, frame);
    case WIRE_END:
        return on_end(process, frame);
    case WIRE_WAITING:
        return on_waiting(process, frame);
    case WIRE_CLOSED:
        return on_closed(process, frame);
    case WIRE_HELD:
        return on_held(process, frame);
    case WIRE_CRASH:
        return on_crash(process, frame);
    case WIRE_PONG:
        return on_pong(process, frame);
    default:
        return -EPROTO;
    }
}
