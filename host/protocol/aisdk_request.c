#include "protocol/aisdk_request.h"

#include "base/mem.h"
#include "protocol/chat_parts.h"
#include "run/event.h"

#include <errno.h>
#include <string.h>

/* The messages that one message of the request becomes. */
struct turn {
    cJSON *messages;
    const char *role;
    cJSON *parts;   /* of the content so far */
    cJSON *calls;   /* a message with them; NULL: none so far */
    cJSON *results; /* messages after it */
};

static void turn_begin(struct turn *turn)
{
    turn->parts = cJSON_CreateArray();
    turn->results = cJSON_CreateArray();
    turn->calls = NULL;
}

/* Add what there is of the turn to the messages. */
static void turn_end(struct turn *turn)
{
    cJSON *message = turn->calls, *result;

    if (message == NULL && cJSON_GetArraySize(turn->parts) > 0) {
        message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "role", turn->role);
    }
    if (message && cJSON_GetArraySize(turn->parts) > 0) {
        cJSON_DeleteItemFromObjectCaseSensitive(message, "content");
        cJSON_AddItemToObject(message, "content", turn->parts);
    } else {
        cJSON_Delete(turn->parts);
    }
    cJSON_AddItemToArray(turn->messages, message);
    while ((result = cJSON_DetachItemFromArray(turn->results, 0)))
        cJSON_AddItemToArray(turn->messages, result);
    cJSON_Delete(turn->results);
}

/* Return the name of the tool whose call the part is, NULL if it is none. */
static const char *tool_of(const cJSON *part)
{
    const char *type = chat_string(part, "type");

    if (type && strcmp(type, "dynamic-tool") == 0)
        return chat_string(part, "toolName");
    return type && strncmp(type, "tool-", 5) == 0 ? type + 5 : NULL;
}

static bool has_state(const cJSON *part, const char *wanted)
{
    const char *state = chat_string(part, "state");

    return state && strcmp(state, wanted) == 0;
}

/* Return the JSON of the member, a string's text alone; "" if there is none. */
static char *text_of(const cJSON *part, const char *name)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(part, name);
    char *text = cJSON_IsString(member) ? NULL : cJSON_PrintUnformatted(member);

    return text ? text : mem_strdup(cJSON_IsString(member) ? member->valuestring : "");
}

static void add_call(struct turn *turn, const cJSON *part, const char *tool)
{
    const char *id = chat_string(part, "toolCallId");
    bool has_output = has_state(part, "output-available");
    char *input, *output;

    if (id == NULL ||
        !(has_output || has_state(part, "output-error") || has_state(part, "output-denied")))
        return;
    if (turn->calls == NULL) {
        cJSON *holder = cJSON_CreateArray();
        chat_add(holder, turn->role, NULL);
        turn->calls = cJSON_DetachItemFromArray(holder, 0);
        cJSON_Delete(holder);
    }
    input = text_of(part, "input");
    output = text_of(part, has_output ? "output" : "errorText");
    chat_add_call(turn->calls, id, tool, input);
    chat_add_result(turn->results, id, output);
    cJSON_free(input);
    cJSON_free(output);
}

static void add_part(struct turn *turn, const cJSON *part)
{
    const char *type = chat_string(part, "type"), *tool = tool_of(part);
    const char *text = chat_string(part, "text"), *url = chat_string(part, "url");

    if (type == NULL)
        return;
    if (strcmp(type, "text") == 0 && text) {
        chat_part_text(turn->parts, text);
    } else if (strcmp(type, "file") == 0 && url) {
        chat_part_file(turn->parts, url, chat_string(part, "mediaType"),
                       chat_string(part, "filename"));
    } else if (strcmp(type, "step-start") == 0 && turn->calls) {
        turn_end(turn);
        turn_begin(turn);
    } else if (tool) {
        add_call(turn, part, tool);
    }
}

static int add_message(cJSON *messages, const cJSON *message, struct why *why)
{
    const cJSON *parts = cJSON_GetObjectItemCaseSensitive(message, "parts"), *part;
    struct turn turn = {.messages = messages, .role = chat_string(message, "role")};

    if (turn.role == NULL)
        return why_set(why, -EINVAL, "messages have a role each: system, user or assistant");
    if (!cJSON_IsArray(parts)) { /* it has a content, or is refused for its lack */
        cJSON_AddItemToArray(messages, cJSON_Duplicate(message, true));
        return 0;
    }
    turn_begin(&turn);
    cJSON_ArrayForEach(part, parts)
        add_part(&turn, part);
    turn_end(&turn);
    return 0;
}

/* Return true if the part is a question of ours: any tool may be called "input". */
static bool is_question(const cJSON *part)
{
    const char *tool = tool_of(part), *id = chat_string(part, "toolCallId");

    return tool && strcmp(tool, "input") == 0 && id && strcspn(id, ".") == RUN_ID_LENGTH &&
           id[RUN_ID_LENGTH] == '.';
}

/*
 * Find what the message, the last one, says about how to go on. A question ends an answer, so
 * that it is the last call; a step that begins after it is of the answer that followed.
 */
static void read_last(const cJSON *message, struct aisdk_request *request)
{
    const cJSON *part, *last = NULL;
    const char *role = chat_string(message, "role"), *type;

    if (role == NULL || strcmp(role, "assistant") != 0)
        return;
    request->message_id = chat_name(message, "id");
    cJSON_ArrayForEach(part, cJSON_GetObjectItemCaseSensitive(message, "parts")) {
        type = chat_string(part, "type");
        if (tool_of(part) || (type && strcmp(type, "step-start") == 0))
            last = part;
    }
    if (last == NULL || !is_question(last))
        return;
    if (has_state(last, "output-available"))
        request->answer = cJSON_GetObjectItemCaseSensitive(last, "output");
    if (request->answer || has_state(last, "output-error"))
        request->question = chat_string(last, "toolCallId");
}

int aisdk_request_read(const cJSON *body, struct aisdk_request *request, struct why *why)
{
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages"), *message = NULL;
    const char *system = chat_string(body, "system"), *thread = chat_name(body, "id");
    int status = 0;

    *request = (struct aisdk_request){.messages = cJSON_CreateArray()};
    request->chat = (struct chat){.messages = request->messages,
                                  .tools = cJSON_GetObjectItemCaseSensitive(body, "tools"),
                                  .thread = thread};
    if (!cJSON_IsArray(messages) || cJSON_GetArraySize(messages) == 0)
        return why_set(why, -EINVAL, "messages must be a list of at least one message");
    if (thread == NULL && cJSON_GetObjectItemCaseSensitive(body, "id"))
        return why_set(why, -EINVAL, "id, that of the chat, is a string of 1 to %d bytes",
                       CHAT_NAME_MAX);
    if (system && *system)
        chat_add(request->messages, "system", system);
    cJSON_ArrayForEach(message, messages) {
        int before = message->next ? 0 : cJSON_GetArraySize(request->messages);
        if (status == 0)
            status = add_message(request->messages, message, why);
        if (status == 0 && message->next == NULL &&
            strcmp(chat_string(message, "role"), "user") == 0 &&
            cJSON_GetArraySize(request->messages) == before)
            status = why_set(why, -EINVAL,
                             "the last message, of the user, has no part that an agent is given; "
                             "send one of type text or file");
    }
    read_last(cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1), request);
    return status;
}

void aisdk_request_finish(struct aisdk_request *request)
{
    cJSON_Delete(request->messages);
}
