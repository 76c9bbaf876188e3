/*
 * echo: says back what it is told, a word at a time. The template to copy: a
 * configuration, an input, functions that emit from their own depth, errors.
 *
 *     {"text":"to be or not"}  ->  step, text ..., step, echo
 */
#include "agent_json.h"

#include <string.h>

static char separator[8];

static int create(const char *config, const char *state, void **self)
{
    cJSON *json = cJSON_Parse(config);
    const char *wanted = json_string(json, "separator", " ");
    int status = strlen(wanted) < sizeof separator ? 0 : -EINVAL;

    if (status == 0)
        strcpy(separator, wanted);
    else
        agent_log(AGENT_LOG_ERROR, "separator has more than %zu bytes", sizeof separator - 1);
    cJSON_Delete(json);
    (void)state;
    (void)self;
    return status;
}

/* As deep in the call stack as there are words: nothing is handed up. */
static int say_words(char *text)
{
    char *rest = strchr(text, ' ');
    int status;

    if (rest)
        *rest++ = '\0';
    status = emit_text(text);
    if (status == 0 && rest && (status = emit_text(separator)) == 0)
        status = say_words(rest);
    return status; /* -ECANCELED when nobody listens any more */
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    cJSON *text = cJSON_GetObjectItemCaseSensitive(json, "text");
    int status;

    (void)self;
    if (!cJSON_IsString(text)) {
        cJSON_Delete(json);
        return run_fail("bad_input", "send {\"text\": \"...\"}");
    }
    emit_event("step", "{\"name\":\"say\",\"status\":\"started\"}");
    status = say_words(text->valuestring);
    emit_event("step", "{\"name\":\"say\",\"status\":\"finished\"}");
    emit_event("echo", input);
    cJSON_Delete(json);
    return status;
}

AGENT_PLUGIN(.name = "echo", .version = "1.0", .description = "Says back what it is told",
             .create = create, .handle = handle)
