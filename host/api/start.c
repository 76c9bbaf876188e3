#include "api/start.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/collect.h"
#include "api/stream.h"
#include "base/card.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/answer.h"
#include "http/problem.h"
#include "http/request.h"
#include "protocol/chat.h"
#include "run/runs.h"

#include <stdio.h>
#include <string.h>

static const char *on_header(void *data, const char *name)
{
    return http_header(data, name);
}

static const char *on_query(void *data, const char *name)
{
    return http_query(data, name);
}

struct request_view start_view(struct http_request *request)
{
    return (struct request_view){.header = on_header,
                                 .query = on_query,
                                 .data = request,
                                 .body = http_body(request),
                                 .subject = http_subject(request),
                                 .address = http_client_address(request)};
}

void start_reply_state(struct http_request *request, unsigned status, const struct run *run)
{
    struct buf body = {0};

    run_describe(run, &body);
    buf_puts(&body, "\n");
    http_reply(request, status, "application/json", &body);
}

void start_answer(const struct api *api, struct http_request *request, struct run *run,
                  const struct answer_form *form, uint64_t after)
{
    const char *const *headers = form->encoder->headers;
    char location[16 + RUN_ID_LENGTH];

    snprintf(location, sizeof location, "/runs/%s", run_id(run));
    http_add_header(request, "Location", location);
    if (headers)
        http_add_header(request, "x-request-id", run_id(run));
    for (; headers && *headers; headers += 2)
        http_add_header(request, headers[0], headers[1]);
    if (form->answer == ANSWER_WAIT)
        collect_open(api->collectors, request, run, form, after);
    else if (form->answer == ANSWER_NOW)
        collect_now(request, run, form);
    else if (form->answer == ANSWER_DETACH)
        start_reply_state(request, 202, run);
    else
        stream_open(api->streams, request, run, form, after);
}

void start_finish(struct start *start)
{
    buf_finish(&start->wanted.vars);
    buf_finish(&start->input);
}

/* reason may be NULL: it is why the agent does not serve. */
static void start_refuse(const struct api *api, struct http_request *request, struct start *start,
                         enum admission refusal, const char *reason)
{
    if (reason == NULL && start->deployment)
        reason = deployment_reason(start->deployment);
    admission_refuse(request, refusal,
                     &(struct admission_facts){.agent = start->wanted.agent,
                                               .reason = reason,
                                               .max_body = api->config->max_body});
    start_finish(start);
}

bool start_begin(const struct api *api, struct http_request *request, const char *agent,
                 const char *protocol, unsigned linger_s, struct start *start)
{
    const struct config_plugin *plugin = &api->config->plugin_defaults;
    enum admission refusal;

    *start = (struct start){.deployment = registry_find(api->registry, agent),
                            .protocol = protocol,
                            .view = start_view(request),
                            .wanted.agent = agent};
    if (start->deployment)
        plugin = deployment_settings(start->deployment);
    if (!setting_has_word(plugin->protocols, protocol)) {
        start_refuse(api, request, start, ADMISSION_protocol_is_off, NULL);
        return false;
    }
    if (linger_s == DISCONNECT_DEFAULT)
        linger_s = plugin->on_disconnect;
    refusal = request_read(&start->view, plugin, linger_s, &start->texts, &start->wanted);
    if (refusal == ADMISSION_granted)
        refusal = request_read_input(&start->view, api->config->forward_headers, &start->texts,
                                     &start->wanted);
    if (refusal != ADMISSION_granted)
        start_refuse(api, request, start, refusal, NULL);
    return refusal == ADMISSION_granted;
}

cJSON *start_read_tree(struct http_request *request, struct start *start)
{
    cJSON *tree = NULL;
    enum admission refusal = request_read_tree(start->view.body, &tree);

    if (refusal == ADMISSION_granted)
        return tree;
    admission_refuse(request, refusal, NULL);
    start_finish(start);
    return NULL;
}

int start_set_chat(struct start *start, const struct chat *chat, struct why *why)
{
    const struct card *card = start->deployment ? deployment_card(start->deployment) : NULL;
    cJSON *schema = card && card->input ? cJSON_Parse(json_schema_text(card->input)) : NULL;
    int status = chat_write(chat, schema, &start->input, why);

    cJSON_Delete(schema);
    return status;
}

void start_run_chat(const struct api *api, struct http_request *request, struct start *start,
                    const struct chat *chat)
{
    struct why why = {0};

    if (start_set_chat(start, chat, &why) < 0) {
        problem_reply(request, 400, why_text(&why));
        start_finish(start);
    } else {
        start->wanted.thread = chat->thread;
        start_run(api, request, start);
    }
    why_finish(&why);
}

/* Say to the agent how its client speaks. */
static void add_variables(struct start *start)
{
    struct run_request *wanted = &start->wanted;

    wire_append_pair(&wanted->vars, "request.protocol", start->protocol);
}

void start_run(const struct api *api, struct http_request *request, struct start *start)
{
    struct run_request *wanted = &start->wanted;
    struct run *run =
        wanted->key ? runs_find_key(api->runs, wanted->subject, wanted->agent, wanted->key) : NULL;
    enum admission refusal;
    struct why why = {0};

    if (buf_length(&start->input) > 0) {
        wanted->input = buf_data(&start->input);
        wanted->input_length = buf_length(&start->input);
    }
    if (run && memcmp(run_digest(run), wanted->digest, DIGEST_SIZE) == 0) {
        http_drop_body(request);
        start_answer(api, request, run, &wanted->form, 0);
        start_finish(start);
        return;
    }
    add_variables(start);
    refusal = run ? ADMISSION_key_reused : admission_check(api, start->deployment, wanted);
    if (refusal == ADMISSION_granted)
        refusal = admission_check_input(start->deployment, wanted, &why);
    if (refusal == ADMISSION_granted && run_create(api->runs, wanted, &run) < 0)
        refusal = ADMISSION_no_run_id;
    if (refusal != ADMISSION_granted) {
        start_refuse(api, request, start, refusal,
                     refusal == ADMISSION_bad_input ? why_text(&why) : NULL);
        why_finish(&why);
        return;
    }
    http_drop_body(request);
    deployment_submit(start->deployment, run);
    start_answer(api, request, run, &wanted->form, 0);
    run_unref(run);
    start_finish(start);
}
