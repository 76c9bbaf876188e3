/*
 * haiku - asks a model, any that speaks OpenAI's protocol; its words are streamed as they come.
 *
 *     cc -shared -fPIC haiku.c -o haiku.so $(pkg-config --cflags --libs sluice-llm)
 *     sluice run --text haiku.so '{"about":"rivers"}'
 *
 * The section [plugin haiku] of the configuration, or OPENAI_BASE_URL, OPENAI_API_KEY and
 * OPENAI_MODEL, say which model.
 */
#include <sluice/agent_llm.h>

static cJSON *settings;
static struct agent_llm llm;

static int create(const char *config, const char *state, void **self)
{
    (void)state, (void)self;
    settings = cJSON_Parse(config);
    agent_llm_configure(&llm, settings);
    return settings ? 0 : -ENOMEM;
}

static void destroy(void *self)
{
    (void)self;
    cJSON_Delete(settings);
}

static int handle(void *self, const char *input)
{
    struct agent_llm_answer answer;
    cJSON *json = agent_json_parse(input);
    cJSON *messages = cJSON_CreateArray();
    int status;

    (void)self;
    agent_llm_say(messages, "system", "Write one haiku about what the user names.");
    agent_llm_say(messages, "user", agent_json_string(json, "about", "spring"));
    status = agent_llm_chat(&llm, messages, NULL, &answer); /* emits each piece */
    if (status < 0)
        status = agent_run_fail(answer.code, "%s", answer.message);
    agent_llm_answer_finish(&answer);
    cJSON_Delete(messages);
    cJSON_Delete(json);
    return status;
}

/* clang-format off */
AGENT_PLUGIN(.mode = AGENT_FIBER, .name = "haiku", .version = "1.0", .create = create,
             .handle = handle, .destroy = destroy,
             .input_schema = AGENT_JSON({
                 "type": "object",
                 "properties": {"about": {"type": "string", "default": "spring"}}
             }))
/* clang-format on */
