#include "protocol/a2a_request.h"

#include "protocol/body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum a2a_error fault(struct why *why, enum a2a_error error, const char *text)
{
    why_set(why, 0, "%s", text);
    return error;
}

/* Return the object's member of this name; NULL if there is none, or if it is null. */
static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNull(item) ? NULL : item;
}

/* Set the string of an optional member, NULL if it is absent or empty; false if it is none. */
static bool read_string(const cJSON *object, const char *name, const char **out)
{
    const cJSON *item = member(object, name);

    *out = cJSON_IsString(item) && *item->valuestring ? item->valuestring : NULL;
    return item == NULL || cJSON_IsString(item);
}

/* Read an optional whole number; false if it is none or not from least to most. */
static bool read_number(const cJSON *object, const char *name, int least, int most, unsigned *out)
{
    const cJSON *item = member(object, name);
    double number;

    if (item == NULL)
        return true;
    if (!body_number(item, &number) || !(number >= least && number <= most))
        return false;
    *out = (unsigned)number;
    return number == *out;
}

/* A history is not kept, so its length need only be valid. */
static bool check_history(const cJSON *object)
{
    unsigned ignored;

    return read_number(object, "historyLength", 0, INT32_MAX, &ignored);
}

#define BAD_HISTORY "historyLength is a number of messages, 0 or more"

/* Contexts are named in each frame: no more of them than that may cost. */
static bool is_context(const char *context)
{
    return context == NULL || strlen(context) <= A2A_CONTEXT_MAX;
}

#define BAD_CONTEXT "contextId is a string of at most 256 bytes"

/* ---- JSON-RPC ---- */

static bool read_id(const cJSON *root, char id[A2A_ID_MAX + 1])
{
    const cJSON *item = member(root, "id");
    double number;
    char *text;
    bool fits;

    if (item == NULL)
        return true;
    if (!cJSON_IsString(item) && !body_number(item, &number))
        return false;
    text = cJSON_PrintUnformatted(item);
    fits = text && strlen(text) <= A2A_ID_MAX;
    if (fits)
        strcpy(id, text);
    free(text);
    return fits;
}

static bool read_method(const char *name, enum a2a_method *method)
{
    static const char *const names[] = {
#define X(name) #name,
        A2A_METHODS(X)
#undef X
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *method = (enum a2a_method)i;
            return true;
        }
    }
    return false;
}

enum a2a_error a2a_read_call(const cJSON *root, struct a2a_call *call, struct why *why)
{
    const cJSON *version = member(root, "jsonrpc"), *method = member(root, "method");

    *call = (struct a2a_call){.id = "null", .params = member(root, "params")};
    if (!cJSON_IsObject(root))
        return fault(why, A2A_invalid_request, "send one JSON-RPC request, an object; no batch");
    if (!read_id(root, call->id))
        return fault(why, A2A_invalid_request, "id is a string of at most 256 bytes, or a number");
    if (!cJSON_IsString(version) || strcmp(version->valuestring, "2.0") != 0)
        return fault(why, A2A_invalid_request, "jsonrpc must be \"2.0\"");
    if (!cJSON_IsString(method))
        return fault(why, A2A_invalid_request, "method must be a string");
    if (call->params && !cJSON_IsObject(call->params))
        return fault(why, A2A_invalid_params, "params must be an object");
    if (read_method(method->valuestring, &call->method))
        return A2A_ok;
    /* A client of the version before, which sends no A2A-Version, says message/send. */
    if (strchr(method->valuestring, '/'))
        return fault(why, A2A_version_not_supported,
                     "this is a method of A2A 0.3; here A2A " A2A_VERSION " is spoken");
    why_set(why, 0, "there is no method '%.64s'", method->valuestring);
    return A2A_method_not_found;
}

bool a2a_is_version(const char *version)
{
    size_t length = strlen(A2A_VERSION);

    return version == NULL ||
           (strncmp(version, A2A_VERSION, length) == 0 &&
            (version[length] == '\0' ||
             (version[length] == '.' && strspn(version + length + 1, "0123456789") > 0 &&
              strspn(version + length + 1, "0123456789") == strlen(version + length + 1))));
}

/* ---- messages ---- */

/* Add a part to the text. */
static enum a2a_error read_part(const cJSON *part, struct a2a_message *message, struct why *why)
{
    const cJSON *text = member(part, "text"),
                *data = cJSON_GetObjectItemCaseSensitive(part, "data");

    if (!cJSON_IsObject(part) || (text && !cJSON_IsString(text)))
        return fault(why, A2A_invalid_params, "each part is an object with text or data");
    if (member(part, "raw") || member(part, "url"))
        return fault(why, A2A_content_type_not_supported,
                     "the agent takes parts with text or data, no files");
    if (text == NULL && data == NULL)
        return fault(why, A2A_invalid_params, "each part has text or data");
    if (buf_length(&message->text) > 0)
        buf_puts(&message->text, "\n");
    if (text) {
        buf_puts(&message->text, text->valuestring);
    } else {
        char *json = cJSON_PrintUnformatted(data);
        buf_puts(&message->text, json ? json : "null");
        free(json);
    }
    return A2A_ok;
}

static enum a2a_error read_parts(const cJSON *parts, struct a2a_message *message, struct why *why)
{
    enum a2a_error error = A2A_ok;
    const cJSON *part;

    if (!cJSON_IsArray(parts) || cJSON_GetArraySize(parts) == 0)
        return fault(why, A2A_invalid_params, "message.parts is a list of one part or more");
    cJSON_ArrayForEach(part, parts) {
        if (error == A2A_ok)
            error = read_part(part, message, why);
    }
    buf_append(&message->text, "", 1);
    if (error == A2A_ok && cJSON_GetArraySize(parts) == 1 && !member(parts->child, "text"))
        message->data = cJSON_GetObjectItemCaseSensitive(parts->child, "data");
    return error;
}

static enum a2a_error read_configuration(const cJSON *configuration, struct a2a_message *message,
                                         struct why *why)
{
    const cJSON *at_once = member(configuration, "returnImmediately");

    if (configuration && !cJSON_IsObject(configuration))
        return fault(why, A2A_invalid_params, "configuration must be an object");
    if (member(configuration, "taskPushNotificationConfig"))
        return fault(why, A2A_push_notification_not_supported,
                     "there are no push notifications; use SubscribeToTask or GetTask");
    if (!check_history(configuration))
        return fault(why, A2A_invalid_params, BAD_HISTORY);
    if (at_once && !cJSON_IsBool(at_once))
        return fault(why, A2A_invalid_params, "returnImmediately is true or false");
    message->at_once = cJSON_IsTrue(at_once);
    return A2A_ok;
}

enum a2a_error a2a_read_message(const cJSON *params, struct a2a_message *message, struct why *why)
{
    const cJSON *said = member(params, "message"), *role = member(said, "role");
    const cJSON *id = member(said, "messageId"), *metadata = member(said, "metadata");
    enum a2a_error error;

    *message = (struct a2a_message){.data = NULL};
    if (!cJSON_IsObject(said))
        return fault(why, A2A_invalid_params, "message must be an object");
    if (!cJSON_IsString(id) || !*id->valuestring)
        return fault(why, A2A_invalid_params, "message.messageId must be a string, not empty");
    if (!cJSON_IsString(role) || strcmp(role->valuestring, "ROLE_USER") != 0)
        return fault(why, A2A_invalid_params, "message.role must be \"ROLE_USER\"");
    if (!read_string(said, "contextId", &message->context) || !is_context(message->context))
        return fault(why, A2A_invalid_params, BAD_CONTEXT);
    if (!read_string(said, "taskId", &message->task))
        return fault(why, A2A_invalid_params, "message.taskId must be a string");
    if (metadata && !cJSON_IsObject(metadata))
        return fault(why, A2A_invalid_params, "message.metadata must be an object");
    if (!read_string(metadata, "sluice/question", &message->question))
        return fault(why, A2A_invalid_params, "sluice/question must be a question's id");
    error = read_configuration(member(params, "configuration"), message, why);
    return error == A2A_ok ? read_parts(member(said, "parts"), message, why) : error;
}

void a2a_message_finish(struct a2a_message *message)
{
    buf_finish(&message->text);
}

/* ---- tasks ---- */

enum a2a_error a2a_read_task(const cJSON *params, const char **id, struct why *why)
{
    if (!read_string(params, "id", id) || *id == NULL)
        return fault(why, A2A_invalid_params, "id must be that of a task");
    if (!check_history(params))
        return fault(why, A2A_invalid_params, BAD_HISTORY);
    return A2A_ok;
}

static bool read_state(const char *name, int *state)
{
    static const char *const names[] = {
        [A2A_SUBMITTED] = "TASK_STATE_SUBMITTED",
        [A2A_WORKING] = "TASK_STATE_WORKING",
        [A2A_INPUT_REQUIRED] = "TASK_STATE_INPUT_REQUIRED",
        [A2A_COMPLETED] = "TASK_STATE_COMPLETED",
        [A2A_FAILED] = "TASK_STATE_FAILED",
        [A2A_CANCELED] = "TASK_STATE_CANCELED",
        [A2A_STATES] = "TASK_STATE_REJECTED",
        [A2A_STATES + 1] = "TASK_STATE_AUTH_REQUIRED",
    };

    if (name == NULL || strcmp(name, "TASK_STATE_UNSPECIFIED") == 0)
        return true;
    for (int i = 0; i <= A2A_STATES + 1; i++) {
        if (strcmp(name, names[i]) == 0) {
            *state = i < A2A_STATES ? i : A2A_STATES;
            return true;
        }
    }
    return false;
}

/* RFC 3339 in UTC; a part of a second counts as the second after. */
static bool read_time(const char *text, int64_t *seconds)
{
    struct tm tm = {0};
    const char *rest;
    size_t digits;

    if (text == NULL)
        return true;
    rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return false;
    *seconds = timegm(&tm);
    if (*rest == '.') {
        digits = strspn(rest + 1, "0123456789");
        *seconds += strspn(rest + 1, "0") < digits;
        rest += 1 + digits;
    }
    return strcmp(rest, "Z") == 0 || strcmp(rest, "+00:00") == 0;
}

static bool read_token(const char *text, uint64_t *before)
{
    char *end;

    if (text == NULL)
        return true;
    *before = strtoull(text, &end, 10);
    return *end == '\0' && strspn(text, "0123456789") == strlen(text);
}

enum a2a_error a2a_read_list(const cJSON *params, struct a2a_list *list, struct why *why)
{
    const cJSON *artifacts = member(params, "includeArtifacts");
    const char *state, *token, *since;

    *list = (struct a2a_list){.state = -1, .page = 50, .before = UINT64_MAX};
    if (!read_string(params, "contextId", &list->context) || !is_context(list->context))
        return fault(why, A2A_invalid_params, BAD_CONTEXT);
    if (!read_string(params, "status", &state) || !read_state(state, &list->state))
        return fault(why, A2A_invalid_params, "status is a state such as TASK_STATE_WORKING");
    if (!read_number(params, "pageSize", 1, A2A_PAGE_MAX, &list->page))
        return fault(why, A2A_invalid_params, "pageSize is 1 to 100");
    if (!read_string(params, "pageToken", &token) || !read_token(token, &list->before))
        return fault(why, A2A_invalid_params, "pageToken is the nextPageToken of another page");
    if (!check_history(params))
        return fault(why, A2A_invalid_params, BAD_HISTORY);
    if (!read_string(params, "statusTimestampAfter", &since) || !read_time(since, &list->since))
        return fault(why, A2A_invalid_params,
                     "statusTimestampAfter is a time such as 2025-10-28T10:30:00Z");
    if (artifacts && !cJSON_IsBool(artifacts))
        return fault(why, A2A_invalid_params, "includeArtifacts is true or false");
    list->has_artifacts = cJSON_IsTrue(artifacts);
    return A2A_ok;
}
