/*
 * e2e_llm: asks the model what its input says, and tells all that
 * agent_llm_chat() returned as the event answer.
 *
 *     {"say":TEXT,"tools":[...],"quiet":N,"attempts":N,"idle_timeout_ms":N,
 *      "options":{...},"file":PATH,"base_url":URL}
 *
 * base_url, api_key and model are settings; an input's base_url goes before.
 * When the model has answered, or not, it writes CLOCK_MONOTONIC in nanoseconds
 * into the new file PATH.
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_llm.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static int create(const char *config, const char *state, void **self)
{
    (void)state;
    *self = cJSON_Parse(config);
    return *self ? 0 : -ENOMEM;
}

static void destroy(void *self)
{
    cJSON_Delete(self);
}

static void note_time(const char *path)
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

static int tell(const struct agent_llm_answer *answer, int status)
{
    cJSON *event = cJSON_CreateObject(), *calls = cJSON_AddArrayToObject(event, "calls");

    cJSON_AddNumberToObject(event, "status", status);
    cJSON_AddNumberToObject(event, "length", (double)strlen(answer->text));
    if (strlen(answer->text) < 4096)
        cJSON_AddStringToObject(event, "text", answer->text);
    cJSON_AddStringToObject(event, "finish_reason", answer->finish_reason);
    cJSON_AddNumberToObject(event, "input_tokens", (double)answer->input_tokens);
    cJSON_AddNumberToObject(event, "output_tokens", (double)answer->output_tokens);
    cJSON_AddBoolToObject(event, "begun", answer->begun);
    for (size_t i = 0; i < answer->call_count; i++) {
        const struct agent_llm_call *call = &answer->calls[i];
        cJSON_AddItemToArray(
            calls,
            cJSON_CreateStringArray((const char *[]){call->id, call->name, call->arguments}, 3));
    }
    return emit_json("answer", event);
}

static int ask(const struct agent_llm *llm, const cJSON *input)
{
    struct agent_llm_answer answer;
    cJSON *messages = cJSON_CreateArray();
    const char *file = json_string(input, "file", NULL);
    int status;

    agent_llm_say(messages, "user", json_string(input, "say", "stream"));
    status =
        agent_llm_chat(llm, messages, cJSON_GetObjectItemCaseSensitive(input, "tools"), &answer);
    if (file)
        note_time(file);
    tell(&answer, status);
    if (status < 0)
        run_fail(answer.code, "%s", answer.message);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    return status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = json_parse(input);
    struct agent_llm llm = {.options = cJSON_GetObjectItemCaseSensitive(json, "options"),
                            .quiet = (unsigned)json_number(json, "quiet", 0),
                            .attempts = (unsigned)json_number(json, "attempts", 0),
                            .idle_timeout_ms = (uint32_t)json_number(json, "idle_timeout_ms", 0)};
    int status;

    agent_llm_configure(&llm, self);
    llm.base_url = json_string(json, "base_url", llm.base_url);
    status = ask(&llm, json);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("e2e_llm"), .version = "1.0",
             .create = create, .handle = handle, .destroy = destroy)
