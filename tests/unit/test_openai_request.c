/* What the bodies of OpenAI's protocols ask for. */
#include "../case.h"
#include "protocol/openai_request.h"
#include "protocol/responses_request.h"

#include <errno.h>

static struct buf out;
static struct why why;

static void expect_out(const char *wanted)
{
    buf_append(&out, "", 1);
    ck_assert_str_eq(buf_data(&out), wanted);
    buf_finish(&out);
}

static cJSON *parse(const char *text)
{
    cJSON *body = cJSON_Parse(text);

    ck_assert_msg(body != NULL, "%s", text);
    return body;
}

/* ---- chat completions ---- */

CASE(completion)
{
    cJSON *body = parse("{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],"
                        "\"stream\":true,\"stream_options\":{\"include_events\":true},\"n\":1,"
                        "\"max_tokens\":5,\"max_output_tokens\":5,\"reasoning\":{},\"stop\":[\"x\"]"
                        ",\"seed\":null,\"logprobs\":true,"
                        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}");
    struct openai_request request;

    ck_assert_int_eq(openai_request_read(body, &request, &why), 0);
    ck_assert(request.stream);
    ck_assert_int_eq(request.terms, '2');
    ck_assert_int_eq(chat_write(&request.chat, NULL, &out, &why), 0);
    openai_request_finish(&request);
    cJSON_Delete(body);
    expect_out("{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"tools\":[{\"type\":"
               "\"function\",\"function\":{\"name\":\"f\"}}],\"options\":{\"max_tokens\":5,"
               "\"stop\":[\"x\"]}}");
}

static void expect_no_completion(const char *text, const char *words)
{
    cJSON *body = parse(text);
    struct openai_request request;

    ck_assert_int_eq(openai_request_read(body, &request, &why), -EINVAL);
    ck_assert_msg(strstr(why_text(&why), words), "%s", why_text(&why));
    openai_request_finish(&request);
    why_finish(&why);
    cJSON_Delete(body);
}

CASE(bad_completions)
{
    expect_no_completion("1", "must be an object");
    expect_no_completion("{\"model\":1}", "model is missing");
    expect_no_completion("{\"model\":\"a\",\"n\":0}", "n must be 1");
}

/* ---- responses ---- */

static void expect_response(const char *text, const char *before, const char *wanted)
{
    cJSON *body = parse(text);
    struct responses_request request;
    struct chat chat;

    ck_assert_msg(responses_request_read(body, before, &request, &why) == 0, "%s", why_text(&why));
    responses_request_instruct(&request, body);
    chat = responses_request_chat(&request);
    ck_assert_msg(chat_write(&chat, NULL, &out, &why) == 0, "%s", why_text(&why));
    responses_request_finish(&request);
    cJSON_Delete(body);
    expect_out(wanted);
}

CASE(response_to_a_text)
{
    expect_response("{\"model\":\"a\",\"input\":\"b\",\"instructions\":\"c\",\"temperature\":1,"
                    "\"conversation\":\"t\",\"tools\":[{\"type\":\"function\",\"name\":\"f\","
                    "\"parameters\":{}},{\"type\":\"web_search\"}]}",
                    "[{\"role\":\"user\",\"content\":\"before\"}]",
                    "{\"messages\":[{\"role\":\"system\",\"content\":\"c\"},{\"role\":\"user\","
                    "\"content\":\"before\"},{\"role\":\"user\",\"content\":\"b\"}],\"tools\":[{"
                    "\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}},{"
                    "\"type\":\"web_search\"}],\"thread\":\"t\",\"options\":{\"temperature\":1}}");
}

/* Agents meet one shape of options, that of chat completions. */
CASE(options_of_responses)
{
    expect_response("{\"model\":\"a\",\"input\":\"b\",\"max_output_tokens\":5,\"top_p\":null,"
                    "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},\"text\":{\"format\":{"
                    "\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{\"type\":\"object\"},"
                    "\"strict\":true},\"verbosity\":\"high\"},"
                    "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"}}",
                    NULL,
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"options\":{"
                    "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
                    "\"max_tokens\":5,\"reasoning_effort\":\"low\",\"verbosity\":\"high\","
                    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                    "\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true}}}}");
    expect_response("{\"model\":\"a\",\"input\":\"b\",\"reasoning\":{\"summary\":\"auto\"},"
                    "\"text\":{\"format\":{\"type\":\"json_object\"}},\"tool_choice\":\"none\"}",
                    NULL,
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}],\"options\":{"
                    "\"tool_choice\":\"none\",\"response_format\":{\"type\":\"json_object\"}}}");
    expect_response("{\"model\":\"a\",\"input\":\"b\",\"reasoning\":7,\"text\":[1]}", NULL,
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}");
}

CASE(calls_join_their_message)
{
    expect_response("{\"model\":\"a\",\"input\":[{\"type\":\"message\",\"role\":\"assistant\","
                    "\"content\":[{\"type\":\"output_text\",\"text\":\"so\"}]},"
                    "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
                    "\"{}\"},{\"type\":\"function_call\",\"call_id\":\"d\",\"name\":\"g\","
                    "\"arguments\":\"\"},{\"type\":\"function_call_output\",\"call_id\":\"c\","
                    "\"output\":\"5\"}]}",
                    NULL,
                    "{\"messages\":[{\"role\":\"assistant\",\"content\":\"so\",\"tool_calls\":["
                    "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"{}\"}},{\"id\":\"d\",\"type\":\"function\",\"function\":{"
                    "\"name\":\"g\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"content\":\"5\","
                    "\"tool_call_id\":\"c\"}]}");
}

CASE(calls_without_a_text)
{
    expect_response("{\"model\":\"a\",\"input\":[{\"type\":\"function_call\",\"call_id\":\"c\","
                    "\"name\":\"f\",\"arguments\":\"{}\"}]}",
                    NULL,
                    "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{"
                    "\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"{}\"}}]}]}");
}

/* Work that grows with the square of the items would take this body minutes: the case times out. */
CASE(a_body_of_many_calls)
{
    static const char pair[] = "{\"type\":\"function_call_output\",\"call_id\":\"\",\"output\":"
                               "\"\"},{\"type\":\"function_call\",\"call_id\":\"\",\"name\":"
                               "\"\",\"arguments\":\"\"},";
    unsigned pairs = 12 * 1024 * 1024 / (sizeof pair - 1);
    struct responses_request request;
    cJSON *body;

    buf_puts(&out, "{\"model\":\"a\",\"input\":[");
    for (unsigned i = 0; i < pairs; i++)
        buf_puts(&out, pair);
    buf_append(&out, "{\"type\":\"reasoning\"}]}", sizeof "{\"type\":\"reasoning\"}]}");
    body = parse(buf_data(&out));
    buf_finish(&out);
    ck_assert_msg(responses_request_read(body, NULL, &request, &why) == 0, "%s", why_text(&why));
    ck_assert_int_eq(cJSON_GetArraySize(request.messages), 2 * (int)pairs);
    responses_request_finish(&request);
    cJSON_Delete(body);
}

CASE(files)
{
    expect_response(
        "{\"model\":\"a\",\"input\":[{\"role\":\"user\",\"content\":["
        "{\"type\":\"input_image\",\"image_url\":\"http://i\"},{\"type\":\"input_file\","
        "\"filename\":\"f.pdf\",\"file_data\":\"data:application/pdf;base64,AA==\"}]}]}",
        NULL,
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"http://i\"}},{\"type\":\"file\",\"file\":{\"file_data\":"
        "\"data:application/pdf;base64,AA==\",\"filename\":\"f.pdf\"}}]}]}");
}

static void expect_no_response(const char *text, const char *words)
{
    cJSON *body = parse(text);
    struct responses_request request;

    ck_assert_int_eq(responses_request_read(body, NULL, &request, &why), -EINVAL);
    ck_assert_msg(strstr(why_text(&why), words), "%s", why_text(&why));
    responses_request_finish(&request);
    why_finish(&why);
    cJSON_Delete(body);
}

CASE(bad_responses)
{
    expect_no_response("[]", "must be an object");
    expect_no_response("{\"input\":\"\"}", "model is missing");
    expect_no_response("{\"model\":\"a\"}", "input must be");
    expect_no_response("{\"model\":\"a\",\"input\":[1]}", "type ''");
    expect_no_response("{\"model\":\"a\",\"input\":[{\"role\":\"user\"}]}", "content is no string");
    expect_no_response("{\"model\":\"a\",\"input\":[{\"type\":\"function_call_output\"}]}",
                       "without a call_id");
    expect_no_response("{\"model\":\"a\",\"input\":\"b\",\"instructions\":[]}",
                       "instructions must");
}

/* No run starts without the conversation that it was to continue. */
CASE(previous_is_a_string)
{
    const char *values[] = {"7", "{}", "[\"resp_a\"]", "true", "\"resp_a\""};

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        buf_printf(&out, "{\"model\":\"a\",\"input\":\"b\",\"previous_response_id\":%s}",
                   values[i]);
        buf_append(&out, "", 1);
        expect_no_response(buf_data(&out), "previous_response_id is");
        buf_finish(&out);
    }
    expect_response("{\"model\":\"a\",\"input\":\"b\",\"previous_response_id\":null}", NULL,
                    "{\"messages\":[{\"role\":\"user\",\"content\":\"b\"}]}");
}

CASE(ids)
{
    ck_assert_str_eq(responses_run_id("resp_a"), "a");
    ck_assert_ptr_null(responses_run_id("a"));
}
