/*
 * harness_tasks: tasks, scopes, variables, inputs and the run's end, in an order
 * that is the same on the host and under the harness.
 *
 *     {"ask":true,"fail":true}
 */
#include <sluice/agent_json.h>

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

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    int status = work_twice();

    (void)self;
    if (cJSON_HasObjectItem(json, "ask"))
        status = ask();
    if (cJSON_HasObjectItem(json, "fail"))
        status = run_fail("not a word", "%s", "it was told to");
    else
        run_result("{ \"parts\": 2 }");
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "harness_tasks", .version = "1.0", .handle = handle)
