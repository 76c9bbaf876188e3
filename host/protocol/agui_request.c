#include "protocol/agui_request.h"

#include "protocol/chat_parts.h"

#include <errno.h>
#include <string.h>

static void rename_member(cJSON *object, const char *name, const char *wanted)
{
    cJSON *member = cJSON_DetachItemFromObjectCaseSensitive(object, name);

    if (member && !cJSON_AddItemToObject(object, wanted, member))
        cJSON_Delete(member);
}

/* Add the part to the others; its source has the bytes in base64, a URL, or a file's handle. */
static void add_part(cJSON *parts, const cJSON *part)
{
    const cJSON *source = cJSON_GetObjectItemCaseSensitive(part, "source");
    const char *kind = chat_string(source, "type"), *value = chat_string(source, "value");
    const char *type = chat_string(part, "type"), *media_type = chat_string(source, "mimeType");
    struct buf url = {0};

    if (kind == NULL || value == NULL) {
        cJSON_AddItemToArray(parts, cJSON_Duplicate(part, true));
        return;
    }
    if (strcmp(kind, "file") == 0) { /* how the provider of the model calls it */
        chat_part_handle(parts, value);
        return;
    }
    if (strcmp(kind, "data") == 0)
        buf_printf(&url, "data:%s;base64,", media_type ? media_type : "");
    buf_append(&url, value, strlen(value) + 1);
    chat_part_file(parts, buf_data(&url), media_type ? media_type : type, NULL);
    buf_finish(&url);
}

static void change_message(cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content"), *part;
    cJSON *parts;

    rename_member(message, "toolCalls", "tool_calls");
    rename_member(message, "toolCallId", "tool_call_id");
    if (!cJSON_IsArray(content))
        return;
    parts = cJSON_CreateArray();
    cJSON_ArrayForEach(part, content)
        add_part(parts, part);
    cJSON_ReplaceItemInObjectCaseSensitive(message, "content", parts);
}

static int read_resume(const cJSON *resume, struct why *why)
{
    const char *status = chat_string(resume->child, "status");

    if (resume->child->next)
        return why_set(why, -EINVAL,
                       "resume has one entry here, since a run ends with one interrupt");
    if (chat_string(resume->child, "interruptId") == NULL)
        return why_set(why, -EINVAL, "resume has an entry without an interruptId");
    if (status == NULL || (strcmp(status, "resolved") != 0 && strcmp(status, "cancelled") != 0))
        return why_set(why, -EINVAL,
                       "resume has an entry whose status is not resolved or cancelled");
    return 0;
}

int agui_request_read(cJSON *body, struct agui_request *request, struct why *why)
{
    cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages"), *message, *next;
    const cJSON *resume = cJSON_GetObjectItemCaseSensitive(body, "resume");
    const char *thread = chat_name(body, "threadId"), *run = chat_name(body, "runId");

    if (thread == NULL || run == NULL)
        return why_set(why, -EINVAL, "send threadId and runId, strings of 1 to %d bytes",
                       CHAT_NAME_MAX);
    if (resume && !cJSON_IsNull(resume) && !cJSON_IsArray(resume))
        return why_set(why, -EINVAL, "resume must be a list");
    *request = (struct agui_request){
        .chat = {.messages = messages,
                 .tools = cJSON_GetObjectItemCaseSensitive(body, "tools"),
                 .thread = thread,
                 .state = cJSON_GetObjectItemCaseSensitive(body, "state"),
                 .context = cJSON_GetObjectItemCaseSensitive(body, "context"),
                 .forwarded = cJSON_GetObjectItemCaseSensitive(body, "forwardedProps"),
                 .may_be_empty = true},
        .run = run,
        .resume = cJSON_IsArray(resume) ? resume->child : NULL};
    for (message = cJSON_IsArray(messages) ? messages->child : NULL; message; message = next) {
        const char *role = chat_string(message, "role");
        next = message->next;
        if (role && (strcmp(role, "activity") == 0 || strcmp(role, "reasoning") == 0))
            cJSON_Delete(cJSON_DetachItemViaPointer(messages, message));
        else
            change_message(message);
    }
    return request->resume ? read_resume(resume, why) : 0;
}
