/*
 * The conversation: the messages that are sent back.
 */
#include "exchange.h"

int agent_llm_say(cJSON *messages, const char *role, const char *content)
{
    cJSON *message = cJSON_CreateObject();

    if (cJSON_AddStringToObject(message, "role", role) &&
        cJSON_AddStringToObject(message, "content", content) &&
        cJSON_AddItemToArray(messages, message))
        return 0;
    cJSON_Delete(message);
    return -ENOMEM;
}

static cJSON *last_of(cJSON *messages)
{
    return cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
}

/* Return the arguments if servers take them, else an empty object. */
static const char *fit_arguments(const struct agent_llm_call *call)
{
    cJSON *json = agent_json_parse(call->arguments);
    const char *fit = cJSON_IsObject(json) ? call->arguments : "{}";

    cJSON_Delete(json);
    return fit;
}

static cJSON *call_json(const struct agent_llm_call *call, const cJSON *extra_contents)
{
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(extra_contents, call->id);
    cJSON *json = cJSON_CreateObject(), *function;

    cJSON_AddStringToObject(json, "id", call->id);
    cJSON_AddStringToObject(json, "type", "function");
    function = cJSON_AddObjectToObject(json, "function");
    cJSON_AddStringToObject(function, "name", call->name);
    cJSON_AddStringToObject(function, "arguments", fit_arguments(call));
    if (extra)
        cJSON_AddItemToObject(json, "extra_content", cJSON_Duplicate(extra, 1));
    return json;
}

int agent_llm_say_answer(cJSON *messages, const struct agent_llm_answer *answer)
{
    int status = agent_llm_say(messages, "assistant", answer->text);
    cJSON *message, *calls;
    size_t i;

    if (status < 0 || answer->call_count == 0)
        return status;
    message = last_of(messages);
    if (answer->text[0] == '\0') /* some servers refuse "" here */
        cJSON_ReplaceItemInObjectCaseSensitive(message, "content", cJSON_CreateNull());
    if (answer->reasoning) /* servers of the kind of DeepSeek's refuse calls without it */
        cJSON_AddStringToObject(message, "reasoning_content", answer->reasoning);
    calls = cJSON_AddArrayToObject(message, "tool_calls");
    for (i = 0; i < answer->call_count; i++)
        cJSON_AddItemToArray(calls, call_json(&answer->calls[i], answer->extra_content));
    return (size_t)cJSON_GetArraySize(calls) == answer->call_count ? 0 : -ENOMEM;
}

int agent_llm_say_result(cJSON *messages, const struct agent_llm_call *call, const char *content)
{
    int status = agent_llm_say(messages, "tool", content);

    if (status < 0)
        return status;
    return cJSON_AddStringToObject(last_of(messages), "tool_call_id", call->id) ? 0 : -ENOMEM;
}
