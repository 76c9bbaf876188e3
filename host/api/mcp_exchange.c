#include "api/mcp_exchange.h"

#include "base/json.h"
#include "http/request.h"
#include "protocol/mcp.h"

#include <string.h>

/* How long clients of 2026 may keep what they were told, in ms. */
#define FRESH "5000"

/* ---- errors ---- */

static void append_id(struct buf *out, const char *id, size_t length)
{
    buf_puts(out, "{\"jsonrpc\":\"2.0\"");
    if (length > 0) {
        buf_puts(out, ",\"id\":");
        buf_append(out, id, length);
    }
}

/* data: JSON, or NULL. */
static void append_error(struct buf *out, const char *id, size_t id_length, int code,
                         const char *message, const char *data)
{
    append_id(out, id, id_length);
    buf_printf(out, ",\"error\":{\"code\":%d,\"message\":", code);
    json_append_string(out, message);
    if (data) {
        buf_puts(out, ",\"data\":");
        buf_puts(out, data);
    }
    buf_puts(out, "}}\n");
}

/* An input that does not match is for the model to read, which may call again. */
static void append_bad_input(struct buf *out, const char *id, const char *detail, bool modern)
{
    append_id(out, id, strlen(id));
    buf_puts(out, ",\"result\":{");
    if (modern)
        buf_puts(out, "\"resultType\":\"complete\",");
    buf_puts(out, "\"content\":[{\"type\":\"text\",\"text\":");
    json_append_string(out, detail);
    buf_puts(out, "}],\"isError\":true");
    if (modern) {
        buf_puts(out, ",\"_meta\":{");
        mcp_server_info(out, "io.modelcontextprotocol/serverInfo");
        buf_puts(out, "}");
    }
    buf_puts(out, "}}\n");
}

static unsigned write_error(const struct problem *problem, const char *id, struct buf *out)
{
    const char *code = problem->code ? problem->code : "";
    unsigned status = problem->status;
    int number = status >= 500 || status == 429 ? MCP_INTERNAL_ERROR : MCP_INVALID_REQUEST;

    if (strcmp(code, "body_not_json") == 0)
        number = MCP_PARSE_ERROR;
    if (strcmp(code, "no_answer") == 0 && id) {
        number = MCP_INVALID_PARAMS;
        status = 200;
    }
    if (strcmp(code, "no_such_agent") == 0 || strcmp(code, "protocol_is_off") == 0) {
        number = MCP_INVALID_PARAMS;
        status = 200;
    }
    append_error(out, id, id ? strlen(id) : 0, number, problem->detail, NULL);
    return status;
}

static unsigned write_any(const struct problem *problem, const char *id, struct buf *out,
                          bool modern)
{
    if (problem->code == NULL || strcmp(problem->code, "bad_input") != 0 || id == NULL)
        return write_error(problem, id, out);
    append_bad_input(out, id, problem->detail, modern);
    return 200;
}

static unsigned write_problem(const struct problem *problem, const char *id, struct buf *out)
{
    return write_any(problem, id, out, false);
}

static unsigned write_modern_problem(const struct problem *problem, const char *id, struct buf *out)
{
    return write_any(problem, id, out, true);
}

const struct problem_shape mcp_problems = {.content_type = "application/json",
                                           .write = write_problem};
const struct problem_shape mcp_modern_problems = {.content_type = "application/json",
                                                  .write = write_modern_problem};

void mcp_refuse_with(const struct mcp_exchange *exchange, unsigned status, int code,
                     const char *message, const char *data)
{
    const struct mcp_json *id = &exchange->message.id;
    size_t id_length = exchange->message.kind == MCP_RESPONSE ? 0 : id->length;
    struct buf body = {0};

    append_error(&body, id->at, id_length, code, message, data);
    http_reply(exchange->request, status, "application/json", &body);
}

void mcp_refuse(const struct mcp_exchange *exchange, unsigned status, int code, const char *message)
{
    mcp_refuse_with(exchange, status, code, message, NULL);
}

/* ---- results ---- */

struct json_writer mcp_open_result(const struct mcp_exchange *exchange, struct buf *body)
{
    struct json_writer json = {.out = body};

    append_id(body, exchange->message.id.at, exchange->message.id.length);
    buf_puts(body, ",\"result\":");
    json_open(&json, NULL, '{');
    if (!(exchange->flags & MCP_LEGACY))
        json_text(&json, "resultType", "complete");
    return json;
}

/* What a client may keep is the same for all subjects. */
void mcp_reply_result(const struct mcp_exchange *exchange, struct json_writer *json)
{
    if (!(exchange->flags & MCP_LEGACY)) {
        json_raw(json, "ttlMs", FRESH, strlen(FRESH));
        json_text(json, "cacheScope", "public");
        json_open(json, "_meta", '{');
        mcp_server_info(json->out, "io.modelcontextprotocol/serverInfo");
        json_close(json, '}');
    }
    json_close(json, '}');
    buf_puts(json->out, "}\n");
    http_reply(exchange->request, 200, "application/json", json->out);
}

void mcp_reply_accepted(const struct mcp_exchange *exchange)
{
    struct buf nothing = {0};

    http_reply(exchange->request, 202, NULL, &nothing);
}
