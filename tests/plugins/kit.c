/*
 * kit: does what its prompt says, one word after the other. Its input is that of a chat,
 * {"messages":[...]}, and its prompt the text of the last user message; or {"prompt":"..."}.
 *
 *     reason      reasoning "Let me ", "think."
 *     text        text "Hello", ", ", "world"
 *     say:TEXT    one text
 *     step        step "look" started and finished
 *     tool        tool_call and tool_result of add(2, 3)
 *     client      if the last message is a tool's: what the tool said and ": ", as a text;
 *                 else a tool_call of weather({"city":"Oslo"}) that the client shall make, and
 *                 the end
 *     state       state {"n":1}
 *     custom      progress, an event of its own
 *     ask         asks "May I?", and the answer as a text
 *     usage       11 tokens in, 7 out
 *     result      the result {"answer":42}
 *     silence:MS  nothing for so long
 *     gate:PATH   waits until there is a file PATH
 *     slow:N      N texts, "tick 1 " and so on, one each 50 ms; 0: until it is cancelled
 *     ctx:KEY     the variable as a text
 *     messages    the messages as they came, as a text
 *     input       the input as it came, as a text
 *     fail        fails with the code "broken"
 *     crash       its process ends
 *
 * Built in both modes, see mode.h.
 */
#include "mode.h"

#include <sluice/agent_json.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 50

/* What a word returns after which no other is done; the run goes well. */
#define WORDS_END 1

/* What the words of one run work on. */
struct kit {
    const char *text;
    const cJSON *input;   /* the same */
    const char *argument; /* after the word's colon, or "" */
};

/* The text of a message: its content, or its first part with a text. */
static const char *text_of(const cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItem(message, "content");
    const cJSON *part;

    cJSON_ArrayForEach(part, content)
        if (json_string(part, "text", NULL))
            return json_string(part, "text", NULL);
    return json_string(message, "content", "");
}

static int do_reason(const struct kit *kit)
{
    (void)kit;
    emit_event("reasoning", "{\"delta\":\"Let me \"}");
    emit_event("reasoning", "{\"delta\":\"think.\"}");
    return 0;
}

static int do_text(const struct kit *kit)
{
    (void)kit;
    emit_text("Hello");
    emit_text(", ");
    emit_text("world");
    return 0;
}

static int do_say(const struct kit *kit)
{
    return emit_text(kit->argument);
}

static int do_step(const struct kit *kit)
{
    (void)kit;
    emit_event("step", "{\"name\":\"look\",\"status\":\"started\"}");
    return emit_event("step", "{\"name\":\"look\",\"status\":\"finished\"}");
}

static int do_tool(const struct kit *kit)
{
    (void)kit;
    emit_event("tool_call", "{\"id\":\"call_1\",\"name\":\"add\",\"arguments\":{\"a\":2,\"b\":3}}");
    return emit_event("tool_result", "{\"id\":\"call_1\",\"content\":\"5\"}");
}

static int do_client(const struct kit *kit)
{
    const cJSON *messages = cJSON_GetObjectItem(kit->input, "messages");
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);

    if (strcmp(json_string(last, "role", ""), "tool") == 0) {
        emit_text(text_of(last));
        return emit_text(": ");
    }
    emit_event("tool_call", "{\"id\":\"call_2\",\"name\":\"weather\","
                            "\"arguments\":{\"city\":\"Oslo\"},\"client\":true}");
    return WORDS_END;
}

static int do_state(const struct kit *kit)
{
    (void)kit;
    return emit_event("state", "{\"n\":1}");
}

static int do_custom(const struct kit *kit)
{
    (void)kit;
    return emit_event("progress", "{\"pct\":50,\"note\":\"half\"}");
}

static int do_usage(const struct kit *kit)
{
    (void)kit;
    return emit_event("usage", "{\"input_tokens\":11,\"output_tokens\":7}");
}

static int do_ask(const struct kit *kit)
{
    const char *answer;
    int status = run_ask("{\"message\":\"May I?\",\"schema\":{\"type\":\"object\",\"properties\":"
                         "{\"ok\":{\"type\":\"boolean\"}},\"required\":[\"ok\"]}}",
                         60000, &answer);

    (void)kit;
    return status < 0 ? status : emit_text(answer);
}

static int do_result(const struct kit *kit)
{
    (void)kit;
    return run_result("{\"answer\":42}");
}

static int do_silence(const struct kit *kit)
{
    return agent_sleep((uint32_t)strtoul(kit->argument, NULL, 10));
}

static int do_gate(const struct kit *kit)
{
    int status = 0;

    while (access(kit->argument, F_OK) < 0 && status == 0)
        status = agent_sleep(2);
    return status;
}

static int do_slow(const struct kit *kit)
{
    unsigned long count = strtoul(kit->argument, NULL, 10);
    char text[32];
    int status = 0;

    for (unsigned long n = 1; (n <= count || count == 0) && status == 0; n++) {
        snprintf(text, sizeof text, "tick %lu ", n);
        emit_text(text);
        status = agent_sleep(TICK_MS);
    }
    return status;
}

static int do_ctx(const struct kit *kit)
{
    const char *value = ctx_get(kit->argument);

    return emit_text(value ? value : "(none)");
}

static int do_messages(const struct kit *kit)
{
    char *text = cJSON_PrintUnformatted(cJSON_GetObjectItem(kit->input, "messages"));
    int status = text ? emit_text(text) : -ENOMEM;

    free(text);
    return status;
}

static int do_input(const struct kit *kit)
{
    return emit_text(kit->text);
}

static int do_fail(const struct kit *kit)
{
    (void)kit;
    return run_fail("broken", "it broke, as it was told to");
}

static int do_crash(const struct kit *kit)
{
    (void)kit;
    abort();
}

static const struct word {
    const char *name;
    int (*act)(const struct kit *kit);
} words[] = {
    {"ask", do_ask},           {"client", do_client}, {"crash", do_crash},   {"ctx", do_ctx},
    {"custom", do_custom},     {"fail", do_fail},     {"gate", do_gate},     {"input", do_input},
    {"messages", do_messages}, {"reason", do_reason}, {"result", do_result}, {"say", do_say},
    {"silence", do_silence},   {"slow", do_slow},     {"state", do_state},   {"step", do_step},
    {"text", do_text},         {"tool", do_tool},     {"usage", do_usage},
};

static int do_word(struct kit *kit, char *word)
{
    char *colon = strchr(word, ':');

    if (colon)
        *colon = '\0';
    kit->argument = colon ? colon + 1 : "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].name) == 0)
            return words[i].act(kit);
    return run_fail("unknown_word", "\"%s\" is no word of the prompt", word);
}

static const char *prompt_of(const cJSON *input)
{
    const char *prompt = json_string(input, "prompt", "");
    const cJSON *message;

    cJSON_ArrayForEach(message, cJSON_GetObjectItem(input, "messages"))
        if (strcmp(json_string(message, "role", ""), "user") == 0)
            prompt = text_of(message);
    return prompt;
}

static int handle(void *self, const char *input)
{
    cJSON *json = cJSON_Parse(input);
    struct kit kit = {.text = input, .input = json};
    char *prompt = strdup(prompt_of(json));
    char *rest = NULL;
    int status = prompt ? 0 : -ENOMEM;

    (void)self;
    for (char *word = prompt ? strtok_r(prompt, " \n", &rest) : NULL; word && status == 0;
         word = strtok_r(NULL, " \n", &rest))
        status = do_word(&kit, word);
    free(prompt);
    cJSON_Delete(json);
    return status == WORDS_END ? 0 : status;
}

AGENT_PLUGIN(.mode = PLUGIN_MODE, .name = PLUGIN_NAME("kit"), .version = "1.0",
             .description = "Does what its prompt says", .handle = handle)
