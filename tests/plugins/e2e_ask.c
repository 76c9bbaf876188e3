/*
 * e2e_ask: asks people, in several tasks at once.
 *
 *     {"tasks":N,"times":K,"timeout_ms":T,"question":{...},"hold":PATH}
 *
 * Each of N tasks, 1 if missing, has its number as its scope and calls run_ask() K times with
 * the question, {"message":"?"} if missing. T is the timeout, none if it is missing. After each
 * call it emits heard {"status":STATUS,"answer":what it got, or null}. Then the run waits until
 * there is a file PATH of hold, if one is named.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct asker {
    char name[8];
    const char *question;
    unsigned times;
    uint32_t timeout_ms;
    struct agent_task *task;
};

static int ask(void *arg)
{
    struct asker *asker = (struct asker *)arg;
    int status = task_scope(asker->name);

    for (unsigned i = 0; i < asker->times && status != -ECANCELED; i++) {
        cJSON *heard = cJSON_CreateObject();
        const char *answer;

        status = run_ask(asker->question, asker->timeout_ms, &answer);
        cJSON_AddNumberToObject(heard, "status", status);
        cJSON_AddItemToObject(heard, "answer",
                              status == 0 ? cJSON_CreateRaw(answer) : cJSON_CreateNull());
        emit_json("heard", heard);
    }
    return status == -ECANCELED ? status : 0;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    char *question = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(json, "question"));
    unsigned tasks = (unsigned)json_number(json, "tasks", 1);
    const char *hold = json_string(json, "hold", NULL);
    double timeout = json_number(json, "timeout_ms", -1);
    struct asker *askers = (struct asker *)calloc(tasks, sizeof *askers);
    int status = 0;

    (void)self;
    for (unsigned i = 0; i < tasks && status == 0; i++) {
        struct asker *asker = &askers[i];
        snprintf(asker->name, sizeof asker->name, "%u", (i + 1) % 1000);
        asker->question = question ? question : "{\"message\":\"?\"}";
        asker->times = (unsigned)json_number(json, "times", 1);
        asker->timeout_ms = timeout < 0 ? AGENT_FOREVER : (uint32_t)timeout;
        status = task_spawn(ask, asker, &asker->task);
    }
    for (unsigned i = 0; i < tasks; i++) {
        int result = askers[i].task ? task_join(askers[i].task) : 0;
        status = status < 0 ? status : result;
    }
    while (hold && access(hold, F_OK) < 0 && status == 0)
        status = agent_sleep(2);
    cJSON_free(question);
    cJSON_Delete(json);
    free(askers);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_ask"), .version = "1.0",
             .handle = handle)
