/*
 * echo: says back what it is told, word by word. The template to copy: an
 * input, functions that emit from their own depth, a configuration, errors.
 *
 *     {"text":"to be or not"}
 */
#include <sluice/agent_json.h>
#include <string.h>

static cJSON *config;

static int create(const char *config_json, const char *state_json, void **self)
{
    (void)state_json;
    (void)self;
    config = cJSON_Parse(config_json); /* [plugin echo] separator = ... */
    return config ? 0 : -ENOMEM;
}

static void destroy(void *self)
{
    (void)self;
    cJSON_Delete(config);
}

/* As deep in the call stack as there are words, and nothing is handed up. */
static int say_words(char *text)
{
    char *rest = strchr(text, ' ');
    int status;

    if (rest)
        *rest++ = '\0';
    status = emit_text(text);
    if (status == 0 && rest)
        status = emit_text(json_string(config, "separator", " "));
    return status == 0 && rest ? say_words(rest) : status;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    cJSON *text = cJSON_GetObjectItemCaseSensitive(json, "text");
    int status;

    (void)self;
    if (cJSON_IsString(text)) {
        emit_event("step", "{\"name\":\"say\",\"status\":\"started\"}");
        status = say_words(text->valuestring); /* -ECANCELED if the client left */
        emit_event("step", "{\"name\":\"say\",\"status\":\"finished\"}");
    } else {
        status = run_fail("bad_input", "send {\"text\": \"...\"}");
    }
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.name = "echo", .version = "1.0", .description = "Says back what it is told",
             .create = create, .handle = handle, .destroy = destroy)
