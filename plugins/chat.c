/*
 * chat - talks with a model, which may use tools.
 *
 *     base_url   = https://api.openai.com/v1   the model's server, any that speaks
 *                                              OpenAI's protocol
 *     api_key    = ...
 *     model      = ...                         each else from OPENAI_BASE_URL, OPENAI_API_KEY
 *                                              and OPENAI_MODEL
 *     options    = {"temperature": 0.2}        further members of the requests
 *     headers    = X-Title: chat               further headers
 *     stream_options, tools = no               leaves them out of the requests
 *     system     = You are ...                 put before each conversation
 *     max_rounds = 8                           answers of the model in one run
 *     documents  = /usr/share/doc              files and folders that the model may search
 *
 * A run gets {"prompt": "..."}, or a conversation so far:
 *
 *     {"messages": [{"role": "user", "content": "..."}, ...]}
 *
 * in the shape of OpenAI: a content may be a list of parts, and calls of tools and their results
 * may be among the messages. The run emits text, reasoning and usage while the model sends them.
 * When the model calls tools, the calls of one answer run at the same time, each as a task:
 *
 *     tool_call    {scope, id, name, arguments}
 *     tool_result  {scope, id, content}          scope is the call's id
 *
 * Then the model goes on, until an answer calls no tool. The result is
 * {answer, finish_reason, rounds}.
 */
#ifndef CHAT_MODE
#define CHAT_MODE AGENT_FIBER
#define CHAT_NAME "chat"
#endif

#include <sluice/agent_llm.h>

#include "tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 100

struct chat {
    cJSON *settings;
    struct agent_llm llm; /* refers to the settings */
    const char *system;   /* of the settings, too; "" for none */
    struct tools *tools;
};

/* ---- the conversation --------------------------------------------------- */

/* A client may send a system message only if the operator has set none. */
static int is_role(const struct chat *chat, const char *role)
{
    return strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0 ||
           strcmp(role, "tool") == 0 || (strcmp(role, "system") == 0 && *chat->system == '\0');
}

/* Return 1 if the content is one that models take: a text, or parts each of which has a type. */
static int is_content(const cJSON *content)
{
    const cJSON *part;

    if (!cJSON_IsArray(content))
        return cJSON_IsString(content);
    cJSON_ArrayForEach(part, content) {
        if (json_string(part, "type", NULL) == NULL)
            return 0;
    }
    return cJSON_GetArraySize(content) > 0;
}

/* Add the message with the members that models know. An assistant that calls may say nothing. */
static int add_message(const struct chat *chat, const cJSON *message, cJSON *messages)
{
    const char *role = json_string(message, "role", "");
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    const cJSON *calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    const char *call_id = json_string(message, "tool_call_id", NULL);
    int calling =
        strcmp(role, "assistant") == 0 && cJSON_IsArray(calls) && cJSON_GetArraySize(calls) > 0;
    cJSON *added;

    if (!is_role(chat, role) || (strcmp(role, "tool") == 0 && call_id == NULL) ||
        !(is_content(content) || (calling && (content == NULL || cJSON_IsNull(content)))))
        return -EINVAL;
    added = cJSON_CreateObject();
    cJSON_AddStringToObject(added, "role", role);
    cJSON_AddItemToObject(added, "content",
                          content ? cJSON_Duplicate(content, 1) : cJSON_CreateNull());
    if (calling)
        cJSON_AddItemToObject(added, "tool_calls", cJSON_Duplicate(calls, 1));
    if (strcmp(role, "tool") == 0)
        cJSON_AddStringToObject(added, "tool_call_id", call_id);
    return cJSON_AddItemToArray(messages, added) ? 0 : -ENOMEM;
}

static int add_messages(const struct chat *chat, const cJSON *list, cJSON *messages)
{
    const cJSON *message;
    int status = 0;

    cJSON_ArrayForEach(message, list) {
        if (status == 0)
            status = add_message(chat, message, messages);
    }
    return status;
}

/* Return 1 if the last message is the user's, or a call's result, so that there is something to
 * answer. */
static int asks(const cJSON *messages)
{
    int count = cJSON_GetArraySize(messages);
    const cJSON *last = count > 0 ? cJSON_GetArrayItem(messages, count - 1) : NULL;
    const char *role = json_string(last, "role", "");

    return strcmp(role, "user") == 0 || strcmp(role, "tool") == 0;
}

static int read_input(const struct chat *chat, const cJSON *input, cJSON *messages)
{
    const char *prompt = json_string(input, "prompt", NULL);
    int status = 0;

    if (*chat->system)
        status = agent_llm_say(messages, "system", chat->system);
    if (status == 0)
        status = add_messages(chat, cJSON_GetObjectItemCaseSensitive(input, "messages"), messages);
    if (status == 0 && prompt)
        status = agent_llm_say(messages, "user", prompt);
    if (status == 0 && !asks(messages))
        status = -EINVAL;
    if (status == -EINVAL)
        run_fail("bad_input",
                 "send {\"prompt\": \"...\"} or {\"messages\": [{\"role\": \"user\", "
                 "\"content\": \"...\"}]}; a role is user, assistant, tool (with tool_call_id)%s, "
                 "a content is a string or a list of parts (null beside tool_calls), and the last "
                 "message is the user's or a tool's",
                 *chat->system ? "" : " or system");
    return status;
}

/* ---- the run ------------------------------------------------------------ */

/* Set the result; leave out an answer that is too long for it, because the client has it as text.
 */
static int finish(const struct agent_llm_answer *answer)
{
    cJSON *result = cJSON_CreateObject();
    char *json;
    int status;

    if (strlen(answer->text) < AGENT_EVENT_MAX / 8)
        cJSON_AddStringToObject(result, "answer", answer->text);
    cJSON_AddStringToObject(result, "finish_reason", answer->finish_reason);
    cJSON_AddNumberToObject(result, "rounds", answer->rounds);
    json = cJSON_PrintUnformatted(result);
    status = json ? run_result(json) : -ENOMEM;
    cJSON_free(json);
    cJSON_Delete(result);
    return status;
}

/* Let the model answer and use its tools until it is done. */
static int talk(const struct chat *chat, cJSON *messages)
{
    struct agent_llm_answer answer;
    int status =
        agent_llm_run_tools(&chat->llm, messages, tools_list(chat->tools), chat->tools, &answer);

    if (status < 0)
        run_fail(answer.code, "%s", answer.message);
    else
        status = finish(&answer);
    agent_llm_answer_finish(&answer);
    return status;
}

static int handle(void *self, const char *input)
{
    const struct chat *chat = self;
    cJSON *json = json_parse(input), *messages = cJSON_CreateArray();
    int status = read_input(chat, json, messages);

    cJSON_Delete(json);
    if (status == 0)
        status = talk(chat, messages);
    cJSON_Delete(messages);
    return status;
}

/* ---- the plugin --------------------------------------------------------- */

static void destroy(void *self)
{
    struct chat *chat = self;

    tools_destroy(chat->tools);
    cJSON_Delete(chat->settings);
    free(chat);
}

static int read_rounds(struct chat *chat)
{
    const char *text = json_string(chat->settings, "max_rounds", NULL);
    char *end = NULL;
    long rounds = text ? strtol(text, &end, 10) : AGENT_LLM_ROUNDS;

    chat->llm.max_rounds = (unsigned)rounds;
    if ((end == NULL || (end > text && *end == '\0')) && rounds >= 1 && rounds <= ROUNDS_MAX)
        return 0;
    agent_log(AGENT_LOG_ERROR, "max_rounds must be 1 to %d, not '%s'", ROUNDS_MAX, text);
    return -EINVAL;
}

static int prepare(struct chat *chat)
{
    char error[512] = "out of memory";
    int status = read_rounds(chat);

    chat->system = json_string(chat->settings, "system", "");
    if (status == 0)
        status = agent_llm_configure(&chat->llm, chat->settings);
    if (status < 0)
        return status;
    status = tools_create(json_string(chat->settings, "documents", ""), &chat->tools, error,
                          sizeof(error));
    if (status < 0)
        agent_log(AGENT_LOG_ERROR, "documents: %s", error);
    else if (!agent_llm_is_configured(&chat->llm))
        agent_log(AGENT_LOG_INFO, "no model is configured: each run will fail and say what to set");
    return status;
}

static int create(const char *config, const char *state, void **self)
{
    struct chat *chat = calloc(1, sizeof(*chat));
    int status;

    (void)state;
    if (chat == NULL)
        return -ENOMEM;
    chat->settings = cJSON_Parse(config);
    status = prepare(chat);
    if (status < 0)
        destroy(chat);
    else
        *self = chat;
    return status;
}

/* clang-format off */
AGENT_PLUGIN(.mode = CHAT_MODE, .name = CHAT_NAME, .version = "1.0",
             .description = "Talks with a model, which may search documents", .create = create,
             .handle = handle, .destroy = destroy, .title = "Chat",
             .input_schema = AGENT_JSON({
                 "type": "object",
                 "properties": {
                     "messages": {
                         "type": "array",
                         "items": {
                             "type": "object",
                             "properties": {"role": {"type": "string"}},
                             "required": ["role"]
                         },
                         "title": "The conversation so far, as of OpenAI's chat"
                     },
                     "prompt": {"type": "string", "title": "What the user says next"}
                 }
             }),
             .examples = AGENT_JSON([{"prompt": "Which documents do you have?"}]),
             .tags = "chat")
/* clang-format on */
