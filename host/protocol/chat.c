/*
 * Messages are checked and written at once: what is written of a message are the members
 * that the chat input has, so that an agent meets the same shape whatever a client adds.
 */
#include "protocol/chat.h"

#include "base/json.h"
#include "base/json_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Return the object's member, NULL if it is absent, null or not of this type. */
static const cJSON *member_of(const cJSON *object, const char *name,
                              cJSON_bool (*is_type)(const cJSON *))
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);

    return is_type(member) ? member : NULL;
}

static const char *text_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* Return the tree if it is a list, else NULL, which has no members. */
static const cJSON *list_of(const cJSON *tree)
{
    return cJSON_IsArray(tree) ? tree : NULL;
}

/* ---- content ---- */

/* Return the text of a part, NULL if it is of another kind. */
static const char *part_text(const cJSON *part)
{
    const char *type = text_of(part, "type");

    return type && strcmp(type, "text") == 0 ? text_of(part, "text") : NULL;
}

/* Append the texts of the content; return false if it has other parts, too. */
static bool content_text(const cJSON *content, struct buf *text)
{
    const cJSON *part;
    bool whole = true;

    if (cJSON_IsString(content))
        buf_puts(text, content->valuestring);
    cJSON_ArrayForEach(part, list_of(content)) {
        const char *words = part_text(part);
        buf_puts(text, words ? words : "");
        whole = whole && words;
    }
    return whole;
}

static void write_tree(struct json_writer *json, const char *name, const cJSON *tree)
{
    char *text = cJSON_PrintUnformatted(tree);

    json_raw(json, name, text ? text : "null", text ? strlen(text) : strlen("null"));
    cJSON_free(text);
}

/* null_if_empty: what stands beside is the message. */
static void write_content(struct json_writer *json, const cJSON *content, bool null_if_empty)
{
    struct buf text = {0};
    bool whole = content_text(content, &text);

    buf_append(&text, "", 1);
    if (!whole)
        write_tree(json, "content", content);
    else if (null_if_empty && *buf_data(&text) == '\0')
        json_raw(json, "content", "null", strlen("null"));
    else
        json_text(json, "content", buf_data(&text));
    buf_finish(&text);
}

/* ---- messages ---- */

/* Where a message stands in the list. */
struct place {
    unsigned message;
    struct why *why;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct place *place,
                                                        const char *format, ...)
{
    struct buf words = {0};
    va_list args;

    va_start(args, format);
    buf_vprintf(&words, format, args);
    va_end(args);
    buf_append(&words, "", 1);
    why_set(place->why, -EINVAL, "messages[%u]%s", place->message, buf_data(&words));
    buf_finish(&words);
    return -EINVAL;
}

/* Return the role as agents know it, NULL if it is none. */
static const char *role_of(const cJSON *message)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *role = text_of(message, "role");

    for (size_t i = 0; role && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(role, roles[i]) == 0)
            return roles[i];
    }
    return role && strcmp(role, "developer") == 0 ? "system" : NULL;
}

static int check_content(const struct place *place, const cJSON *message, bool needed)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content"), *part;

    if (content == NULL || cJSON_IsNull(content))
        return needed ? refuse(place, ".content is missing; send a string or a list of parts") : 0;
    if (!cJSON_IsString(content) && !cJSON_IsArray(content))
        return refuse(place, ".content must be a string or a list of parts");
    cJSON_ArrayForEach(part, list_of(content)) {
        const char *type = text_of(part, "type");
        if (type == NULL)
            return refuse(place, ".content has a part without a type");
        if (strcmp(type, "text") == 0 && part_text(part) == NULL)
            return refuse(place, ".content has a part of type text without a text");
    }
    return 0;
}

static int write_call(const struct place *place, struct json_writer *json, const cJSON *call)
{
    const cJSON *function = member_of(call, "function", cJSON_IsObject);
    const char *id = text_of(call, "id"), *name = text_of(function, "name");
    const char *arguments = text_of(function, "arguments");

    if (id == NULL || name == NULL || arguments == NULL)
        return refuse(place, ".tool_calls must have {\"id\", \"function\": {\"name\", "
                             "\"arguments\"}} each, all strings");
    json_open(json, NULL, '{');
    json_text(json, "id", id);
    json_text(json, "type", "function");
    json_open(json, "function", '{');
    json_text(json, "name", name);
    json_text(json, "arguments", arguments);
    json_close(json, '}');
    json_close(json, '}');
    return 0;
}

static int write_calls(const struct place *place, struct json_writer *json, const cJSON *calls)
{
    const cJSON *call;
    int status = 0;

    json_open(json, "tool_calls", '[');
    cJSON_ArrayForEach(call, calls) {
        if (status == 0)
            status = write_call(place, json, call);
    }
    json_close(json, ']');
    return status;
}

static int write_message(const struct place *place, struct json_writer *json, const cJSON *message)
{
    const char *role = role_of(message), *call_id = text_of(message, "tool_call_id");
    const cJSON *calls = member_of(message, "tool_calls", cJSON_IsArray);
    bool is_tool = role && strcmp(role, "tool") == 0;
    bool is_assistant = role && strcmp(role, "assistant") == 0;
    int status;

    if (role == NULL)
        return refuse(place, ".role must be system, developer, user, assistant or tool");
    if (is_tool && call_id == NULL)
        return refuse(place, ".tool_call_id is missing; name the call that this is the result of");
    status = check_content(place, message, !is_assistant);
    if (status < 0)
        return status;
    calls = is_assistant && cJSON_GetArraySize(calls) > 0 ? calls : NULL;
    json_open(json, NULL, '{');
    json_text(json, "role", role);
    write_content(json, cJSON_GetObjectItemCaseSensitive(message, "content"), calls != NULL);
    if (calls)
        status = write_calls(place, json, calls);
    json_text(json, "tool_call_id", is_tool ? call_id : NULL);
    json_text(json, "name", text_of(message, "name"));
    json_close(json, '}');
    return status;
}

int chat_write_messages(const cJSON *messages, struct buf *out, struct why *why)
{
    struct json_writer json = {.out = out};
    struct place place = {.why = why};
    const cJSON *message;
    int status = 0;

    if (!cJSON_IsArray(messages) || cJSON_GetArraySize(messages) == 0)
        return why_set(why, -EINVAL, "messages must be a list of at least one message");
    json_open(&json, NULL, '[');
    cJSON_ArrayForEach(message, messages) {
        if (status == 0)
            status = write_message(&place, &json, message);
        place.message++;
    }
    json_close(&json, ']');
    return status;
}

/* ---- the agent's input ---- */

static void write_member(struct json_writer *json, const char *name, const cJSON *tree)
{
    if (tree && !cJSON_IsNull(tree))
        write_tree(json, name, tree);
}

static int write_chat(const struct chat *chat, struct buf *out, struct why *why)
{
    struct json_writer json = {.out = out, .comma = true};
    int status = 0;

    buf_puts(out, "{\"messages\":");
    if (chat->may_be_empty && cJSON_IsArray(chat->messages) && chat->messages->child == NULL)
        buf_puts(out, "[]");
    else
        status = chat_write_messages(chat->messages, out, why);
    write_member(&json, "tools", chat->tools);
    json_text(&json, "thread", chat->thread);
    write_member(&json, "state", chat->state);
    write_member(&json, "context", chat->context);
    write_member(&json, "options", chat->options);
    write_member(&json, "forwardedProps", chat->forwarded);
    json_close(&json, '}');
    return status;
}

/* Return the last message of the user, NULL if there is none. */
static const cJSON *last_user(const cJSON *messages)
{
    const cJSON *message, *last = NULL;

    cJSON_ArrayForEach(message, messages) {
        const char *role = role_of(message);
        if (role && strcmp(role, "user") == 0)
            last = message;
    }
    return last;
}

/* Return the only required property, if it is a string; else NULL. */
static const char *only_text(const cJSON *schema)
{
    const cJSON *required = member_of(schema, "required", cJSON_IsArray);
    const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(required, 0));
    const cJSON *properties = member_of(schema, "properties", cJSON_IsObject);
    const char *type = NULL;

    if (name && cJSON_GetArraySize(required) == 1)
        type = text_of(cJSON_GetObjectItemCaseSensitive(properties, name), "type");
    return type && strcmp(type, "string") == 0 ? name : NULL;
}

static bool is_object(const struct buf *text)
{
    const char *at = buf_data(text);

    return buf_length(text) > 0 && json_check(at, buf_length(text)) >= 0 &&
           at[strspn(at, " \t\r\n")] == '{';
}

static int refuse_by_schema(const cJSON *schema, struct why *why)
{
    char *text = cJSON_PrintUnformatted(schema);

    why_set(why, 0,
            "this agent takes no messages; send its input as the text of the last user message: "
            "a JSON object of the schema %s",
            text ? text : "");
    cJSON_free(text);
    return -EINVAL;
}

/* Write {only: text}, or the text that is the input already. */
static int write_text(const cJSON *message, const char *only, const cJSON *schema, struct buf *out,
                      struct why *why)
{
    struct buf text = {0};
    int status = 0;

    content_text(cJSON_GetObjectItemCaseSensitive(message, "content"), &text);
    if (only) {
        char *words = buf_steal(&text);
        buf_puts(out, "{");
        json_append_string(out, only);
        buf_puts(out, ":");
        json_append_string(out, words);
        buf_puts(out, "}");
        free(words);
    } else if (is_object(&text)) {
        buf_append(out, buf_data(&text), buf_length(&text));
    } else {
        status = refuse_by_schema(schema, why);
    }
    buf_finish(&text);
    return status;
}

int chat_write(const struct chat *chat, const cJSON *schema, struct buf *input, struct why *why)
{
    const cJSON *properties = member_of(schema, "properties", cJSON_IsObject);
    const cJSON *message = last_user(chat->messages);
    struct buf out = {0};
    int status;

    if (schema == NULL || cJSON_GetObjectItemCaseSensitive(properties, "messages")) {
        status = write_chat(chat, &out, why);
    } else {
        status = chat_write_messages(chat->messages, &out, why); /* wrong ones are refused */
        buf_consume(&out, buf_length(&out));
        if (status == 0 && message == NULL)
            status = why_set(why, -EINVAL, "messages must have one of the user");
        if (status == 0)
            status = write_text(message, only_text(schema), schema, &out, why);
    }
    if (status == 0)
        buf_append(input, buf_data(&out), buf_length(&out));
    buf_finish(&out);
    return status;
}

/* ---- making messages ---- */

cJSON *chat_add(cJSON *messages, const char *role, const char *text)
{
    cJSON *message = cJSON_CreateObject();

    cJSON_AddStringToObject(message, "role", role);
    if (text)
        cJSON_AddStringToObject(message, "content", text);
    else
        cJSON_AddNullToObject(message, "content");
    cJSON_AddItemToArray(messages, message);
    return message;
}

void chat_add_call(cJSON *message, const char *id, const char *name, const char *arguments)
{
    cJSON *calls = cJSON_GetObjectItemCaseSensitive(message, "tool_calls");
    cJSON *call = cJSON_CreateObject(), *function = cJSON_CreateObject();

    if (calls == NULL)
        calls = cJSON_AddArrayToObject(message, "tool_calls");
    cJSON_AddStringToObject(call, "id", id);
    cJSON_AddStringToObject(call, "type", "function");
    cJSON_AddStringToObject(function, "name", name);
    cJSON_AddStringToObject(function, "arguments", arguments);
    cJSON_AddItemToObject(call, "function", function);
    cJSON_AddItemToArray(calls, call);
}

cJSON *chat_add_result(cJSON *messages, const char *call_id, const char *text)
{
    cJSON *message = chat_add(messages, "tool", text);

    cJSON_AddStringToObject(message, "tool_call_id", call_id);
    return message;
}
