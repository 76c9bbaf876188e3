/* Requests of A2A: what is read of them, and what is refused by which error. */
#include "../case.h"
#include "base/json.h"
#include "protocol/a2a_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct why why;
static cJSON *root;

static cJSON *parse(const char *json)
{
    cJSON_Delete(root);
    root = cJSON_Parse(json);
    ck_assert_msg(root != NULL, "%s", json);
    return root;
}

static void teardown(void)
{
    cJSON_Delete(root);
    root = NULL;
    why_finish(&why);
}

CASES("calls", .teardown = teardown);

static void expect_call(const char *json, enum a2a_error error, const char *id)
{
    struct a2a_call call;

    ck_assert_msg(a2a_read_call(parse(json), &call, &why) == error, "%s: %s", json, why_text(&why));
    ck_assert_str_eq(call.id, id);
    ck_assert_int_eq(*why_text(&why) != '\0', error != A2A_ok);
    why_finish(&why);
}

#define CALL(id, rest) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":" rest "}"

CASE(methods)
{
    struct a2a_call call;

    expect_call(CALL("1", "\"SendMessage\",\"params\":{}"), A2A_ok, "1");
    expect_call(CALL("\"a\\\"b\"", "\"GetTask\""), A2A_ok, "\"a\\\"b\"");
    expect_call(CALL("null", "\"GetTask\",\"params\":null"), A2A_ok, "null");
    expect_call("{\"jsonrpc\":\"2.0\",\"method\":\"ListTasks\"}", A2A_ok, "null");
    expect_call(CALL("7", "\"getTask\""), A2A_method_not_found, "7");
    expect_call(CALL("7", "\"message/send\""), A2A_version_not_supported, "7");
    ck_assert_int_eq(a2a_read_call(parse(CALL("1", "\"GetExtendedAgentCard\"")), &call, &why),
                     A2A_ok);
    ck_assert_int_eq(call.method, A2A_GetExtendedAgentCard);
}

CASE(no_calls)
{
    char json[2 * A2A_ID_MAX];

    expect_call("[]", A2A_invalid_request, "null");
    expect_call("1", A2A_invalid_request, "null");
    expect_call("{}", A2A_invalid_request, "null");
    expect_call("{\"jsonrpc\":2,\"id\":3,\"method\":\"GetTask\"}", A2A_invalid_request, "3");
    expect_call(CALL("{}", "\"GetTask\""), A2A_invalid_request, "null");
    expect_call(CALL("true", "\"GetTask\""), A2A_invalid_request, "null");
    expect_call(CALL("3", "4"), A2A_invalid_request, "3");
    expect_call(CALL("3", "\"GetTask\",\"params\":[]"), A2A_invalid_params, "3");
    snprintf(json, sizeof json, CALL("\"%0*d\"", "\"GetTask\""), A2A_ID_MAX - 1, 0);
    expect_call(json, A2A_invalid_request, "null");
}

CASE(versions)
{
    ck_assert(a2a_is_version(NULL));
    ck_assert(a2a_is_version("1.0"));
    ck_assert(a2a_is_version("1.0.3"));
    ck_assert(!a2a_is_version(""));
    ck_assert(!a2a_is_version("0.3"));
    ck_assert(!a2a_is_version("1"));
    ck_assert(!a2a_is_version("1.01"));
    ck_assert(!a2a_is_version("1.0."));
    ck_assert(!a2a_is_version("1.0.x"));
    ck_assert(!a2a_is_version("1.1"));
}

CASES("messages", .teardown = teardown);

#define SAID(rest) "{\"message\":{\"messageId\":\"m\",\"role\":\"ROLE_USER\"," rest "}}"

static void expect_text(const char *json, const char *text, const char *data)
{
    struct a2a_message message;
    char *printed;

    ck_assert_msg(a2a_read_message(parse(json), &message, &why) == A2A_ok, "%s: %s", json,
                  why_text(&why));
    ck_assert_str_eq(buf_data(&message.text), text);
    printed = message.data ? cJSON_PrintUnformatted(message.data) : NULL;
    ck_assert_str_eq(printed ? printed : "", data);
    free(printed);
    a2a_message_finish(&message);
}

static void expect_error(const char *json, enum a2a_error error)
{
    struct a2a_message message;

    ck_assert_msg(a2a_read_message(parse(json), &message, &why) == error, "%s: %s", json,
                  why_text(&why));
    ck_assert_str_ne(why_text(&why), "");
    a2a_message_finish(&message);
    why_finish(&why);
}

CASE(parts)
{
    expect_text(SAID("\"parts\":[{\"text\":\"a\",\"x\":1}]"), "a", "");
    expect_text(SAID("\"parts\":[{\"text\":\"a\"},{\"text\":\"\"},{\"text\":\"b\"}]"), "a\n\nb",
                "");
    expect_text(SAID("\"parts\":[{\"data\":{\"n\":1}}]"), "{\"n\":1}", "{\"n\":1}");
    expect_text(SAID("\"parts\":[{\"data\":null}]"), "null", "null");
    expect_text(SAID("\"parts\":[{\"text\":\"a\"},{\"data\":[1]}]"), "a\n[1]", "");
}

CASE(no_parts)
{
    expect_error(SAID("\"parts\":[]"), A2A_invalid_params);
    expect_error(SAID("\"parts\":{}"), A2A_invalid_params);
    expect_error(SAID("\"parts\":[1]"), A2A_invalid_params);
    expect_error(SAID("\"parts\":[{}]"), A2A_invalid_params);
    expect_error(SAID("\"parts\":[{\"text\":1}]"), A2A_invalid_params);
    expect_error(SAID("\"x\":1"), A2A_invalid_params);
    expect_error(SAID("\"parts\":[{\"text\":\"a\"},{\"url\":\"http://a\"}]"),
                 A2A_content_type_not_supported);
    expect_error(SAID("\"parts\":[{\"raw\":\"AAAA\"}]"), A2A_content_type_not_supported);
}

CASE(no_messages)
{
    expect_error("{}", A2A_invalid_params);
    expect_error("[]", A2A_invalid_params);
    expect_error("{\"message\":[]}", A2A_invalid_params);
    expect_error("{\"message\":{\"role\":\"ROLE_USER\",\"parts\":[{\"text\":\"a\"}]}}",
                 A2A_invalid_params);
    expect_error(
        "{\"message\":{\"messageId\":\"m\",\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}}",
        A2A_invalid_params);
    expect_error(SAID("\"contextId\":1,\"parts\":[{\"text\":\"a\"}]"), A2A_invalid_params);
    expect_error(SAID("\"taskId\":{},\"parts\":[{\"text\":\"a\"}]"), A2A_invalid_params);
}

#define WITH(configuration)                                                                  \
    "{\"message\":{\"messageId\":\"m\",\"role\":\"ROLE_USER\",\"parts\":[{\"text\":\"a\"}]," \
    "\"contextId\":\"c\",\"taskId\":\"t\",\"metadata\":{\"sluice/question\":\"q2\"}},"       \
    "\"configuration\":" configuration "}"

CASE(configurations)
{
    struct a2a_message message;

    ck_assert_int_eq(a2a_read_message(parse(WITH("{\"returnImmediately\":true,"
                                                 "\"historyLength\":0}")),
                                      &message, &why),
                     A2A_ok);
    ck_assert(message.at_once);
    ck_assert_str_eq(message.context, "c");
    ck_assert_str_eq(message.task, "t");
    ck_assert_str_eq(message.question, "q2");
    a2a_message_finish(&message);
    expect_error(WITH("[]"), A2A_invalid_params);
    expect_error(WITH("{\"returnImmediately\":1}"), A2A_invalid_params);
    expect_error(WITH("{\"historyLength\":-1}"), A2A_invalid_params);
    expect_error(WITH("{\"historyLength\":1.5}"), A2A_invalid_params);
    expect_error(WITH("{\"taskPushNotificationConfig\":{\"url\":\"http://a\"}}"),
                 A2A_push_notification_not_supported);
}

CASE(contexts)
{
    char json[3 * A2A_CONTEXT_MAX];
    struct a2a_message message;

    ck_assert_int_eq(a2a_read_message(parse(SAID("\"contextId\":\"\",\"taskId\":\"\","
                                                 "\"parts\":[{\"text\":\"a\"}]")),
                                      &message, &why),
                     A2A_ok);
    ck_assert_ptr_null(message.context);
    ck_assert_ptr_null(message.task);
    a2a_message_finish(&message);
    snprintf(json, sizeof json, SAID("\"contextId\":\"%0*d\",\"parts\":[{\"text\":\"a\"}]"),
             A2A_CONTEXT_MAX + 1, 0);
    expect_error(json, A2A_invalid_params);
}

CASES("tasks", .teardown = teardown);

static void expect_list(const char *json, bool fine)
{
    struct a2a_list list;

    ck_assert_msg((a2a_read_list(parse(json), &list, &why) == A2A_ok) == fine, "%s: %s", json,
                  why_text(&why));
    why_finish(&why);
}

CASE(lists)
{
    struct a2a_list list;

    ck_assert_int_eq(a2a_read_list(NULL, &list, &why), A2A_ok);
    ck_assert_int_eq(list.state, -1);
    ck_assert_uint_eq(list.page, 50);
    ck_assert_uint_eq(list.before, UINT64_MAX);
    ck_assert_int_eq(a2a_read_list(parse("{\"contextId\":\"c\",\"status\":\"TASK_STATE_FAILED\","
                                         "\"pageSize\":100,\"pageToken\":\"17\","
                                         "\"statusTimestampAfter\":\"1970-01-02T00:00:01.5Z\","
                                         "\"includeArtifacts\":true}"),
                                   &list, &why),
                     A2A_ok);
    ck_assert_str_eq(list.context, "c");
    ck_assert_int_eq(list.state, A2A_FAILED);
    ck_assert_uint_eq(list.page, 100);
    ck_assert_uint_eq(list.before, 17);
    ck_assert_int_eq(list.since, 86402);
    ck_assert(list.has_artifacts);
    expect_list("{\"status\":\"TASK_STATE_REJECTED\"}", true);
    expect_list("{\"status\":\"TASK_STATE_UNSPECIFIED\",\"pageToken\":\"\"}", true);
}

CASE(bad_lists)
{
    expect_list("{\"status\":\"working\"}", false);
    expect_list("{\"status\":2}", false);
    expect_list("{\"pageSize\":0}", false);
    expect_list("{\"pageSize\":101}", false);
    expect_list("{\"pageSize\":\"10\"}", false);
    expect_list("{\"pageToken\":\"x\"}", false);
    expect_list("{\"pageToken\":\"-1\"}", false);
    expect_list("{\"historyLength\":-5}", false);
    expect_list("{\"statusTimestampAfter\":\"yesterday\"}", false);
    expect_list("{\"statusTimestampAfter\":\"2025-10-28T10:30:00+02:00\"}", false);
    expect_list("{\"includeArtifacts\":\"true\"}", false);
}

CASE(ids)
{
    const char *id;

    ck_assert_int_eq(a2a_read_task(parse("{\"id\":\"t\",\"historyLength\":3}"), &id, &why), A2A_ok);
    ck_assert_str_eq(id, "t");
    ck_assert_int_eq(a2a_read_task(parse("{\"id\":\"\"}"), &id, &why), A2A_invalid_params);
    ck_assert_int_eq(a2a_read_task(parse("{\"id\":1}"), &id, &why), A2A_invalid_params);
    ck_assert_int_eq(a2a_read_task(NULL, &id, &why), A2A_invalid_params);
}
