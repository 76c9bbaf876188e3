/* The messages of clients of MCP, and what agents get of their answers. */
#include "../case.h"
#include "base/buf.h"
#include "base/why.h"
#include "protocol/mcp.h"
#include "protocol/mcp_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define META "io.modelcontextprotocol/"

static struct mcp_message message;
static struct why why;

static void expect_message(const char *json)
{
    ck_assert_msg(mcp_read(json, strlen(json), &message, &why) == 0, "%s: %s", json,
                  why_text(&why));
}

static void expect_refusal(const char *json, const char *words)
{
    ck_assert_int_eq(mcp_read(json, strlen(json), &message, &why), -EINVAL);
    ck_assert_msg(strstr(why_text(&why), words), "%s: %s", json, why_text(&why));
    why_finish(&why);
}

/* Read a request with these params; return the reason if they are refused, or "". */
static const char *params_refusal(const char *method, const char *params)
{
    static char reason[256];
    struct buf json = {0};
    int status;

    buf_printf(&json, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method,
               params);
    status = mcp_read(buf_data(&json), buf_length(&json), &message, &why);
    ck_assert_msg(status == 0 || status == -EDOM, "%s: %d", params, status);
    snprintf(reason, sizeof reason, "%s", why_text(&why));
    ck_assert_int_eq(status < 0, *reason != '\0');
    why_finish(&why);
    buf_finish(&json);
    return reason;
}

static void expect_bad_params(const char *method, const char *params, const char *words)
{
    const char *reason = params_refusal(method, params);

    ck_assert_msg(strstr(reason, words) && *reason, "%s: %s", params, reason);
}

static void expect_json(struct mcp_json value, const char *wanted)
{
    ck_assert_msg(value.length == strlen(wanted) && memcmp(value.at, wanted, value.length) == 0,
                  "%.*s is not %s", (int)value.length, value.at, wanted);
}

CASE(call)
{
    expect_message("\n{\"jsonrpc\":\"2.0\",\"id\":\"a\\\"\",\"method\":\"tools/call\",\"params\":{"
                   "\"name\":\"k\\u0069t\",\"arguments\":{\"n\":12345678901234567890, \"m\":[]},"
                   "\"_meta\":{\"progressToken\":-7}}}");
    ck_assert_int_eq(message.kind, MCP_REQUEST);
    ck_assert_str_eq(message.method, "tools/call");
    ck_assert_str_eq(message.name, "kit");
    expect_json(message.id, "\"a\\\"\"");
    expect_json(message.arguments, "{\"n\":12345678901234567890, \"m\":[]}");
    expect_json(message.token, "-7");
    ck_assert(!message.modern && !message.asks && !message.has_abilities);
}

CASE(other_messages)
{
    expect_message("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{"
                   "\"requestId\":5}}");
    ck_assert_int_eq(message.kind, MCP_NOTIFICATION);
    expect_json(message.cancelled, "5");
    expect_message("{\"result\":{\"action\":\"decline\"},\"id\":\"R.3\",\"jsonrpc\":\"2.0\"}");
    ck_assert_int_eq(message.kind, MCP_RESPONSE);
    expect_json(message.result, "{\"action\":\"decline\"}");
    expect_message("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"\"}}");
    ck_assert_int_eq(message.kind, MCP_RESPONSE);
    ck_assert_uint_eq(message.result.length, 0);
}

CASE(modern)
{
    expect_message("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
                   "\"a\",\"requestState\":\"R.3\",\"inputResponses\":{\"q1\":{}},\"_meta\":{"
                   "\"" META "protocolVersion\":\"2026-07-28\",\"" META
                   "clientCapabilities\":{\"elicitation\":{\"form\":{}}}}}}");
    ck_assert(message.modern && message.asks && message.has_abilities);
    ck_assert_str_eq(message.meta_version, "2026-07-28");
    ck_assert_str_eq(message.state, "R.3");
    expect_json(message.responses, "{\"q1\":{}}");
}

static bool asks(const char *abilities)
{
    struct buf json = {0};

    buf_printf(
        &json,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"capabilities\":"
        "%s,\"protocolVersion\":\"2025-11-25\"}}",
        abilities);
    ck_assert_int_eq(mcp_read(buf_data(&json), buf_length(&json), &message, &why), 0);
    ck_assert_str_eq(message.version, "2025-11-25");
    buf_finish(&json);
    return message.asks;
}

CASE(who_can_ask)
{
    ck_assert(asks("{\"elicitation\":{}}"));
    ck_assert(asks("{\"elicitation\":{\"form\":{}}}"));
    ck_assert(asks("{\"elicitation\":{\"url\":{},\"form\":{}}}"));
    ck_assert(!asks("{\"elicitation\":{\"url\":{}}}"));
    ck_assert(!asks("{\"elicitation\":true}"));
    ck_assert(!asks("{\"sampling\":{}}"));
    ck_assert(!asks("null"));
}

CASE(refusals)
{
    struct buf json = {0};

    expect_refusal("[]", "an object");
    expect_refusal("\"x\"", "an object");
    expect_refusal("{\"id\":1,\"method\":\"a\"}", "jsonrpc");
    expect_refusal("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"a\"}", "jsonrpc");
    expect_refusal("{\"jsonrpc\":2.0,\"id\":1,\"method\":\"a\"}", "jsonrpc");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":1}", "result or error");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"result\":1}", "result or error");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"a\"}", "id is");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"a\"}", "id is");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"a\"}", "id is");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":1}", "method is");
    expect_refusal("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":[]}", "params is");
    buf_puts(&json, "{\"jsonrpc\":\"2.0\",\"id\":\"");
    memset(buf_reserve(&json, MCP_ID_MAX), 'x', MCP_ID_MAX);
    buf_commit(&json, MCP_ID_MAX);
    buf_append(&json, "\",\"method\":\"a\"}", strlen("\",\"method\":\"a\"}") + 1);
    expect_refusal(buf_data(&json), "id has more than 256 bytes");
    buf_finish(&json);
}

/* A member of the wrong type must not count as absent. */
CASE(bad_params)
{
    static const char *const texts[][2] = {{"tools/call", "name"},
                                           {"tools/call", "requestState"},
                                           {"tools/list", "cursor"},
                                           {"initialize", "protocolVersion"}};
    static const char *const objects[] = {"arguments", "inputResponses", "capabilities", "_meta"};
    static const char *const meta[] = {"progressToken", META "protocolVersion",
                                       META "clientCapabilities"};
    static const char *const wrong[] = {"5", "true", "[]"};
    char params[128];

    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            snprintf(params, sizeof params, "{\"%s\":%s}", texts[i][1], wrong[w]);
            expect_bad_params(texts[i][0], params, texts[i][1]);
            ck_assert_str_eq(params_refusal("a", params), "");
        }
        for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
            snprintf(params, sizeof params, "{\"%s\":%s}", objects[i], wrong[w]);
            expect_bad_params("tools/call", params, objects[i]);
        }
        for (size_t i = w == 0; i < sizeof meta / sizeof *meta; i++) {
            snprintf(params, sizeof params, "{\"_meta\":{\"%s\":%s}}", meta[i], wrong[w]);
            expect_bad_params("tools/call", params, "is a");
        }
    }
    expect_bad_params("tools/call", "{\"name\":{}}", "name is");
    expect_bad_params("tools/call", "{\"name\":\"a\\u0000\"}", "NUL");
    expect_bad_params("tools/call", "{\"requestState\":\"\"}", "requestState");
    ck_assert_str_eq(params_refusal("tools/call",
                                    "{\"name\":null,\"requestState\":null,\"arguments\":null,"
                                    "\"inputResponses\":null,\"_meta\":null}"),
                     "");
    ck_assert_str_eq(message.state, "");
    ck_assert_uint_eq(message.arguments.length + message.responses.length, 0);
}

/* Numbers are not read, but sent back as they are written. */
CASE(numbers)
{
    static const char *const numbers[] = {"0",   "-5",      "1.0",
                                          "1e0", "-1.5E+3", "12345678901234567890"};
    char json[160];

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        snprintf(json, sizeof json,
                 "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"a\",\"params\":{\"_meta\":{"
                 "\"progressToken\":%s}}}",
                 numbers[i], numbers[i]);
        expect_message(json);
        expect_json(message.id, numbers[i]);
        expect_json(message.token, numbers[i]);
    }
}

CASE(versions)
{
    ck_assert(mcp_speaks("2026-07-28") && mcp_speaks("2025-03-26"));
    ck_assert(!mcp_speaks("") && !mcp_speaks("2024-11-05") && !mcp_speaks("2026-07-2"));
}

CASE(headers)
{
    ck_assert(mcp_header_is("kit", "kit") && mcp_header_is("", ""));
    ck_assert(mcp_header_is("=?base64?a2l0?=", "kit"));
    ck_assert(mcp_header_is("=?base64?a2k=?=", "ki") && mcp_header_is("=?base64?a2k?=", "ki"));
    ck_assert(mcp_header_is("=?base64?w6k=?=", "\xc3\xa9"));
    ck_assert(mcp_header_is("=?base64?"
                            "?=",
                            ""));
    ck_assert(!mcp_header_is("=?base64?a2l0?=", "=?base64?a2l0?="));
    ck_assert(!mcp_header_is("Kit", "kit") && !mcp_header_is("kit ", "kit"));
    ck_assert(!mcp_header_is("=?base64?a2l0dA==?=", "kit"));
    ck_assert(!mcp_header_is("=?base64?a2k=?=", "kit"));
    ck_assert(!mcp_header_is("=?base64?a2 l0?=", "kit"));
    ck_assert(!mcp_header_is("=?base64?=", ""));
}

static void expect_answer(const char *schema, const char *answer, const char *wanted)
{
    struct buf question = {0}, out = {0};

    buf_printf(&question, "{\"id\":\"q1\",\"message\":\"?\"%s}", schema);
    mcp_answer(buf_data(&question), buf_length(&question), answer, strlen(answer), &out);
    buf_append(&out, "", 1);
    ck_assert_str_eq(buf_data(&out), wanted);
    buf_finish(&out);
    buf_finish(&question);
}

CASE(answers)
{
    static const char form[] = ",\"schema\":{\"type\":\"object\"}";
    static const char value[] = ",\"schema\":{\"type\":\"boolean\"}";

    expect_answer(form, "{\"action\":\"accept\",\"content\":{\"a\":1.50}}", "{\"a\":1.50}");
    expect_answer(value, "{\"action\":\"accept\",\"content\":{\"answer\":true}}", "true");
    expect_answer("", "{\"action\":\"accept\",\"content\":{\"answer\":\"x\"}}", "\"x\"");
    expect_answer("", "{\"action\":\"accept\",\"content\":{\"a\":\"x\"}}", "null");
    expect_answer(form, "{\"action\":\"accept\"}", "null");
    expect_answer(form, "{\"action\":\"decline\",\"content\":{}}", "null");
    expect_answer(form, "{\"action\":\"cancel\"}", "null");
    expect_answer(form, "", "null");
    expect_answer(value, "[1]", "null");
}

static const char *header_of(void *data, const char *name)
{
    const char *const *headers = data; /* name and value in turn */

    while (*headers && strcmp(*headers, name) != 0)
        headers += 2;
    return *headers ? headers[1] : NULL;
}

static bool match(const char *arguments, const char *name, const char *value)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"x-mcp-header\":\"A\"},"
        "\"b\":{"
        "\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"x-mcp-header\":\"N\"},"
        "\"t\":{"
        "\"type\":\"boolean\",\"x-mcp-header\":\"T\"}}},\"c\":{\"type\":\"string\"}}}";
    const char *headers[] = {name, value, NULL};
    bool matches = mcp_params_match(schema, (struct mcp_json){arguments, strlen(arguments)},
                                    header_of, headers, &why);

    ck_assert_int_eq(matches, *why_text(&why) == '\0');
    why_finish(&why);
    return matches;
}

CASE(params)
{
    ck_assert(match("{\"a\":\"x\"}", "Mcp-Param-A", "x"));
    ck_assert(match("{\"a\":\"\xc3\xa9\"}", "Mcp-Param-A", "=?base64?w6k=?="));
    ck_assert(match("{\"c\":\"x\"}", NULL, NULL) && match("{\"a\":null}", NULL, NULL));
    ck_assert(match("{}", NULL, NULL) && match("", NULL, NULL));
    ck_assert(match("{\"b\":{\"n\":42}}", "Mcp-Param-N", "42.0"));
    ck_assert(match("{\"b\":{\"t\":true}}", "Mcp-Param-T", "true"));
    ck_assert(!match("{\"a\":\"x\"}", NULL, NULL));
    ck_assert(!match("{\"a\":\"x\"}", "Mcp-Param-A", "X"));
    ck_assert(!match("{\"b\":{\"n\":42}}", "Mcp-Param-N", "42x"));
    ck_assert(!match("{\"b\":{\"n\":42}}", "Mcp-Param-N", ""));
    ck_assert(!match("{\"b\":{\"n\":42}}", "Mcp-Param-N", "0x2a"));
    ck_assert(!match("{\"b\":{\"n\":42}}", "Mcp-Param-N", " 42"));
    ck_assert(!match("{\"b\":{\"t\":true}}", "Mcp-Param-T", "1"));
    ck_assert(!match("{\"b\":{\"t\":[]}}", "Mcp-Param-T", "[]"));
    ck_assert(!match("{\"a\":\"x\",\"c\":\"\\ud83d\"}", "Mcp-Param-A", "X"));
    ck_assert(match("{\"a\":\"x\",\"c\":\"\\ud83d\"}", "Mcp-Param-A", "x"));
    ck_assert(!match("{\"a\":\"x\\u0000y\"}", "Mcp-Param-A", "x"));
}
