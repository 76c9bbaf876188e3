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
 *
 * The call's id and progress token are needed again when its stream is resumed: the run notes
 * them. A call is found by its session and id, which are the run's key of idempotency; so a
 * call that a client sends twice, since its connection broke, joins the first.
 *
 * Errors of the transport have an HTTP status of their own; what is wrong with the call itself
 * is status 200 and an error of JSON-RPC, or a result that the model can read.
 */
#include "api/mcp.h"

#include "api/api.h"
#include "api/lookup.h"
#include "api/mcp_session.h"
#include "api/question.h"
#include "api/start.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/request.h"
#include "protocol/mcp.h"
#include "protocol/mcp_request.h"
#include "run/questions.h"
#include "run/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of JSON-RPC 2.0, then of MCP. */
#define PARSE_ERROR         (-32700)
#define INVALID_REQUEST     (-32600)
#define METHOD_NOT_FOUND    (-32601)
#define INVALID_PARAMS      (-32602)
#define INTERNAL_ERROR      (-32603)
#define HEADER_MISMATCH     (-32020)
#define UNSUPPORTED_VERSION (-32022)

/* Tools in one answer to tools/list. */
#define PAGE 100

/* Before the last tool's name, in a cursor. */
#define CURSOR "after:"

/* How long clients of 2026 may keep what they were told, in ms. */
#define FRESH "5000"

/* A message, and what is known of its client. */
struct exchange {
    const struct api *api;
    struct http_request *request;
    struct mcp_message message;
    unsigned flags;      /* MCP_... of protocol/mcp.h */
    const char *session; /* the id; NULL: none */
};

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
static void append_bad_input(struct buf *out, const char *id, const char *detail)
{
    append_id(out, id, strlen(id));
    buf_puts(out,
             ",\"result\":{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":");
    json_append_string(out, detail);
    buf_puts(out, "}],\"isError\":true}}\n");
}

static unsigned write_problem(const struct problem *problem, const char *id, struct buf *out)
{
    const char *code = problem->code ? problem->code : "";
    unsigned status = problem->status;
    int number = status >= 500 || status == 429 ? INTERNAL_ERROR : INVALID_REQUEST;

    if (strcmp(code, "bad_input") == 0 && id) {
        append_bad_input(out, id, problem->detail);
        return 200;
    }
    if (strcmp(code, "body_not_json") == 0)
        number = PARSE_ERROR;
    if (strcmp(code, "no_answer") == 0 && id) {
        number = INVALID_PARAMS;
        status = 200;
    }
    if (strcmp(code, "no_such_agent") == 0 || strcmp(code, "protocol_is_off") == 0) {
        number = INVALID_PARAMS;
        status = 200;
    }
    append_error(out, id, id ? strlen(id) : 0, number, problem->detail, NULL);
    return status;
}

const struct problem_shape api_mcp_problems = {.content_type = "application/json",
                                               .write = write_problem};

static void refuse_with(const struct exchange *exchange, unsigned status, int code,
                        const char *message, const char *data)
{
    const struct mcp_json *id = &exchange->message.id;
    size_t id_length = exchange->message.kind == MCP_RESPONSE ? 0 : id->length;
    struct buf body = {0};

    append_error(&body, id->at, id_length, code, message, data);
    http_reply(exchange->request, status, "application/json", &body);
}

static void refuse(const struct exchange *exchange, unsigned status, int code, const char *message)
{
    refuse_with(exchange, status, code, message, NULL);
}

/* Clients of 2026 take the status for whether the server knows the method. */
static void refuse_method(const struct exchange *exchange)
{
    struct why why = {0};

    why_set(&why, 0, "there is no method '%s' here", exchange->message.method);
    refuse(exchange, exchange->flags & MCP_LEGACY ? 200 : 404, METHOD_NOT_FOUND, why_text(&why));
    why_finish(&why);
}

static void refuse_version(const struct exchange *exchange, const char *version)
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
    refuse_with(exchange, 400, UNSUPPORTED_VERSION, "Unsupported protocol version", text);
    free(text);
}

/* ---- results ---- */

static struct json_writer open_result(const struct exchange *exchange, struct buf *body)
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
static void reply_result(const struct exchange *exchange, struct json_writer *json)
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

static void reply_accepted(const struct exchange *exchange)
{
    struct buf nothing = {0};

    http_reply(exchange->request, 202, NULL, &nothing);
}

static void append_abilities(struct json_writer *json)
{
    json_open(json, "capabilities", '{');
    json_open(json, "tools", '{');
    json_close(json, '}');
    json_close(json, '}');
}

static void initialize(const struct exchange *exchange)
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
        refuse(exchange, 500, INTERNAL_ERROR, "the server cannot make a session");
        return;
    }
    http_add_header(exchange->request, "Mcp-Session-Id", session);
    json = open_result(exchange, &body);
    json_text(&json, "protocolVersion", version);
    append_abilities(&json);
    buf_puts(&body, ",");
    mcp_server_info(&body, "serverInfo");
    reply_result(exchange, &json);
}

static void ping(const struct exchange *exchange)
{
    struct buf body = {0};
    struct json_writer json = open_result(exchange, &body);

    reply_result(exchange, &json);
}

static void discover(const struct exchange *exchange)
{
    static const char *const versions[] = {MCP_VERSIONS};
    struct buf body = {0};
    struct json_writer json = open_result(exchange, &body);

    json_open(&json, "supportedVersions", '[');
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        json_text(&json, NULL, versions[i]);
    json_close(&json, ']');
    append_abilities(&json);
    reply_result(exchange, &json);
}

/* ---- tools ---- */

static bool is_tool(const struct deployment *deployment, struct deployment_snapshot *shot)
{
    deployment_snapshot(deployment, shot);
    return shot->serves && shot->current &&
           setting_has_word(deployment_settings(deployment)->protocols, "mcp");
}

/* Return the tool with the first name after this one, or NULL; names come in their order. */
static const struct deployment *next_tool(const struct registry *registry, const char *after)
{
    const struct deployment *next = NULL;

    for (unsigned i = 0; i < registry_count(registry); i++) {
        const struct deployment *deployment = registry_deployment(registry, i);
        const char *name = deployment_name(deployment);
        struct deployment_snapshot shot;
        if ((after == NULL || strcmp(name, after) > 0) &&
            (next == NULL || strcmp(name, deployment_name(next)) < 0) && is_tool(deployment, &shot))
            next = deployment;
    }
    return next;
}

static void append_schema(struct json_writer *json, const char *name, const char *schema)
{
    json_raw(json, name, schema, strlen(schema));
}

static void append_tool(const struct deployment *deployment, struct json_writer *json)
{
    const struct card *card = deployment_card(deployment);
    struct generation_snapshot current;
    struct deployment_snapshot shot;

    deployment_snapshot(deployment, &shot);
    generation_snapshot(shot.current, &current);
    json_open(json, NULL, '{');
    json_text(json, "name", shot.name);
    json_text(json, "title", card->title);
    if (*current.description)
        json_text(json, "description", current.description);
    append_schema(json, "inputSchema",
                  card->input ? json_schema_text(card->input) : "{\"type\":\"object\"}");
    if (card->output)
        append_schema(json, "outputSchema", json_schema_text(card->output));
    json_close(json, '}');
}

static void list_tools(const struct exchange *exchange)
{
    const struct registry *registry = exchange->api->registry;
    const char *cursor = exchange->message.cursor, *after = NULL;
    const struct deployment *deployment;
    struct buf body = {0};
    struct json_writer json;
    unsigned count = 0;

    if (*cursor && strncmp(cursor, CURSOR, strlen(CURSOR)) != 0) {
        refuse(exchange, 200, INVALID_PARAMS, "cursor is not one that tools/list gave");
        return;
    }
    if (next_tool(registry, NULL) == NULL && !registry_is_settled(registry)) {
        problem_reply_busy(
            exchange->request,
            &(struct problem){.status = 503, .detail = "the server is still starting its plugins"});
        return;
    }
    if (*cursor)
        after = cursor + strlen(CURSOR);
    json = open_result(exchange, &body);
    json_open(&json, "tools", '[');
    while ((deployment = next_tool(registry, after)) && count++ < PAGE) {
        append_tool(deployment, &json);
        after = deployment_name(deployment);
    }
    json_close(&json, ']');
    if (deployment) {
        char *next = mem_printf(CURSOR "%s", after);
        json_text(&json, "nextCursor", next);
        free(next);
    }
    reply_result(exchange, &json);
}

/* ---- calls ---- */

/* Return false if the client takes a document only. */
static bool takes_stream(const struct http_request *request)
{
    const char *accept = http_header(request, "Accept");

    return accept == NULL || strcasestr(accept, "text/event-stream") || strstr(accept, "*/*") ||
           strcasestr(accept, "text/*") || !strcasestr(accept, "application/");
}

static struct answer_form form_of(const struct exchange *exchange, const struct buf *terms)
{
    unsigned both = MCP_LEGACY | MCP_ASKS;

    return (struct answer_form){
        .answer = takes_stream(exchange->request) ? ANSWER_STREAM : ANSWER_WAIT,
        .encoder = (exchange->flags & both) == MCP_ASKS ? &encoder_mcp_asks : &encoder_mcp,
        .terms = buf_data(terms),
        .terms_size = strlen(buf_data(terms))};
}

/* Make the terms, with a NUL after them. */
static struct buf terms_of(const struct exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    struct buf terms = {0};

    mcp_terms(&terms, exchange->flags, message->id.at, message->id.length, message->token.at,
              message->token.length);
    buf_append(&terms, "", 1);
    return terms;
}

/* Return the key of a call; to be freed. Clients' own keys have no such character. */
static char *key_of(const struct exchange *exchange, struct mcp_json id)
{
    return mem_printf("\1%s %.*s", exchange->session, (int)id.length, id.at);
}

/* A call that is live is joined; one with the id of another call is none that can be found. */
static char *set_key(const struct exchange *exchange, struct start *start)
{
    char *key = key_of(exchange, exchange->message.id);
    const struct run *run =
        runs_find_key(exchange->api->runs, start->wanted.subject, start->wanted.agent, key);

    digest_make(buf_data(&start->input), buf_length(&start->input), start->texts.digest);
    if (run == NULL ||
        (!run_has_ended(run) && memcmp(run_digest(run), start->texts.digest, DIGEST_SIZE) == 0)) {
        start->wanted.key = key;
        start->wanted.digest = start->texts.digest;
    }
    return key;
}

static void start_call(const struct exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    unsigned linger = exchange->flags & MCP_LEGACY ? DISCONNECT_DEFAULT : DISCONNECT_CANCEL;
    struct buf terms;
    struct start start;
    char *key = NULL;

    if (!start_begin(exchange->api, exchange->request, message->name, "mcp", linger, &start))
        return;
    if (message->arguments.length > 0)
        buf_append(&start.input, message->arguments.at, message->arguments.length);
    else
        buf_puts(&start.input, "{}");
    if (exchange->session && start.wanted.key == NULL)
        key = set_key(exchange, &start);
    terms = terms_of(exchange);
    start.wanted.note = buf_data(&terms);
    start.wanted.form = form_of(exchange, &terms);
    start_run(exchange->api, exchange->request, &start);
    buf_finish(&terms);
    free(key);
}

/* ---- questions ---- */

/* What must live until the run is found; texts follow. */
struct answer {
    uint64_t asked;       /* the number of the question's event */
    struct mcp_json json; /* the client's answers */
    char texts[];
};

static struct answer *answer_create(uint64_t asked, struct mcp_json json, const struct buf *terms)
{
    size_t terms_size = terms ? buf_length(terms) : 0;
    struct answer *answer = mem_alloc(sizeof *answer + terms_size + json.length);

    answer->asked = asked;
    if (terms_size > 0)
        memcpy(answer->texts, buf_data(terms), terms_size);
    if (json.length > 0)
        memcpy(answer->texts + terms_size, json.at, json.length);
    answer->json = (struct mcp_json){answer->texts + terms_size, json.length};
    return answer;
}

/*
 * Hand the client's answer to the agent; null if the person declined, or, if the question's
 * schema does not take that, cancel the run. False if the request was refused.
 */
static bool give_answer(const struct lookup *lookup, struct run *run,
                        const struct question *question, struct mcp_json json)
{
    struct buf content = {0};
    struct why why = {0};
    bool given = true;

    if (!mcp_answer(question->json, question->length, json.at, json.length, &content) &&
        run_question_check(question, buf_data(&content), buf_length(&content), &why) < 0)
        run_cancel(run);
    else
        given = question_give(lookup->api, lookup->request, run, question, buf_data(&content),
                              buf_length(&content));
    why_finish(&why);
    buf_finish(&content);
    return given;
}

static void on_answered(const struct lookup *lookup, struct run *run)
{
    const struct answer *answer = lookup->data;
    const struct question *question = run_question_at(run, answer->asked);
    struct buf nothing = {0};

    if (question == NULL)
        admission_refuse(lookup->request, ADMISSION_no_open_question, NULL);
    else if (give_answer(lookup, run, question, answer->json))
        http_reply(lookup->request, 202, NULL, &nothing);
}

static void no_question(const struct lookup *lookup)
{
    admission_refuse(lookup->request, ADMISSION_no_open_question, NULL);
}

/* The client's response to elicitation/create. */
static void take_response(const struct exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    struct position position;
    struct lookup *lookup;
    char id[MCP_ID_MAX];

    if (message->id.at[0] != '"' || message->id.length >= sizeof id)
        id[0] = '\0';
    else {
        memcpy(id, message->id.at + 1, message->id.length - 2);
        id[message->id.length - 2] = '\0';
    }
    if (position_read(id, &position) < 0) {
        admission_refuse(exchange->request, ADMISSION_no_open_question, NULL);
        return;
    }
    lookup = lookup_create(exchange->api, exchange->request, on_answered);
    lookup->none = no_question;
    lookup->data = answer_create(position.after, message->result, NULL);
    http_drop_body(exchange->request);
    lookup_start(lookup, position.run);
}

/* Answer what the run asked last, and read on; ask once more if the client has not answered. */
static void go_on(const struct lookup *lookup, struct run *run)
{
    const struct answer *answer = lookup->data;
    const struct question *question = run_question_at(run, answer->asked);
    struct mcp_json given = {"", 0};
    uint64_t after = answer->asked;

    if (strcmp(run_agent_name(run), lookup->name) != 0 || after > eventlog_last(run_log(run))) {
        problem_reply(lookup->request, 400, "requestState is not of a call of this tool");
        return;
    }
    if (question)
        json_member_find(answer->json.at, answer->json.length, question->id, &given.at,
                         &given.length);
    if (question && given.length > 0 && !give_answer(lookup, run, question, given))
        return;
    if (question && given.length == 0)
        after--;
    start_answer(lookup->api, lookup->request, run, &lookup->form, after);
}

static void no_call(const struct lookup *lookup)
{
    problem_reply(lookup->request, 400, "requestState is of no call that is known here; call anew");
}

static void go_on_call(const struct exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    struct position position;
    struct lookup *lookup;
    struct answer *answer;
    struct buf terms;

    if (position_read(message->state, &position) < 0) {
        refuse(exchange, 400, INVALID_PARAMS, "requestState is not one that this server gave");
        return;
    }
    terms = terms_of(exchange);
    answer = answer_create(position.after, message->responses, &terms);
    lookup = lookup_create(exchange->api, exchange->request, go_on);
    lookup->none = no_call;
    lookup->name = mem_strdup(message->name);
    lookup->data = answer;
    lookup->form = form_of(exchange, &terms);
    lookup->form.terms = answer->texts;
    buf_finish(&terms);
    http_drop_body(exchange->request);
    lookup_start(lookup, position.run);
}

static const char *on_header(void *data, const char *name)
{
    return http_header(data, name);
}

/* The agent may want headers that repeat some of its input, for proxies to read. */
static bool check_params(const struct exchange *exchange)
{
    const struct deployment *deployment =
        registry_find(exchange->api->registry, exchange->message.name);
    const struct card *card = deployment ? deployment_card(deployment) : NULL;
    struct why why = {0};
    bool fits = true;

    if (card && card->input)
        fits = mcp_params_match(json_schema_text(card->input), exchange->message.arguments,
                                on_header, exchange->request, &why);
    if (!fits)
        refuse(exchange, 400, HEADER_MISMATCH, why_text(&why));
    why_finish(&why);
    return fits;
}

static void call_tool(const struct exchange *exchange)
{
    bool legacy = exchange->flags & MCP_LEGACY;

    if (!legacy && !check_params(exchange))
        return;
    if (*exchange->message.state && !legacy)
        go_on_call(exchange);
    else
        start_call(exchange);
}

/* ---- notifications ---- */

/* The notification does not say which tool was called. */
static void cancel_call(const struct exchange *exchange)
{
    const struct registry *registry = exchange->api->registry;
    const char *subject = http_subject(exchange->request);
    char *key = key_of(exchange, exchange->message.cancelled);

    for (unsigned i = 0; i < registry_count(registry); i++) {
        const char *name = deployment_name(registry_deployment(registry, i));
        struct run *run = runs_find_key(exchange->api->runs, subject, name, key);
        if (run)
            run_cancel(run);
    }
    free(key);
}

static void take_notification(const struct exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;

    if (exchange->session && message->cancelled.length > 0 &&
        strcmp(message->method, "notifications/cancelled") == 0)
        cancel_call(exchange);
    reply_accepted(exchange);
}

/* ---- which era, which method ---- */

#define LEGACY 1
#define MODERN 2

static const struct {
    const char *name;
    int eras;
    void (*handle)(const struct exchange *exchange);
} methods[] = {
    {"initialize", LEGACY, initialize},         {"ping", LEGACY, ping},
    {"server/discover", MODERN, discover},      {"tools/list", LEGACY | MODERN, list_tools},
    {"tools/call", LEGACY | MODERN, call_tool},
};

/* Find the session that the request names, if any. False if the request was answered. */
static bool find_session(struct exchange *exchange)
{
    const char *id = http_header(exchange->request, "Mcp-Session-Id");

    if (id == NULL || strcmp(exchange->message.method, "initialize") == 0)
        return true;
    if (!mcp_session_read(exchange->api->mcp_sessions, id, http_subject(exchange->request),
                          &exchange->flags)) {
        refuse(exchange, 404, INVALID_REQUEST, "there is no such session; initialize a new one");
        return false;
    }
    exchange->flags |= MCP_LEGACY;
    exchange->session = id;
    return true;
}

static bool check_legacy(struct exchange *exchange, const char *version)
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
static bool check_header(const struct exchange *exchange, const char *name, const char *value)
{
    const char *header = http_header(exchange->request, name);
    struct why why = {0};

    if (header && mcp_header_is(header, value))
        return true;
    why_set(&why, 0,
            header ? "Header mismatch: %s does not say '%s', as the body does"
                   : "Header mismatch: the header %s is missing; it is '%s' in the body",
            name, value);
    refuse(exchange, 400, HEADER_MISMATCH, why_text(&why));
    why_finish(&why);
    return false;
}

static bool check_modern(struct exchange *exchange, const char *version)
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
        refuse(exchange, 400, INVALID_PARAMS,
               "params._meta lacks io.modelcontextprotocol/protocolVersion or /clientCapabilities");
        return false;
    }
    return check_header(exchange, "Mcp-Method", message->method) &&
           (strcmp(message->method, "tools/call") != 0 ||
            check_header(exchange, "Mcp-Name", message->name));
}

static void handle_request(const struct exchange *exchange)
{
    int era = exchange->flags & MCP_LEGACY ? LEGACY : MODERN;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if ((methods[i].eras & era) && strcmp(methods[i].name, exchange->message.method) == 0) {
            methods[i].handle(exchange);
            return;
        }
    }
    refuse_method(exchange);
}

static void handle_message(struct exchange *exchange)
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
        take_response(exchange);
    else
        refuse(exchange, 400, INVALID_REQUEST, "send requests and notifications, no responses");
}

void api_mcp_post(const struct api *api, struct http_request *request, const char *const *names)
{
    struct request_view view = start_view(request);
    enum admission refusal = request_check_body(&view);
    struct exchange exchange = {.api = api, .request = request};
    struct why why = {0};
    char *id;
    int status;

    (void)names;
    if (refusal != ADMISSION_granted) {
        admission_refuse(request, refusal,
                         &(struct admission_facts){.max_body = api->config->max_body});
        return;
    }
    status = mcp_read(buf_data(view.body), buf_length(view.body), &exchange.message, &why);
    if (exchange.message.id.length > 0 && exchange.message.kind == MCP_REQUEST) {
        id = mem_printf("%.*s", (int)exchange.message.id.length, exchange.message.id.at);
        http_set_problem_shape(request, &api_mcp_problems, id);
        free(id);
    }
    if (status < 0)
        refuse(&exchange, 400, INVALID_REQUEST, why_text(&why));
    else
        handle_message(&exchange);
    why_finish(&why);
}

/* ---- GET and DELETE ---- */

static void refuse_verb(const struct exchange *exchange, const char *message)
{
    http_add_header(exchange->request, "Allow", "POST");
    refuse(exchange, 405, INVALID_REQUEST, message);
}

/* Return true if the request is of an era with sessions, and set its own. */
static bool begin_verb(struct exchange *exchange, const char *message)
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
    bool is_ours = note && *note >= '0' && *note <= '9'; /* terms begin with their flags */

    form.terms = note;
    form.terms_size = note ? strlen(note) : 0;
    if (refusal != ADMISSION_granted || !is_ours)
        problem_reply(lookup->request, 400, "Last-Event-ID is not an id of this server's streams");
    else if (run_has_ended(run) && after == eventlog_last(run_log(run)))
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
    struct exchange exchange = {.api = api, .request = request};
    struct position position;
    struct lookup *lookup;

    (void)names;
    if (!begin_verb(&exchange, message))
        return;
    if (event_id == NULL || strcmp(http_method(request), "GET") != 0) {
        refuse_verb(&exchange, message);
    } else if (position_read(event_id, &position) < 0) {
        refuse(&exchange, 400, INVALID_REQUEST,
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
    struct exchange exchange = {.api = api, .request = request};
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
