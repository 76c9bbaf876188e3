/*
 * echo - repeats a text, word by word. Copy it to begin an agent: it has an input,
 * functions that emit at their own depth, a configuration, and errors.
 *
 *     {"text":"to be or not"}
 */
#include <sluice/agent_json.h>
#include <string.h>

static cJSON *config;

static int create(const char *config_json, const char *state_json, void **self)
{
    (void)state_json, (void)self;
    config = cJSON_Parse(config_json); /* [plugin echo] separator = ... */
    return config ? 0 : -ENOMEM;
}

static void destroy(void *self)
{
    (void)self;
    cJSON_Delete(config);
}

static int say(const char *word, int is_last)
{
    int status = emit_text(word); /* at its own depth: nothing is handed up */

    return status < 0 || is_last ? status : emit_text(json_string(config, "separator", " "));
}

static int say_words(char *text)
{
    char *rest, *word = strtok_r(text, " ", &rest);
    int status = 0;

    for (; word && status == 0; word = strtok_r(NULL, " ", &rest))
        status = say(word, *rest == '\0');
    return status; /* -ECANCELED if the client left */
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    cJSON *text = cJSON_GetObjectItemCaseSensitive(json, "text");
    int status = -EINVAL;

    (void)self;
    emit_event("step", "{\"name\":\"say\"}");
    if (cJSON_IsString(text))
        status = say_words(text->valuestring);
    else
        run_fail("bad_input", "send {\"text\": \"...\"}");
    cJSON_Delete(json);
    return status;
}

/* clang-format off */
AGENT_PLUGIN(.name = "echo", .version = "1.0", .description = "Says back what it is told",
             .create = create, .handle = handle, .destroy = destroy, .title = "Echo",
             .input_schema = AGENT_JSON({
                 "type": "object",
                 "properties": {"text": {"type": "string", "title": "What it says back"}},
                 "required": ["text"]
             }),
             .examples = AGENT_JSON([{"text": "to be or not to be"}]),
             .tags = "test")
/* clang-format on */
