/*
 * Two eras share the path. A request is of the modern one, 2026-07-28, if its _meta says a
 * version or its header a version since then: it is served alone, by what it says itself. All
 * others are of 2025-11-25 or older: initialize gives the client a session (mcp_session.h),
 * which later requests name.
 *
 * What follows a call in each of them:
 *
 *                        2025                                2026
 *     the client leaves  the run goes on for on_disconnect   the run is cancelled
 *     cancel             notifications/cancelled             leave
 *     resume             GET with Last-Event-ID: RUN.N       -
 *     a question         in the stream, answered by a POST   ends the answer; the call again with
 *                        of a response with the id RUN.N     requestState RUN.N and inputResponses
 */
#include "api/mcp.h"

#include "api/api.h"
#include "api/lookup.h"
#include "api/mcp_exchange.h"
#include "api/mcp_session.h"
#include "api/mcp_tools.h"
#include "api/start.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/config.h"
#include "http/request.h"
#include "protocol/mcp.h"
#include "protocol/mcp_request.h"
#include "run/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Clients of 2026 take the status for whether the server knows the method. */
static void refuse_method(const struct mcp_exchange *exchange)
{
    struct why why = {0};

    why_set(&why, 0, "there is no method '%s' here", exchange->message.method);
    mcp_refuse(exchange, exchange->flags & MCP_LEGACY ? 200 : 404, MCP_METHOD_NOT_FOUND,
               why_text(&why));
    why_finish(&why);
}

static void refuse_version(const struct mcp_exchange *exchange, const char *version)
{
    static const char *const versions[] = {MCP_VERSIONS};
    struct buf data = {0};
    struct json_writer json = {.out = &data};
    char *text;

    json_open(&json, NULL, '{');
    json_open(&json, "supported", '[');
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        json_text(&json, NULL, versions[i]);
    json_close(&json, ']');
    json_text(&json, "requested", version);
    json_close(&json, '}');
    text = buf_steal(&data);
    mcp_refuse_with(exchange, 400, MCP_UNSUPPORTED_VERSION, "Unsupported protocol version", text);
    free(text);
}

static void append_abilities(struct json_writer *json)
{
    json_open(json, "capabilities", '{');
    json_open(json, "tools", '{');
    json_close(json, '}');
    json_close(json, '}');
}

static void initialize(const struct mcp_exchange *exchange)
{
    const char *wanted = exchange->message.version;
    bool speaks = mcp_speaks(wanted) && strcmp(wanted, MCP_MODERN) < 0;
    const char *version = speaks ? wanted : MCP_PRIMING;
    unsigned flags = MCP_LEGACY | (strcmp(version, MCP_PRIMING) >= 0 ? MCP_PRIMES : 0) |
                     (exchange->message.asks ? MCP_ASKS : 0);
    char session[MCP_SESSION_LENGTH + 1];
    struct buf body = {0};
    struct json_writer json;

    if (mcp_session_make(http_subject(exchange->request), flags, session) < 0) {
        mcp_refuse(exchange, 500, MCP_INTERNAL_ERROR, "the server cannot make a session");
        return;
    }
    http_add_header(exchange->request, "Mcp-Session-Id", session);
    json = mcp_open_result(exchange, &body);
    json_text(&json, "protocolVersion", version);
    append_abilities(&json);
    buf_puts(&body, ",");
    mcp_server_info(&body, "serverInfo");
    mcp_reply_result(exchange, &json);
}

static void ping(const struct mcp_exchange *exchange)
{
    struct buf body = {0};
    struct json_writer json = mcp_open_result(exchange, &body);

    mcp_reply_result(exchange, &json);
}

static void discover(const struct mcp_exchange *exchange)
{
    static const char *const versions[] = {MCP_VERSIONS};
    struct buf body = {0};
    struct json_writer json = mcp_open_result(exchange, &body);

    json_open(&json, "supportedVersions", '[');
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        json_text(&json, NULL, versions[i]);
    json_close(&json, ']');
    append_abilities(&json);
    mcp_reply_result(exchange, &json);
}

/* ---- notifications ---- */

static void take_notification(const struct mcp_exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;

    if (exchange->session && message->cancelled.length > 0 &&
        strcmp(message->method, "notifications/cancelled") == 0)
        mcp_cancel_call(exchange);
    mcp_reply_accepted(exchange);
}

/* ---- which era, which method ---- */

#define LEGACY 1
#define MODERN 2

static const struct {
    const char *name;
    int eras;
    void (*handle)(const struct mcp_exchange *exchange);
} methods[] = {
    {"initialize", LEGACY, initialize},
    {"ping", LEGACY, ping},
    {"server/discover", MODERN, discover},
    {"tools/list", LEGACY | MODERN, mcp_list_tools},
    {"tools/call", LEGACY | MODERN, mcp_call_tool},
};

/* Find the session that the request names, if any. False if the request was answered. */
static bool find_session(struct mcp_exchange *exchange)
{
    const char *id = http_header(exchange->request, "Mcp-Session-Id");

    if (id == NULL || strcmp(exchange->message.method, "initialize") == 0)
        return true;
    if (!mcp_session_read(exchange->api->mcp_sessions, id, http_subject(exchange->request),
                          &exchange->flags)) {
        mcp_refuse(exchange, 404, MCP_INVALID_REQUEST,
                   "there is no such session; initialize a new one");
        return false;
    }
    exchange->flags |= MCP_LEGACY;
    exchange->session = id;
    return true;
}

static bool check_legacy(struct mcp_exchange *exchange, const char *version)
{
    exchange->flags = MCP_LEGACY;
    if (strcmp(exchange->message.method, "initialize") == 0)
        return true;
    if (version && !mcp_speaks(version)) {
        refuse_version(exchange, version);
        return false;
    }
    if (version && strcmp(version, MCP_PRIMING) >= 0)
        exchange->flags |= MCP_PRIMES;
    return find_session(exchange);
}

/* A header that repeats a member of the body must be there, and say the same. */
static bool check_header(const struct mcp_exchange *exchange, const char *name, const char *value)
{
    const char *header = http_header(exchange->request, name);
    struct why why = {0};

    if (header && mcp_header_is(header, value))
        return true;
    why_set(&why, 0,
            header ? "Header mismatch: %s does not say '%s', as the body does"
                   : "Header mismatch: the header %s is missing; it is '%s' in the body",
            name, value);
    mcp_refuse(exchange, 400, MCP_HEADER_MISMATCH, why_text(&why));
    why_finish(&why);
    return false;
}

static bool check_modern(struct mcp_exchange *exchange, const char *version)
{
    const struct mcp_message *message = &exchange->message;

    exchange->flags = message->asks ? MCP_ASKS : 0;
    if (message->kind != MCP_REQUEST)
        return true;
    if (message->modern && !check_header(exchange, "MCP-Protocol-Version", message->meta_version))
        return false;
    if (strcmp(version, MCP_MODERN) != 0) {
        refuse_version(exchange, version);
        return false;
    }
    if (!message->modern || !message->has_abilities) {
        mcp_refuse(
            exchange, 400, MCP_INVALID_PARAMS,
            "params._meta lacks io.modelcontextprotocol/protocolVersion or /clientCapabilities");
        return false;
    }
    return check_header(exchange, "Mcp-Method", message->method) &&
           (strcmp(message->method, "tools/call") != 0 ||
            check_header(exchange, "Mcp-Name", message->name));
}

static void handle_request(const struct mcp_exchange *exchange)
{
    const struct mcp_json *sent = &exchange->message.id;
    bool legacy = exchange->flags & MCP_LEGACY;
    char *id = mem_printf("%.*s", (int)sent->length, sent->at);
    int era = legacy ? LEGACY : MODERN;

    http_set_problem_shape(exchange->request, legacy ? &mcp_problems : &mcp_modern_problems, id);
    free(id);

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if ((methods[i].eras & era) && strcmp(methods[i].name, exchange->message.method) == 0) {
            methods[i].handle(exchange);
            return;
        }
    }
    refuse_method(exchange);
}

static void handle_message(struct mcp_exchange *exchange)
{
    const char *version = http_header(exchange->request, "MCP-Protocol-Version");
    bool modern = exchange->message.modern || (version && strcmp(version, MCP_MODERN) >= 0 &&
                                               strcmp(exchange->message.method, "initialize") != 0);

    if (modern ? !check_modern(exchange, version ? version : "") : !check_legacy(exchange, version))
        return;
    if (exchange->message.kind == MCP_REQUEST)
        handle_request(exchange);
    else if (exchange->message.kind == MCP_NOTIFICATION)
        take_notification(exchange);
    else if (!modern)
        mcp_take_response(exchange);
    else
        mcp_refuse(exchange, 400, MCP_INVALID_REQUEST,
                   "send requests and notifications, no responses");
}

void api_mcp_post(const struct api *api, struct http_request *request, const char *const *names)
{
    struct request_view view = start_view(request);
    enum admission refusal = request_check_body(&view);
    struct mcp_exchange exchange = {.api = api, .request = request};
    struct why why = {0};
    int status;

    (void)names;
    if (refusal != ADMISSION_granted) {
        admission_refuse(request, refusal,
                         &(struct admission_facts){.max_body = api->config->max_body});
        return;
    }
    status = mcp_read(buf_data(view.body), buf_length(view.body), &exchange.message, &why);
    if (status < 0)
        mcp_refuse(&exchange, 400, status == -EDOM ? MCP_INVALID_PARAMS : MCP_INVALID_REQUEST,
                   why_text(&why));
    else
        handle_message(&exchange);
    why_finish(&why);
}

/* ---- GET and DELETE ---- */

static void refuse_verb(const struct mcp_exchange *exchange, const char *message)
{
    http_add_header(exchange->request, "Allow", "POST");
    mcp_refuse(exchange, 405, MCP_INVALID_REQUEST, message);
}

/* Return true if the request is of an era with sessions, and set its own. */
static bool begin_verb(struct mcp_exchange *exchange, const char *message)
{
    const char *version = http_header(exchange->request, "MCP-Protocol-Version");

    exchange->flags = MCP_LEGACY;
    if (version && strcmp(version, MCP_MODERN) >= 0) {
        refuse_verb(exchange, message);
        return false;
    }
    return find_session(exchange);
}

/* After a 204, a client stops that asks for more of a run that has told all. */
static void resume(const struct lookup *lookup, struct run *run)
{
    struct answer_form form = lookup->form;
    struct request_view view = start_view(lookup->request);
    struct buf nothing = {0};
    uint64_t after = 0;
    enum admission refusal = request_read_after(&view, run, &after);
    const char *note = run_note(run);
    /* terms begin with their flags; "": the client has cancelled the call */
    bool is_ours = note && (!*note || (*note >= '0' && *note <= '9'));

    form.terms = note;
    form.terms_size = note ? strlen(note) : 0;
    if (refusal != ADMISSION_granted || !is_ours)
        problem_reply(lookup->request, 400, "Last-Event-ID is not an id of this server's streams");
    else if (!*note || (run_has_ended(run) && after == eventlog_last(run_log(run))))
        http_reply(lookup->request, 204, NULL, &nothing);
    else
        start_answer(lookup->api, lookup->request, run, &form, after);
}

static void no_stream(const struct lookup *lookup)
{
    problem_reply(lookup->request, 400,
                  "there is no such stream, or it ended so long ago that it is forgotten");
}

void api_mcp_get(const struct api *api, struct http_request *request, const char *const *names)
{
    static const char message[] = "this server sends nothing unless it is asked: POST; GET goes on "
                                  "with a stream of 2025-11-25, by Last-Event-ID";
    const char *event_id = http_header(request, "Last-Event-ID");
    struct mcp_exchange exchange = {.api = api, .request = request};
    struct position position;
    struct lookup *lookup;

    (void)names;
    if (!begin_verb(&exchange, message))
        return;
    if (event_id == NULL || strcmp(http_method(request), "GET") != 0) {
        refuse_verb(&exchange, message);
    } else if (position_read(event_id, &position) < 0) {
        mcp_refuse(&exchange, 400, MCP_INVALID_REQUEST,
                   "Last-Event-ID is not an id of this server's streams");
    } else {
        lookup = lookup_create(api, request, resume);
        lookup->none = no_stream;
        lookup->form = (struct answer_form){.answer = ANSWER_STREAM, .encoder = &encoder_mcp};
        lookup_start(lookup, position.run);
    }
}

void api_mcp_delete(const struct api *api, struct http_request *request, const char *const *names)
{
    static const char message[] = "there is no session to end";
    struct mcp_exchange exchange = {.api = api, .request = request};
    struct buf nothing = {0};

    (void)names;
    if (!begin_verb(&exchange, message))
        return;
    if (exchange.session == NULL) {
        refuse_verb(&exchange, message);
        return;
    }
    mcp_session_end(api->mcp_sessions, exchange.session);
    http_reply(request, 204, NULL, &nothing);
}
