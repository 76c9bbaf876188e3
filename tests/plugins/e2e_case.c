/*
 * e2e_case: emits the events of a protocol case (tests/protocols). Its input is
 *
 *     {"events":[[TYPE,JSON],...],"end":END,"result":JSON,"code":C,"message":M}
 *
 * where each JSON is a string that is emitted as it is, and END is "finished",
 * "failed", or "cancelled": then it waits until it is. An event input_request is a question
 * that nobody answers.
 */
#include <sluice/agent_json.h>

#include <errno.h>
#include <string.h>

static const char *item_text(const cJSON *pair, int index)
{
    return cJSON_GetStringValue(cJSON_GetArrayItem(pair, index));
}

static int end(const cJSON *json)
{
    const char *how = json_string(json, "end", "finished");
    const char *result = json_string(json, "result", NULL);

    if (strcmp(how, "failed") == 0)
        return run_fail(json_string(json, "code", ""), "%s", json_string(json, "message", ""));
    while (strcmp(how, "cancelled") == 0 && !run_cancelled())
        agent_sleep(60000);
    return result ? run_result(result) : 0;
}

/* Ask what the case has as input_request; its id is the host's. Nobody answers. */
static int ask(const char *text)
{
    cJSON *question = cJSON_Parse(text);
    const char *answer;
    char *json;
    int status;

    cJSON_DeleteItemFromObjectCaseSensitive(question, "id");
    json = cJSON_PrintUnformatted(question);
    status = run_ask(json, 1, &answer);
    cJSON_free(json);
    cJSON_Delete(question);
    return status == -ETIMEDOUT ? 0 : status;
}

static int emit(const char *type, const char *json)
{
    return strcmp(type, "input_request") == 0 ? ask(json) : emit_event(type, json);
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    const cJSON *pair;
    int status = 0;

    (void)self;
    cJSON_ArrayForEach(pair, cJSON_GetObjectItemCaseSensitive(json, "events")) {
        if (status == 0)
            status = emit(item_text(pair, 0), item_text(pair, 1));
    }
    if (status == 0)
        status = end(json);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.name = "e2e_case", .version = "1.0", .handle = handle)
