/*
 * The call's id and progress token are needed again when its stream is resumed: the run notes
 * them. A call is found by its session and id, which are the run's key of idempotency; so a
 * call that a client sends twice, since its connection broke, joins the first.
 */
#include "api/mcp_tools.h"

#include "api/api.h"
#include "api/lookup.h"
#include "api/mcp_exchange.h"
#include "api/question.h"
#include "api/start.h"
#include "api/stream.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/request.h"
#include "protocol/mcp.h"
#include "run/questions.h"
#include "run/runs.h"

#include <stdlib.h>
#include <string.h>

/* Tools in one answer to tools/list. */
#define PAGE 100

/* Before the last tool's name, in a cursor. */
#define CURSOR "after:"

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

void mcp_list_tools(const struct mcp_exchange *exchange)
{
    const struct registry *registry = exchange->api->registry;
    const char *cursor = exchange->message.cursor, *after = NULL;
    const struct deployment *deployment;
    struct buf body = {0};
    struct json_writer json;
    unsigned count = 0;

    if (*cursor && strncmp(cursor, CURSOR, strlen(CURSOR)) != 0) {
        mcp_refuse(exchange, 200, MCP_INVALID_PARAMS, "cursor must be a nextCursor of tools/list");
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
    json = mcp_open_result(exchange, &body);
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
    mcp_reply_result(exchange, &json);
}

/* ---- calls ---- */

/* Return false if the client takes a document only. */
static bool takes_stream(const struct http_request *request)
{
    const char *accept = http_header(request, "Accept");

    return accept == NULL || strcasestr(accept, "text/event-stream") || strstr(accept, "*/*") ||
           strcasestr(accept, "text/*") || !strcasestr(accept, "application/");
}

static struct answer_form form_of(const struct mcp_exchange *exchange, const struct buf *terms)
{
    unsigned both = MCP_LEGACY | MCP_ASKS;

    return (struct answer_form){
        .answer = takes_stream(exchange->request) ? ANSWER_STREAM : ANSWER_WAIT,
        .encoder = (exchange->flags & both) == MCP_ASKS ? &encoder_mcp_asks : &encoder_mcp,
        .terms = buf_data(terms),
        .terms_size = strlen(buf_data(terms))};
}

/* Make the terms, with a NUL after them. */
static struct buf terms_of(const struct mcp_exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    struct buf terms = {0};

    mcp_terms(&terms, exchange->flags, message->id.at, message->id.length, message->token.at,
              message->token.length);
    buf_append(&terms, "", 1);
    return terms;
}

/* Return the key of a call; to be freed. Clients' own keys have no such character. */
static char *key_of(const struct mcp_exchange *exchange, struct mcp_json id)
{
    return mem_printf("\1%s %.*s", exchange->session, (int)id.length, id.at);
}

/* A call that is live is joined; one with the id of another call is none that can be found. */
static char *set_key(const struct mcp_exchange *exchange, struct start *start)
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

static void start_call(const struct mcp_exchange *exchange)
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
void mcp_take_response(const struct mcp_exchange *exchange)
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

static void go_on_call(const struct mcp_exchange *exchange)
{
    const struct mcp_message *message = &exchange->message;
    struct position position;
    struct lookup *lookup;
    struct answer *answer;
    struct buf terms;

    if (position_read(message->state, &position) < 0) {
        mcp_refuse(exchange, 400, MCP_INVALID_PARAMS,
                   "requestState must be as this server gave it");
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
static bool check_params(const struct mcp_exchange *exchange)
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
        mcp_refuse(exchange, 400, MCP_HEADER_MISMATCH, why_text(&why));
    why_finish(&why);
    return fits;
}

void mcp_call_tool(const struct mcp_exchange *exchange)
{
    bool legacy = exchange->flags & MCP_LEGACY;

    if (!legacy && !check_params(exchange))
        return;
    if (*exchange->message.state && !legacy)
        go_on_call(exchange);
    else
        start_call(exchange);
}

/*
 * The notification does not say which tool was called. Its client must get no response: it has
 * forgotten the call. One that takes a document only gets it, since an answer needs a body.
 */
void mcp_cancel_call(const struct mcp_exchange *exchange)
{
    const struct registry *registry = exchange->api->registry;
    const char *subject = http_subject(exchange->request);
    char *key = key_of(exchange, exchange->message.cancelled);

    for (unsigned i = 0; i < registry_count(registry); i++) {
        const char *name = deployment_name(registry_deployment(registry, i));
        struct run *run = runs_find_key(exchange->api->runs, subject, name, key);
        if (run == NULL || run_has_ended(run))
            continue;
        streams_hush(exchange->api->streams, run, &encoder_mcp);
        run_empty_note(run);
        run_cancel(run);
    }
    free(key);
}
