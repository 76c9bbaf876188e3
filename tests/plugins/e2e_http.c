/*
 * e2e_http: sends a request and does with it what its input says, in order.
 *
 *     {"url":U,"do":[OP,...]}
 *
 * and, as struct agent_http_request has them, method, headers, body,
 * connect_timeout_ms, idle_timeout_ms, timeout_ms, max_bytes and http2. Before the first
 * OP it opens the exchange and emits opened {"status"}. "tasks":N has N tasks do so,
 * each with an exchange and the scope of its number, and joins them.
 *
 *     status       emits status {"status","words"}, of agent_http_error()
 *     header NAME  emits header {"value"}, or {} if there is none
 *     read         emits read {"length","words"}, of one agent_http_read()
 *     text         emits text of all that comes, then end {"length","status","words"}
 *     count        emits only that end
 *     collect      emits collect {"status","text"}
 *     share        reads, and has a task read at the same time: each emits share {"status"}
 *     snatch       has a task close it while it reads: emits snatch {"status"}; for fibers
 *     close        closes it; reopen opens another
 *     wait         waits for an input; sleep waits for an hour
 *
 * It ends with the first call that fails with -ECANCELED, and then writes the
 * time, as CLOCK_MONOTONIC in nanoseconds, into the new file that "file" names.
 * What it has not closed stays open.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_http.h>
#include <sluice/agent_json.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define HOUR_MS      3600000
#define HEADERS_MOST 32

struct script {
    const cJSON *json;
    struct agent_http_request request;
    const char *headers[HEADERS_MOST + 1];
    struct agent_http *http;
    char scope[16];
};

static void script_init(struct script *script, const cJSON *json)
{
    const cJSON *header;
    size_t count = 0;

    memset(script, 0, sizeof *script);
    script->json = json;
    script->request.url = json_string(json, "url", "");
    script->request.method = json_string(json, "method", NULL);
    script->request.body = json_string(json, "body", NULL);
    script->request.connect_timeout_ms = (uint32_t)json_number(json, "connect_timeout_ms", 0);
    script->request.idle_timeout_ms = (uint32_t)json_number(json, "idle_timeout_ms", 0);
    script->request.http2 = (int)json_number(json, "http2", 0);
    script->request.timeout_ms = (uint32_t)json_number(json, "timeout_ms", 0);
    script->request.max_bytes = (size_t)json_number(json, "max_bytes", 0);
    cJSON_ArrayForEach(header, cJSON_GetObjectItemCaseSensitive(json, "headers")) {
        if (count < HEADERS_MOST)
            script->headers[count++] = header->valuestring;
    }
    script->request.headers = script->headers;
}

static int emit_number(const char *type, const char *name, long number, const char *words)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddNumberToObject(json, name, (double)number);
    if (words)
        cJSON_AddStringToObject(json, "words", words);
    return emit_json(type, json);
}

static int do_open(struct script *script)
{
    int status = agent_http_open(&script->request, &script->http);

    emit_number("opened", "status", status, NULL);
    return status;
}

static int do_status(struct script *script)
{
    int status = agent_http_status(script->http);

    emit_number("status", "status", status, agent_http_error(script->http));
    return status;
}

static int do_header(struct script *script, const char *name)
{
    const char *value = agent_http_header(script->http, name);
    cJSON *json = cJSON_CreateObject();

    if (value)
        cJSON_AddStringToObject(json, "value", value);
    return emit_json("header", json);
}

static int do_read(struct script *script)
{
    const char *data;
    long length = agent_http_read(script->http, &data);

    emit_number("read", "length", length, agent_http_error(script->http));
    return length < 0 ? (int)length : 0;
}

static int emit_piece(const char *data, long length)
{
    char *text = (char *)malloc((size_t)length + 1);

    memcpy(text, data, (size_t)length);
    text[length] = '\0';
    length = emit_text(text);
    free(text);
    return (int)length;
}

static int do_read_all(struct script *script, bool emits)
{
    cJSON *json = cJSON_CreateObject();
    const char *data;
    long length, total = 0;

    while ((length = agent_http_read(script->http, &data)) > 0) {
        total += length;
        if (emits && emit_piece(data, length) < 0)
            break;
    }
    cJSON_AddNumberToObject(json, "length", (double)total);
    cJSON_AddNumberToObject(json, "status", (double)length);
    cJSON_AddStringToObject(json, "words", agent_http_error(script->http));
    emit_json("end", json);
    return length < 0 ? (int)length : 0;
}

static int do_collect(struct script *script)
{
    cJSON *json = cJSON_CreateObject();
    int status;
    char *text = agent_http_collect(script->http, &status);

    cJSON_AddNumberToObject(json, "status", status);
    if (text)
        cJSON_AddStringToObject(json, "text", text);
    free(text);
    emit_json("collect", json);
    return status < 0 ? status : 0;
}

static int task_read(void *http)
{
    const char *data;

    return emit_number("share", "status", agent_http_read((struct agent_http *)http, &data), NULL);
}

static int task_close(void *http)
{
    agent_http_close((struct agent_http *)http);
    return 0;
}

static int do_share(struct script *script)
{
    struct agent_task *task;
    int status = task_spawn(task_read, script->http, &task);

    if (status < 0)
        return status;
    task_read(script->http);
    return task_join(task);
}

/* The task begins when we wait. */
static int do_snatch(struct script *script)
{
    struct agent_task *task;
    int status = task_spawn(task_close, script->http, &task);
    const char *data;

    if (status < 0)
        return status;
    status = (int)agent_http_read(script->http, &data);
    task_join(task);
    script->http = NULL;
    return emit_number("snatch", "status", status, NULL);
}

static int do_op(struct script *script, const char *op)
{
    const char *json;

    if (strcmp(op, "status") == 0)
        return do_status(script);
    if (strncmp(op, "header ", 7) == 0)
        return do_header(script, op + 7);
    if (strcmp(op, "read") == 0)
        return do_read(script);
    if (strcmp(op, "text") == 0 || strcmp(op, "count") == 0)
        return do_read_all(script, strcmp(op, "text") == 0);
    if (strcmp(op, "collect") == 0)
        return do_collect(script);
    if (strcmp(op, "share") == 0)
        return do_share(script);
    if (strcmp(op, "snatch") == 0)
        return do_snatch(script);
    if (strcmp(op, "wait") == 0)
        return run_input(AGENT_FOREVER, &json);
    if (strcmp(op, "sleep") == 0)
        return agent_sleep(HOUR_MS);
    if (strcmp(op, "reopen") == 0)
        return do_open(script);
    agent_http_close(script->http);
    script->http = NULL;
    return 0;
}

static int script_run(struct script *script)
{
    const cJSON *op;
    int status = do_open(script);

    if (status < 0)
        return 0;
    cJSON_ArrayForEach(op, cJSON_GetObjectItemCaseSensitive(script->json, "do")) {
        status = do_op(script, op->valuestring);
        if (status == -ECANCELED)
            return status;
    }
    return 0;
}

static int task_run(void *arg)
{
    struct script *script = (struct script *)arg;

    task_scope(script->scope);
    return script_run(script);
}

static int run_tasks(const cJSON *json, int count)
{
    struct script *scripts = (struct script *)calloc((size_t)count, sizeof *scripts);
    struct agent_task **tasks = (struct agent_task **)calloc((size_t)count, sizeof *tasks);
    int status = 0;

    for (int i = 0; i < count; i++) {
        script_init(&scripts[i], json);
        snprintf(scripts[i].scope, sizeof scripts[i].scope, "%d", i);
        if (task_spawn(task_run, &scripts[i], &tasks[i]) < 0)
            status = -ECANCELED;
    }
    for (int i = 0; i < count; i++) {
        if (tasks[i] && task_join(tasks[i]) < 0)
            status = -ECANCELED;
    }
    free(scripts);
    free(tasks);
    return status;
}

/* Written whole under another name first: who waits for the file finds a number in it. */
static void note_stop(const char *path)
{
    char temporary[4096];
    struct timespec now;
    FILE *file;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    file = fopen(temporary, "w");
    if (file == NULL)
        return;
    fprintf(file, "%" PRId64 "\n", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
    fclose(file);
    rename(temporary, path);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const char *path = json_string(json, "file", NULL);
    int tasks = (int)json_number(json, "tasks", 0), status;
    struct script script;

    (void)self;
    script_init(&script, json);
    status = tasks > 0 ? run_tasks(json, tasks) : script_run(&script);
    if (path)
        note_stop(path);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_http"), .version = "1.0",
             .handle = handle)
