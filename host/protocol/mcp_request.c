#include "protocol/mcp_request.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/why.h"
#include "protocol/body.h"
#include "protocol/mcp.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define META "io.modelcontextprotocol/"

static struct mcp_json member(struct mcp_json object, const char *name)
{
    struct mcp_json value = {"", 0};

    if (object.length > 0)
        json_member_find(object.at, object.length, name, &value.at, &value.length);
    return value;
}

static bool is_object(struct mcp_json value)
{
    return value.length > 0 && value.at[0] == '{';
}

static bool is_string(struct mcp_json value)
{
    return value.length > 0 && value.at[0] == '"';
}

static bool is_number(struct mcp_json value)
{
    return value.length > 0 && (value.at[0] == '-' || (value.at[0] >= '0' && value.at[0] <= '9'));
}

/* Return true if the member is absent, as it also is if it is null. */
static bool is_absent(struct mcp_json value)
{
    return value.length == 0 || value.at[0] == 'n';
}

/* Copy the member, if there is one; false if it is no string, too long or has a NUL. */
static bool read_text(struct mcp_json object, const char *name, char text[MCP_NAME_MAX])
{
    struct mcp_json found = member(object, name);
    struct buf value = {0};
    bool fits;

    if (!is_string(found))
        return is_absent(found);
    fits = json_member_text(object.at, object.length, name, &value) &&
           buf_length(&value) < MCP_NAME_MAX && !memchr(buf_data(&value), '\0', buf_length(&value));
    if (fits)
        memcpy(text, buf_data(&value), buf_length(&value));
    buf_finish(&value);
    return fits;
}

/* Find the member, if there is one; false if it is no object. */
static bool read_object(struct mcp_json object, const char *name, struct mcp_json *value)
{
    struct mcp_json found = member(object, name);

    if (is_object(found))
        *value = found;
    return is_object(found) || is_absent(found);
}

/* An ability of no kind means forms, as do clients that know no other kind. */
static bool can_ask(struct mcp_json abilities)
{
    struct mcp_json elicitation = member(abilities, "elicitation");

    return is_object(elicitation) &&
           (is_object(member(elicitation, "form")) || !is_object(member(elicitation, "url")));
}

/* Read what every request may have. */
static int read_meta(struct mcp_json meta, struct mcp_message *message, struct why *why)
{
    struct mcp_json abilities = {"", 0};

    message->token = member(meta, "progressToken");
    if (message->token.length > 0 && !is_string(message->token) && !is_number(message->token))
        return why_set(why, -EDOM, "progressToken is a string or a number");
    if (message->token.length > MCP_ID_MAX)
        return why_set(why, -EDOM, "progressToken has more than %u bytes", MCP_ID_MAX);
    message->modern = !is_absent(member(meta, META "protocolVersion"));
    if (!read_text(meta, META "protocolVersion", message->meta_version))
        return why_set(why, -EDOM, "protocolVersion in _meta is a short string");
    if (!read_object(meta, META "clientCapabilities", &abilities))
        return why_set(why, -EDOM, "clientCapabilities in _meta is an object");
    message->has_abilities = abilities.length > 0;
    message->asks = can_ask(abilities);
    return 0;
}

/* Read what requests of this method have. */
static int read_texts(struct mcp_json params, struct mcp_message *message, struct why *why)
{
    const struct {
        const char *method, *name;
        char *text;
    } texts[] = {
        {"initialize", "protocolVersion", message->version},
        {"tools/list", "cursor", message->cursor},
        {"tools/call", "name", message->name},
        {"tools/call", "requestState", message->state},
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].method, message->method) == 0 &&
            !read_text(params, texts[i].name, texts[i].text))
            return why_set(why, -EDOM, "%s is a string of less than %u bytes, and has no NUL",
                           texts[i].name, MCP_NAME_MAX);
    }
    if (*message->state == '\0' && is_string(member(params, "requestState")))
        return why_set(why, -EDOM, "requestState must be as this server gave it");
    return 0;
}

static int read_params(struct mcp_json params, struct mcp_message *message, struct why *why)
{
    struct mcp_json meta = {"", 0}, abilities = {"", 0};
    int status;

    if (!read_object(params, "_meta", &meta))
        return why_set(why, -EDOM, "_meta is an object");
    status = read_meta(meta, message, why);
    if (status < 0)
        return status;
    status = read_texts(params, message, why);
    if (status < 0)
        return status;
    message->cancelled = member(params, "requestId");
    if (!read_object(params, "arguments", &message->arguments) ||
        !read_object(params, "inputResponses", &message->responses) ||
        !read_object(params, "capabilities", &abilities))
        return why_set(why, -EDOM, "arguments, inputResponses and capabilities are objects");
    if (strcmp(message->method, "initialize") == 0)
        message->asks = can_ask(abilities);
    return 0;
}

static int read_id(struct mcp_json root, struct mcp_message *message, struct why *why)
{
    struct mcp_json id = member(root, "id");

    if (id.length > MCP_ID_MAX)
        return why_set(why, -EINVAL, "id has more than %u bytes", MCP_ID_MAX);
    if (id.length > 0 && !is_string(id) && !is_number(id))
        return why_set(why, -EINVAL, "id is a string or a number");
    message->id = id;
    return 0;
}

int mcp_read(const char *json, size_t length, struct mcp_message *message, struct why *why)
{
    struct mcp_json root = {json, length}, method, params;
    char version[MCP_NAME_MAX] = "";
    int status;

    memset(message, 0, sizeof *message);
    root.at += strspn(json, " \t\r\n");
    root.length -= (size_t)(root.at - json);
    if (!is_object(root))
        return why_set(why, -EINVAL, "send one JSON-RPC message, an object; batches are not taken");
    status = read_id(root, message, why);
    if (status < 0)
        return status;
    if (!read_text(root, "jsonrpc", version) || strcmp(version, "2.0") != 0)
        return why_set(why, -EINVAL, "jsonrpc is \"2.0\"");
    method = member(root, "method");
    params = member(root, "params");
    if (method.length == 0) {
        message->kind = MCP_RESPONSE;
        message->result = member(root, "result");
        if (message->id.length == 0 ||
            (message->result.length == 0 && member(root, "error").length == 0))
            return why_set(why, -EINVAL, "a message has a method, or an id and a result or error");
        return 0;
    }
    message->kind = message->id.length > 0 ? MCP_REQUEST : MCP_NOTIFICATION;
    if (!is_string(method) || !read_text(root, "method", message->method))
        return why_set(why, -EINVAL, "method is a short string");
    if (params.length > 0 && !is_object(params))
        return why_set(why, -EINVAL, "params is an object");
    return read_params(params, message, why);
}

bool mcp_speaks(const char *version)
{
    static const char *const versions[] = {MCP_VERSIONS};

    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (strcmp(versions[i], version) == 0)
            return true;
    }
    return false;
}

/* Return the value of a digit of base 64 (RFC 4648, 4), or -1. */
static int digit64(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Return true if the base 64 of this length means the value, padded or not. */
static bool base64_is(const char *text, size_t length, const char *value)
{
    size_t wanted = strlen(value), got = 0;
    unsigned bits = 0, have = 0;

    while (length > 0 && text[length - 1] == '=')
        length--;
    for (size_t i = 0; i < length; i++) {
        int digit = digit64(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (unsigned)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            if (got == wanted || (unsigned char)value[got++] != (bits >> have & 0xff))
                return false;
        }
    }
    return got == wanted;
}

bool mcp_header_is(const char *header, const char *value)
{
    static const char before[] = "=?base64?", after[] = "?=";
    size_t length = strlen(header), around = strlen(before) + strlen(after);

    if (length >= around && strncmp(header, before, strlen(before)) == 0 &&
        strcmp(header + length - strlen(after), after) == 0)
        return base64_is(header + strlen(before), length - around, value);
    return strcmp(header, value) == 0;
}

/* ---- headers that repeat arguments ---- */

#define PARAM "x-mcp-header"

struct params {
    const char *(*header)(void *data, const char *name);
    void *data;
    struct why *why;
};

/* Numbers are the same if their values are: 42.0 is 42. */
static bool says(const char *header, const cJSON *value)
{
    double number;
    char *end;

    if (cJSON_IsString(value))
        return mcp_header_is(header, value->valuestring);
    if (cJSON_IsBool(value))
        return strcmp(header, cJSON_IsTrue(value) ? "true" : "false") == 0;
    return body_number(value, &number) && *header &&
           header[strspn(header, "-.0123456789eE")] == '\0' && strtod(header, &end) == number &&
           *end == '\0';
}

static bool param_matches(const struct params *params, const char *name, const cJSON *value)
{
    char field[MCP_NAME_MAX];
    const char *header;

    snprintf(field, sizeof field, "Mcp-Param-%s", name);
    header = params->header(params->data, field);
    if (value == NULL || cJSON_IsNull(value) || (header && says(header, value)))
        return true;
    why_set(params->why, 0, "Header mismatch: the header %s %s", field,
            header ? "does not say what the argument does" : "is missing");
    return false;
}

/* Only properties of properties are looked at, as the specification has it. */
static bool object_matches(const struct params *params, const cJSON *schema, const cJSON *value)
{
    const cJSON *property, *name;

    cJSON_ArrayForEach(property, cJSON_GetObjectItemCaseSensitive(schema, "properties")) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(value, property->string);
        name = cJSON_GetObjectItemCaseSensitive(property, PARAM);
        if (cJSON_IsString(name) && !param_matches(params, name->valuestring, item))
            return false;
        if (!object_matches(params, property, item))
            return false;
    }
    return true;
}

bool mcp_params_match(const char *schema, struct mcp_json arguments,
                      const char *(*header)(void *data, const char *name), void *data,
                      struct why *why)
{
    const struct params params = {header, data, why};
    cJSON *tree, *value = NULL;
    bool matches;

    if (strstr(schema, "\"" PARAM "\"") == NULL)
        return true;
    if (arguments.length > 0 && body_read(arguments.at, arguments.length, &value) < 0) {
        why_set(why, 0, "Header mismatch: no header can repeat arguments with U+0000");
        return false;
    }
    tree = cJSON_Parse(schema);
    matches = object_matches(&params, tree, value);
    cJSON_Delete(value);
    cJSON_Delete(tree);
    return matches;
}
