#include "protocol/openai_request.h"

#include "protocol/body.h"
#include "protocol/openai.h"

#include <errno.h>

void openai_option(cJSON *options, const char *option, const cJSON *object, const char *name)
{
    cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    if (value == NULL || cJSON_IsNull(value))
        return;
    cJSON_DeleteItemFromObjectCaseSensitive(options, option);
    cJSON_AddItemReferenceToObject(options, option, value);
}

cJSON *openai_options(const cJSON *body)
{
    static const char *const names[] = {"frequency_penalty",
                                        "logit_bias",
                                        "max_completion_tokens",
                                        "max_tokens",
                                        "metadata",
                                        "parallel_tool_calls",
                                        "presence_penalty",
                                        "reasoning_effort",
                                        "response_format",
                                        "seed",
                                        "stop",
                                        "temperature",
                                        "tool_choice",
                                        "top_p",
                                        "user",
                                        "verbosity"};
    cJSON *options = cJSON_CreateObject();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        openai_option(options, names[i], body, names[i]);
    if (cJSON_GetArraySize(options) > 0)
        return options;
    cJSON_Delete(options);
    return NULL;
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

int openai_request_read(const cJSON *body, struct openai_request *request, struct why *why)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(body, "n");
    const cJSON *stream_options = cJSON_GetObjectItemCaseSensitive(body, "stream_options");
    double count;

    *request = (struct openai_request){.options = NULL};
    if (!cJSON_IsObject(body))
        return why_set(why, -EINVAL, "the body must be an object");
    if (!cJSON_IsString(cJSON_GetObjectItemCaseSensitive(body, "model")))
        return why_set(why, -EINVAL, "model is missing; GET /v1/models lists those there are");
    if (body_number(n, &count) && count != 1)
        return why_set(why, -EINVAL, "n must be 1: an agent answers once");
    request->stream = is_true(body, "stream");
    request->terms = (char)('0' + (is_true(stream_options, "include_usage") ? OPENAI_USAGE : 0) +
                            (is_true(stream_options, "include_events") ? OPENAI_EVENTS : 0));
    request->options = openai_options(body);
    request->chat = (struct chat){.messages = cJSON_GetObjectItemCaseSensitive(body, "messages"),
                                  .tools = cJSON_GetObjectItemCaseSensitive(body, "tools"),
                                  .options = request->options};
    return 0;
}

void openai_request_finish(struct openai_request *request)
{
    cJSON_Delete(request->options);
}
