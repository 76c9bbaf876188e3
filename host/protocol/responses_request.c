/*
 * Items become messages: a message, a call of the assistant, the result of a call. Calls join the
 * message of the assistant before them, as chat completions have it. Reasoning is left out.
 */
#include "protocol/responses_request.h"

#include "protocol/body.h"
#include "protocol/chat_parts.h"
#include "protocol/openai_request.h"
#include "protocol/responses.h"

#include <errno.h>
#include <string.h>

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool is_type(const cJSON *object, const char *type)
{
    const char *text = chat_string(object, "type");

    return text && strcmp(text, type) == 0;
}

/* ---- parts ---- */

static int add_part(cJSON *parts, const cJSON *part, struct why *why)
{
    const char *text = chat_string(part, is_type(part, "refusal") ? "refusal" : "text");
    const char *url = chat_string(part, is_type(part, "input_image") ? "image_url" : "file_data");
    const char *type = chat_string(part, "type");

    if (url == NULL)
        url = chat_string(part, "file_url");
    if (text)
        chat_part_text(parts, text);
    else if (is_type(part, "input_image") && url)
        chat_part_file(parts, url, "image", NULL);
    else if (is_type(part, "input_file") && url)
        chat_part_file(parts, url, NULL, chat_string(part, "filename"));
    else
        return why_set(why, -EINVAL, "input has a part of type '%.64s' that agents cannot take",
                       type ? type : "");
    return 0;
}

/* Return the content as chat.h has it, NULL and why if it is none. */
static cJSON *content_of(const cJSON *content, struct why *why)
{
    const cJSON *part;
    cJSON *parts;
    int status = 0;

    if (cJSON_IsString(content))
        return cJSON_CreateString(content->valuestring);
    if (!cJSON_IsArray(content)) {
        why_set(why, -EINVAL, "input has an item whose content is no string and no list of parts");
        return NULL;
    }
    parts = cJSON_CreateArray();
    cJSON_ArrayForEach(part, content)
        status = status < 0 ? status : add_part(parts, part, why);
    if (status == 0)
        return parts;
    cJSON_Delete(parts);
    return NULL;
}

/* ---- items ---- */

/* Return the last of the list, NULL if it is empty. A list of cJSON is a ring backwards. */
static cJSON *last_of(const cJSON *list)
{
    return list->child ? list->child->prev : NULL;
}

static int add_message(cJSON *messages, const char *role, const cJSON *content, struct why *why)
{
    cJSON *parts = content_of(content, why), *message;

    if (parts == NULL)
        return -EINVAL;
    message = chat_add(messages, role, NULL);
    cJSON_ReplaceItemInObjectCaseSensitive(message, "content", parts);
    return 0;
}

static int add_call(cJSON *messages, const cJSON *item, struct why *why)
{
    const char *id = chat_string(item, "call_id"), *name = chat_string(item, "name");
    const char *arguments = chat_string(item, "arguments");
    cJSON *last = last_of(messages);
    const char *role = chat_string(last, "role");

    if (id == NULL || name == NULL || arguments == NULL)
        return why_set(why, -EINVAL,
                       "input has a function_call without call_id, name and arguments");
    if (role == NULL || strcmp(role, "assistant") != 0)
        last = chat_add(messages, "assistant", NULL);
    chat_add_call(last, id, name, arguments);
    return 0;
}

static int add_result(cJSON *messages, const cJSON *item, struct why *why)
{
    const char *id = chat_string(item, "call_id");
    int status;

    if (id == NULL)
        return why_set(why, -EINVAL, "input has a function_call_output without a call_id");
    status = add_message(messages, "tool", member(item, "output"), why);
    if (status == 0)
        cJSON_AddStringToObject(last_of(messages), "tool_call_id", id);
    return status;
}

static int add_item(cJSON *messages, const cJSON *item, struct why *why)
{
    const char *role = chat_string(item, "role"), *type = chat_string(item, "type");

    if (role && (type == NULL || strcmp(type, "message") == 0))
        return add_message(messages, role, member(item, "content"), why);
    if (type && strcmp(type, "function_call") == 0)
        return add_call(messages, item, why);
    if (type && strcmp(type, "function_call_output") == 0)
        return add_result(messages, item, why);
    if (type && strcmp(type, "reasoning") == 0)
        return 0;
    return why_set(why, -EINVAL,
                   "input has an item of type '%.64s'; send message, function_call or "
                   "function_call_output%s",
                   type ? type : "",
                   type && strcmp(type, "item_reference") == 0
                       ? ": whole items, not references (store: false in most clients)"
                       : "");
}

static int add_input(cJSON *messages, const cJSON *input, struct why *why)
{
    const cJSON *item;
    int status = 0;

    if (cJSON_IsString(input))
        chat_add(messages, "user", input->valuestring);
    else if (!cJSON_IsArray(input))
        status = why_set(why, -EINVAL, "input must be a string or a list of items");
    cJSON_ArrayForEach(item, input)
        status = status < 0 ? status : add_item(messages, item, why);
    return status;
}

/* ---- the request ---- */

/* {"type", members} becomes {"type", name: {members}}, as chat completions have it. */
static cJSON *nest(const cJSON *flat, const char *name)
{
    cJSON *nested = cJSON_CreateObject(), *members = cJSON_Duplicate(flat, true);

    cJSON_DeleteItemFromObjectCaseSensitive(members, "type");
    cJSON_AddStringToObject(nested, "type", chat_string(flat, "type"));
    cJSON_AddItemToObject(nested, name, members);
    return nested;
}

/* Functions are nested in chat completions; other tools are as they are. */
static cJSON *tools_of(const cJSON *tools)
{
    const cJSON *tool;
    cJSON *out;

    if (!cJSON_IsArray(tools) || cJSON_GetArraySize(tools) == 0)
        return NULL;
    out = cJSON_CreateArray();
    cJSON_ArrayForEach(tool, tools) {
        bool is_flat = is_type(tool, "function") && member(tool, "function") == NULL;
        cJSON_AddItemToArray(out, is_flat ? nest(tool, "function") : cJSON_Duplicate(tool, true));
    }
    return out;
}

/* Return the options in the shape of chat completions, NULL if there are none. */
static cJSON *options_of(const cJSON *body)
{
    const cJSON *text = member(body, "text"), *format = member(text, "format");
    const cJSON *choice = member(body, "tool_choice");
    cJSON *options = openai_options(body);

    if (options == NULL)
        options = cJSON_CreateObject();
    openai_option(options, "max_tokens", body, "max_output_tokens");
    openai_option(options, "reasoning_effort", member(body, "reasoning"), "effort");
    openai_option(options, "verbosity", text, "verbosity");
    openai_option(options, "response_format", text, "format");
    if (is_type(format, "json_schema") && member(format, "json_schema") == NULL)
        cJSON_ReplaceItemInObjectCaseSensitive(options, "response_format",
                                               nest(format, "json_schema"));
    if (is_type(choice, "function") && member(choice, "function") == NULL)
        cJSON_ReplaceItemInObjectCaseSensitive(options, "tool_choice", nest(choice, "function"));
    if (options->child)
        return options;
    cJSON_Delete(options);
    return NULL;
}

int responses_request_read(const cJSON *body, const char *before, struct responses_request *request,
                           struct why *why)
{
    const cJSON *conversation = member(body, "conversation");
    const cJSON *previous = member(body, "previous_response_id");
    const cJSON *instructions = member(body, "instructions");

    *request = (struct responses_request){.messages = NULL};
    if (!cJSON_IsObject(body))
        return why_set(why, -EINVAL, "the body must be an object");
    if (chat_string(body, "model") == NULL)
        return why_set(why, -EINVAL, "model is missing; GET /v1/models lists those there are");
    request->stream = cJSON_IsTrue(member(body, "stream"));
    request->background = cJSON_IsTrue(member(body, "background"));
    request->store = !cJSON_IsFalse(member(body, "store"));
    request->thread = cJSON_IsObject(conversation) ? chat_name(conversation, "id")
                                                   : chat_name(body, "conversation");
    if (conversation && !cJSON_IsNull(conversation) && request->thread == NULL)
        return why_set(why, -EINVAL,
                       "conversation is a string of 1 to %d bytes, or an object with "
                       "such an id",
                       CHAT_NAME_MAX);
    if (instructions && !cJSON_IsNull(instructions) && !cJSON_IsString(instructions))
        return why_set(why, -EINVAL, "instructions must be a string");
    if (before == NULL && previous && !cJSON_IsNull(previous))
        return why_set(why, -EINVAL, "previous_response_id is the id of a response, a string");
    if (before == NULL || body_read(before, strlen(before), &request->messages) < 0)
        request->messages = cJSON_CreateArray();
    request->tools = tools_of(member(body, "tools"));
    request->options = options_of(body);
    return add_input(request->messages, member(body, "input"), why);
}

void responses_request_finish(struct responses_request *request)
{
    cJSON_Delete(request->messages);
    cJSON_Delete(request->tools);
    cJSON_Delete(request->options);
}

void responses_request_instruct(struct responses_request *request, const cJSON *body)
{
    const char *instructions = chat_string(body, "instructions");
    cJSON *message;

    if (instructions == NULL || *instructions == '\0')
        return;
    message = cJSON_CreateObject();
    cJSON_AddStringToObject(message, "role", "system");
    cJSON_AddStringToObject(message, "content", instructions);
    cJSON_InsertItemInArray(request->messages, 0, message);
}

struct chat responses_request_chat(const struct responses_request *request)
{
    return (struct chat){.messages = request->messages,
                         .tools = request->tools,
                         .thread = request->thread,
                         .options = request->options};
}

const char *responses_run_id(const char *id)
{
    return strncmp(id, RESPONSES_ID, strlen(RESPONSES_ID)) == 0 ? id + strlen(RESPONSES_ID) : NULL;
}
