/*
 * A plugin of ABI 1.1: it makes every call that 1.1 added, and every call of the other
 * headers as of 1.1, by the names of 1.1. See plugin-1.0.c for how the test uses it.
 * plugin-1.1.x86_64.so was built on Debian 12 (gcc 12.2), with agent*-1.1.h as
 * sdk/sluice/agent*.h, whose agent_llm.h and agent_sse.h had their code inline:
 *
 *     cc -std=c99 -O2 -shared -fPIC -fvisibility=hidden -s -Isdk plugin-1.1.c \
 *         -o plugin-1.1.x86_64.so -lcjson
 */
#include <sluice/agent.h>
#include <sluice/agent_http.h>
#include <sluice/agent_json.h>
#include <sluice/agent_llm.h>
#include <sluice/agent_sse.h>

/* A host's table, as a test makes one: its members have the names of their calls. */
static int own_cancelled(void)
{
    return 1;
}

static const struct agent_host own_host = {
    .size = sizeof own_host, .abi = AGENT_ABI, .run_cancelled = own_cancelled};

static int task(void *arg)
{
    int status = task_scope((const char *)arg);

    return status < 0 ? status : emit_text("in a task");
}

static int try_tasks(void)
{
    struct agent_task *spawned;
    const char *json;
    int status = task_spawn(task, (void *)(uintptr_t) "a", &spawned);

    if (status == 0)
        status = task_join(spawned);
    if (status == 0)
        status = task_join(spawned) == -EINVAL ? 0 : -EPROTO;
    if (status == 0 && own_host.run_cancelled() != 1)
        status = -EPROTO;
    return status == 0 && run_input(0, &json) != -ETIMEDOUT ? -EPROTO : status;
}

static int try_http(void)
{
    struct agent_http_request request = {.url = "gopher://localhost/"};
    struct agent_http *http;
    const char *data;
    int status;

    if (agent_http_open(&request, &http) != -EINVAL)
        return -EPROTO;
    request.url = "http://127.0.0.1:1/";
    if (agent_http_open(&request, &http) < 0)
        return -EPROTO;
    if (agent_http_status(http) != -ECONNREFUSED || agent_http_header(http, "Server") ||
        agent_http_read(http, &data) != -ECONNREFUSED || agent_http_collect(http, &status) ||
        status != -ECONNREFUSED)
        return -EPROTO;
    status = emit_text(*agent_http_error(http) ? "no server" : "no error");
    agent_http_close(http);
    return status;
}

static int take(void *arg, const char *type, const char *data)
{
    return strcmp(type, (const char *)arg) == 0 ? emit_event("sse", data) : -EPROTO;
}

static int try_sse(void)
{
    struct agent_sse sse = {.begun = 0};
    struct agent_sse_text text = {.data = NULL};
    const char *stream = "event: t\r\ndata: [1,\r\ndata: 2]\r\n\r\n";
    int status = agent_sse_feed(&sse, stream, strlen(stream), take, (void *)(uintptr_t) "t");

    agent_sse_finish(&sse);
    if (status == 0)
        status = agent_sse_add(&text, "ab", 2, 1) == -EMSGSIZE ? 0 : -EPROTO;
    free(text.data);
    return status;
}

static int try_json(const char *input)
{
    cJSON *json = json_parse(input), *event = cJSON_CreateObject();

    cJSON_AddStringToObject(event, "s", json_string(json, "s", "none"));
    cJSON_AddNumberToObject(event, "n", json_number(json, "n", JSON_PARSE_DEPTH_MAX));
    cJSON_Delete(json);
    return emit_json("json", event);
}

static int try_llm(void)
{
    struct agent_llm llm = {.quiet = AGENT_LLM_QUIET};
    struct agent_llm_call call = {(char *)(uintptr_t) "1", (char *)(uintptr_t) "f",
                                  (char *)(uintptr_t) "{}"};
    struct agent_llm_answer answer;
    cJSON *messages = cJSON_CreateArray();
    int status = agent_llm_say(messages, "user", "Hello");

    agent_llm_configure(&llm, NULL);
    if (status == 0 && !agent_llm_is_configured(&llm))
        status = agent_llm_chat(&llm, messages, NULL, &answer) == -EINVAL ? 0 : -EPROTO;
    if (status == 0)
        status = emit_text(answer.code);
    if (status == 0)
        status = agent_llm_say_answer(messages, &answer);
    if (status == 0)
        status = agent_llm_say_result(messages, &call, "done");
    if (status == 0)
        status = agent_llm_emit_call(&call);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    return status;
}

static int handle(void *self, const char *input)
{
    int status = try_tasks();

    (void)self;
    if (status == 0)
        status = try_http();
    if (status == 0)
        status = try_sse();
    if (status == 0)
        status = try_json(input);
    return status == 0 ? try_llm() : status;
}

AGENT_PLUGIN(.name = "plugin-1.1", .version = "1.1", .handle = handle)
