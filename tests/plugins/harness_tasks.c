/*
 * harness_tasks: tasks, scopes, variables, inputs and the run's end, in an order
 * that is the same on the host and under the harness.
 *
 *     {"ask":true,"fail":true,"bound":true}
 */
#include <sluice/agent_json.h>

#include <pthread.h>
#include <stdio.h>

struct part {
    const char *name;
    uint32_t ms;
};

static int work(void *arg)
{
    const struct part *part = arg;

    task_scope(part->name);
    ctx_set("part", part->name);
    emit_event("begin", "{ \"deep\": [ ] }");
    agent_sleep(part->ms);
    emit_text(ctx_get("part"));
    emit_event("end", "[1]");
    return (int)part->ms;
}

static int work_twice(void)
{
    struct part slow = {"slow", 120}, quick = {"a \"quick\" one", 40};
    struct agent_task *a, *b;
    char json[32];
    int first, second;

    task_spawn(work, &slow, &a);
    task_spawn(work, &quick, &b);
    first = task_join(a);
    second = task_join(b);
    snprintf(json, sizeof json, "[%d,%d]", first, second);
    return emit_event("joined", json);
}

static int ask(void)
{
    const char *json;
    int status = run_input(AGENT_FOREVER, &json);

    return status < 0 ? status : emit_event("heard", json);
}

/* What a thread of the agent's own may do in fiber mode. */
static void *use_bound(void *captured)
{
    struct part part = {"none", 0};
    struct agent_task *task = NULL;
    char json[64];
    int spawned, joined;

    ctx_bind(captured);
    spawned = task_spawn(work, &part, &task);
    joined = task_join(task);
    snprintf(json, sizeof json, "[%d,%d,%d]", spawned, joined, ctx_set("run.id", "1"));
    emit_event("bound", json);
    ctx_bind(NULL);
    ctx_release(captured);
    return NULL;
}

static int bind_one(void)
{
    pthread_t thread;
    int status = -pthread_create(&thread, NULL, use_bound, ctx_capture());

    if (status == 0)
        pthread_join(thread, NULL);
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    int status = work_twice();

    (void)self;
    if (cJSON_HasObjectItem(json, "ask"))
        status = ask();
    if (cJSON_HasObjectItem(json, "bound"))
        status = bind_one();
    if (cJSON_HasObjectItem(json, "fail"))
        status = run_fail("not a word", "%s", "it was told to");
    else
        run_result("{ \"parts\": 2 }");
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "harness_tasks", .version = "1.0", .handle = handle)
