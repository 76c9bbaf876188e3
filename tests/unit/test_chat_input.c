/* The chat input: what agents get of a client's messages. */
#include "../case.h"
#include "protocol/chat.h"

#include <errno.h>

static struct buf out;
static struct why why;

static int write(const char *messages, const char *schema)
{
    cJSON *tree = cJSON_Parse(messages), *types = schema ? cJSON_Parse(schema) : NULL;
    int status;

    ck_assert_ptr_nonnull(tree);
    ck_assert(schema == NULL || types);
    status = chat_write(&(struct chat){.messages = tree}, types, &out, &why);
    cJSON_Delete(tree);
    cJSON_Delete(types);
    return status;
}

static void expect_out(const char *wanted)
{
    buf_append(&out, "", 1);
    ck_assert_str_eq(buf_data(&out), wanted);
    buf_finish(&out);
}

static void expect_input(const char *messages, const char *schema, const char *wanted)
{
    ck_assert_msg(write(messages, schema) == 0, "%s", why_text(&why));
    expect_out(wanted);
}

static void expect_refusal(const char *messages, const char *schema, const char *words)
{
    ck_assert_int_eq(write(messages, schema), -EINVAL);
    ck_assert_uint_eq(buf_length(&out), 0);
    ck_assert_msg(strstr(why_text(&why), words), "%s", why_text(&why));
    why_finish(&why);
    buf_finish(&out);
}

CASE(every_member)
{
    cJSON *request = cJSON_Parse(
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\"}],\"tools\":[{\"n\":1}],"
        "\"state\":{},\"context\":[],\"options\":{\"temperature\":0.5}}");
    const struct chat chat = {
        .messages = cJSON_GetObjectItem(request, "messages"),
        .tools = cJSON_GetObjectItem(request, "tools"),
        .thread = "t",
        .state = cJSON_GetObjectItem(request, "state"),
        .context = cJSON_GetObjectItem(request, "context"),
        .options = cJSON_GetObjectItem(request, "options"),
    };

    ck_assert_int_eq(chat_write(&chat, NULL, &out, &why), 0);
    cJSON_Delete(request);
    expect_out("{\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\"}],\"tools\":[{\"n\":1}],"
               "\"thread\":\"t\",\"state\":{},\"context\":[],\"options\":{\"temperature\":0.5}}");
}

CASE(empty_list_is_taken_where_it_may_be)
{
    cJSON *messages = cJSON_CreateArray();
    cJSON *types = cJSON_Parse("{\"properties\":{\"q\":{\"type\":\"string\"}}}");
    const struct chat chat = {.messages = messages, .may_be_empty = true};

    expect_refusal("[]", NULL, "at least one message");
    ck_assert_int_eq(chat_write(&chat, types, &out, &why), -EINVAL);
    ck_assert_int_eq(chat_write(&chat, NULL, &out, &why), 0);
    expect_out("{\"messages\":[]}");
    why_finish(&why);
    cJSON_Delete(messages);
    cJSON_Delete(types);
}

CASE(roles)
{
    expect_input("[{\"role\":\"developer\",\"content\":\"be brief\"},"
                 "{\"role\":\"system\",\"content\":\"s\"},"
                 "{\"role\":\"user\",\"content\":\"u\",\"name\":\"ann\",\"other\":1},"
                 "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":"
                 "\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"{}\"}}]},"
                 "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"5\"},"
                 "{\"role\":\"assistant\",\"content\":\"five\",\"tool_calls\":[],"
                 "\"refusal\":null}]",
                 NULL,
                 "{\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
                 "{\"role\":\"system\",\"content\":\"s\"},"
                 "{\"role\":\"user\",\"content\":\"u\",\"name\":\"ann\"},"
                 "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":"
                 "\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"{}\"}}]},"
                 "{\"role\":\"tool\",\"content\":\"5\",\"tool_call_id\":\"c\"},"
                 "{\"role\":\"assistant\",\"content\":\"five\"}]}");
}

CASE(content)
{
    expect_input("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
                 "\"text\",\"text\":\"b\"}]}]",
                 NULL, "{\"messages\":[{\"role\":\"user\",\"content\":\"ab\"}]}");
    expect_input("[{\"role\":\"user\",\"content\":[]}]", NULL,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}");
    expect_input(
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
        "\"image_url\",\"image_url\":{\"url\":\"u\"}}]}]",
        NULL,
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}]}");
    expect_input("[{\"role\":\"assistant\"}]", NULL,
                 "{\"messages\":[{\"role\":\"assistant\",\"content\":\"\"}]}");
    expect_input("[{\"role\":\"assistant\",\"content\":\"so\",\"tool_calls\":[{\"id\":\"c\","
                 "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}]",
                 NULL,
                 "{\"messages\":[{\"role\":\"assistant\",\"content\":\"so\",\"tool_calls\":[{"
                 "\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
                 "\"\"}}]}]}");
}

CASE(refusals)
{
    expect_refusal("1", NULL, "messages must be a list");
    expect_refusal("[]", NULL, "messages must be a list");
    expect_refusal("[1]", NULL, "messages[0].role must be");
    expect_refusal("[{\"role\":\"user\",\"content\":\"\"},{\"role\":\"robot\"}]", NULL,
                   "messages[1].role must be");
    expect_refusal("[{\"role\":\"user\"}]", NULL, "messages[0].content is missing");
    expect_refusal("[{\"role\":\"user\",\"content\":1}]", NULL, "messages[0].content must be");
    expect_refusal("[{\"role\":\"user\",\"content\":[\"a\"]}]", NULL, "a part without a type");
    expect_refusal("[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", NULL,
                   "without a text");
    expect_refusal("[{\"role\":\"tool\",\"content\":\"5\"}]", NULL, "tool_call_id is missing");
    expect_refusal("[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\"}]}]", NULL,
                   "messages[0].tool_calls must");
}

static const char of_user[] = "[{\"role\":\"user\",\"content\":\"no\"},"
                              "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                              "{\"type\":\"file\"},{\"type\":\"text\",\"text\":\"\\\"b\\\"\"}]},"
                              "{\"role\":\"assistant\",\"content\":\"no\"}]";

CASE(schema_of_a_chat)
{
    expect_input(
        "[{\"role\":\"user\",\"content\":\"a\"}]",
        "{\"type\":\"object\",\"properties\":{\"messages\":true,\"q\":{\"type\":\"string\"}},"
        "\"required\":[\"q\"]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
}

CASE(schema_of_one_text)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"the \\\"q\\\"\":{\"type\":\"string\"},\"n\":{"
        "\"type\":\"integer\"}},\"required\":[\"the \\\"q\\\"\"]}";

    expect_input(of_user, schema, "{\"the \\\"q\\\"\":\"a\\\"b\\\"\"}");
    expect_refusal("[{\"role\":\"system\",\"content\":\"a\"}]", schema, "one of the user");
    expect_refusal("[{\"role\":\"robot\",\"content\":\"a\"}]", schema, "messages[0].role");
}

CASE(schema_of_something_else)
{
    static const char *const schemas[] = {
        "{\"type\":\"object\"}",
        "{\"properties\":{\"Messages\":true}}",
        "{\"properties\":{\"n\":{\"type\":\"integer\"}},\"required\":[\"n\"]}",
        "{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"}},"
        "\"required\":[\"a\",\"b\"]}",
    };

    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        expect_input("[{\"role\":\"user\",\"content\":\" {\\\"n\\\": 1}\"}]", schemas[i],
                     " {\"n\": 1}");
        expect_refusal(of_user, schemas[i], schemas[i]);
        expect_refusal("[{\"role\":\"user\",\"content\":\"[1]\"}]", schemas[i], "a JSON object");
        expect_refusal("[{\"role\":\"user\",\"content\":\"{} {}\"}]", schemas[i], "a JSON object");
    }
}

CASE(made_messages)
{
    cJSON *messages = cJSON_CreateArray(), *calling;

    chat_add(messages, "user", "add");
    calling = chat_add(messages, "assistant", NULL);
    chat_add_call(calling, "c", "add", "{\"a\":1}");
    chat_add_call(calling, "d", "add", "{}");
    chat_add_result(messages, "c", "5");
    ck_assert_int_eq(chat_write_messages(messages, &out, &why), 0);
    cJSON_Delete(messages);
    expect_out("[{\"role\":\"user\",\"content\":\"add\"},"
               "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
               "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":"
               "\"{\\\"a\\\":1}\"}},"
               "{\"id\":\"d\",\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":"
               "\"{}\"}}]},"
               "{\"role\":\"tool\",\"content\":\"5\",\"tool_call_id\":\"c\"}]");
}
