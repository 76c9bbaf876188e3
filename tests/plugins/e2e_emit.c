/*
 * e2e_emit: makes the calls that its input lists, and reports what each
 * returned as the event returns [...]. An input is {"calls":[CALL, ...]}; a
 * CALL is one of
 *
 *     {"op":"event","type":T,PAYLOAD}    emit_event()
 *     {"op":"text",PAYLOAD}              emit_text()
 *     {"op":"result",PAYLOAD}            run_result()
 *     {"op":"fail","code":C,"message":M} run_fail()
 *     {"op":"bound",PAYLOAD}             emit_text() on a thread that bound the context
 *     {"op":"stray",PAYLOAD}             emit_text() on a thread that did not
 *     {"op":"keep"}                      keeps a capture of this run
 *     {"op":"late",PAYLOAD}              emit_text() on a thread bound to the kept capture
 *     {"op":"return","value":N}          what handle() returns
 *
 * and a PAYLOAD is "text":S, or "hex":"6162" for bytes that JSON cannot hold,
 * or "fill":N for a JSON string of N bytes with its quotes; none is NULL.
 */
#include <sluice/agent_json.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct errand {
    struct agent_ctx *ctx;
    const char *text;
    int status;
};

static struct agent_ctx *kept;

static char *fill(size_t size)
{
    char *text = malloc(size + 1);

    memset(text, 'f', size);
    text[0] = text[size - 1] = '"';
    text[size] = '\0';
    return text;
}

static char *from_hex(const char *hex)
{
    size_t length = strlen(hex) / 2;
    char *text = malloc(length + 1);
    unsigned byte;

    for (size_t i = 0; i < length; i++) {
        sscanf(hex + 2 * i, "%2x", &byte);
        text[i] = (char)byte;
    }
    text[length] = '\0';
    return text;
}

static char *payload(const cJSON *call)
{
    const char *text = json_string(call, "text", NULL);
    const char *hex = json_string(call, "hex", NULL);
    double size = json_number(call, "fill", 0);

    return text ? strdup(text) : hex ? from_hex(hex) : size > 1 ? fill((size_t)size) : NULL;
}

static void *do_errand(void *data)
{
    struct errand *errand = data;

    if (errand->ctx)
        ctx_bind(errand->ctx);
    errand->status = emit_text(errand->text);
    return NULL;
}

/* emit_text() on a thread of the plugin's own. */
static int emit_elsewhere(struct agent_ctx *ctx, const char *text)
{
    struct errand errand = {.ctx = ctx, .text = text};
    pthread_t thread;
    int status = -pthread_create(&thread, NULL, do_errand, &errand);

    if (status == 0)
        pthread_join(thread, NULL);
    return status ? status : errand.status;
}

static int emit_bound(const char *text)
{
    struct agent_ctx *ctx = ctx_capture();
    int status = emit_elsewhere(ctx, text);

    ctx_release(ctx);
    return status;
}

static int emit_late(const char *text)
{
    int status = emit_elsewhere(kept, text);

    ctx_release(kept);
    kept = NULL;
    return status;
}

static int make_call(const cJSON *call, const char *text, int *end)
{
    const char *op = json_string(call, "op", "");

    if (strcmp(op, "event") == 0)
        return emit_event(json_string(call, "type", NULL), text);
    if (strcmp(op, "text") == 0)
        return emit_text(text);
    if (strcmp(op, "result") == 0)
        return run_result(text);
    if (strcmp(op, "fail") == 0)
        return *end = run_fail(json_string(call, "code", NULL), "%s",
                               json_string(call, "message", ""));
    if (strcmp(op, "bound") == 0)
        return emit_bound(text);
    if (strcmp(op, "stray") == 0)
        return emit_elsewhere(NULL, text);
    if (strcmp(op, "late") == 0)
        return emit_late(text);
    if (strcmp(op, "keep") == 0)
        return (kept = ctx_capture()) ? 0 : -ENXIO;
    if (strcmp(op, "return") == 0)
        return *end = (int)json_number(call, "value", 0);
    return -ENOSYS;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input), *returns = cJSON_CreateArray(), *call;
    int end = 0;

    (void)self;
    cJSON_ArrayForEach(call, cJSON_GetObjectItemCaseSensitive(json, "calls")) {
        char *text = payload(call);
        cJSON_AddItemToArray(returns, cJSON_CreateNumber(make_call(call, text, &end)));
        free(text);
    }
    emit_json("returns", returns);
    cJSON_Delete(json);
    return end;
}

AGENT_PLUGIN(.name = "e2e_emit", .version = "1.0", .handle = handle)
