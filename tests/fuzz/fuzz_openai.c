/*
 * Any JSON is a request for a chat completion, and one for a response. What is refused has a reason
 * that is UTF-8; what is read becomes JSON, for agents with and without a schema.
 */
#include "fuzz.h"

#include "base/json.h"
#include "protocol/body.h"
#include "protocol/openai_request.h"
#include "protocol/responses_request.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static void check_outcome(int status, const struct buf *json, struct why *why)
{
    assert(status == 0 || status == -EINVAL);
    assert((status < 0) == (*why_text(why) != '\0'));
    assert(json_escaped_length(why_text(why), strlen(why_text(why))) >= 0);
    if (status == 0)
        assert(json_check(buf_data(json), buf_length(json)) >= 0);
    why_finish(why);
}

static void check_input(const struct chat *chat, const char *schema)
{
    cJSON *tree = schema ? cJSON_Parse(schema) : NULL;
    struct buf input = {0};
    struct why why = {0};
    int status = chat_write(chat, tree, &input, &why);

    assert(status == 0 || buf_length(&input) == 0);
    check_outcome(status, &input, &why);
    buf_finish(&input);
    cJSON_Delete(tree);
}

static void check_chat(const struct chat *chat)
{
    check_input(chat, NULL);
    check_input(chat, "{\"properties\":{\"q\":{\"type\":\"string\"}},\"required\":[\"q\"]}");
    check_input(chat, "{\"type\":\"object\"}");
}

static void check_completion(const cJSON *body)
{
    struct openai_request request;
    struct why why = {0};

    if (openai_request_read(body, &request, &why) == 0)
        check_chat(&request.chat);
    openai_request_finish(&request);
    why_finish(&why);
}

/* What is kept of a response can be continued: it is read again. */
static void check_response(const cJSON *body, const char *before)
{
    struct responses_request request;
    struct buf kept = {0};
    struct why why = {0};
    int status = responses_request_read(body, before, &request, &why);
    struct chat chat;

    if (status == 0) {
        status = chat_write_messages(request.messages, &kept, &why);
        check_outcome(status, &kept, &why);
        responses_request_instruct(&request, body);
        chat = responses_request_chat(&request);
        check_chat(&chat);
    } else {
        check_outcome(status, &kept, &why);
    }
    responses_request_finish(&request);
    buf_append(&kept, "", 1);
    if (status == 0 && before == NULL)
        check_response(body, buf_data(&kept));
    buf_finish(&kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    cJSON *body;

    if (size == 0 || json_check(text, size) < 0)
        return 0;
    if (body_read(text, size, &body) < 0)
        return 0;
    check_completion(body);
    check_response(body, NULL);
    cJSON_Delete(body);
    return 0;
}
