/*
 * Any bytes are a message of a client of MCP, a header, or an answer to a question. What is read
 * lies in the text.
 */
#include "fuzz.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/why.h"
#include "protocol/mcp.h"
#include "protocol/mcp_request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *header(void *data, const char *name)
{
    (void)name;
    return data;
}

static void check_slice(struct mcp_json value, const char *text, size_t length)
{
    if (value.length == 0)
        return;
    assert(value.at >= text && value.at + value.length <= text + length);
    assert(json_check(value.at, value.length) >= 0);
}

static void check_message(const char *text, size_t length)
{
    struct mcp_message message;
    struct why why = {0};

    if (mcp_read(text, length, &message, &why) == 0) {
        check_slice(message.id, text, length);
        check_slice(message.arguments, text, length);
        check_slice(message.token, text, length);
        check_slice(message.cancelled, text, length);
        check_slice(message.responses, text, length);
        check_slice(message.result, text, length);
        assert(message.id.length <= MCP_ID_MAX && message.token.length <= MCP_ID_MAX);
        mcp_params_match(text, message.arguments, header, message.name, &why);
    } else {
        assert(*why_text(&why));
    }
    why_finish(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    size_t length = strlen(text);
    struct buf answer = {0};

    mcp_header_is(text, "kit");
    mcp_header_is("=?base64?a2l0?=", text);
    mcp_answer(text, length, text, length, &answer);
    buf_finish(&answer);
    if (json_check(text, length) >= 0)
        check_message(text, length);
    free(text);
    return 0;
}
