#include "api/openai.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/start.h"
#include "base/json.h"
#include "base/json_writer.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/request.h"
#include "protocol/openai.h"
#include "protocol/openai_request.h"

#include <string.h>
#include <time.h>

/* ---- errors ---- */

/* The words that the official clients and apps know. */
static const char *code_of(const struct problem *problem)
{
    static const char *const models[] = {"no_such_agent", "protocol_is_off"};

    for (size_t i = 0; problem->code && i < sizeof models / sizeof *models; i++) {
        if (strcmp(problem->code, models[i]) == 0)
            return "model_not_found";
    }
    return problem->status == 401 ? "invalid_api_key" : problem->code;
}

static const char *type_of(unsigned status)
{
    return status == 429   ? "rate_limit_error"
           : status == 401 ? "authentication_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

static unsigned write_problem(const struct problem *problem, const char *id, struct buf *out)
{
    const char *code = code_of(problem);
    struct json_writer json = {.out = out};

    (void)id;
    json_open(&json, NULL, '{');
    json_open(&json, "error", '{');
    json_text(&json, "message", problem->detail);
    json_text(&json, "type", type_of(problem->status));
    json_raw(&json, "param", "null", strlen("null"));
    if (code)
        json_text(&json, "code", code);
    else
        json_raw(&json, "code", "null", strlen("null"));
    json_close(&json, '}');
    json_close(&json, '}');
    buf_puts(out, "\n");
    return problem->status;
}

const struct problem_shape openai_problems = {.content_type = "application/json",
                                              .write = write_problem};

/* ---- POST /v1/chat/completions ---- */

char *openai_model(struct http_request *request)
{
    const struct buf *body = http_body(request);
    struct buf model = {0};

    if (body)
        json_member_text(buf_data(body), buf_length(body), "model", &model);
    return buf_steal(&model);
}

/* Start the run that the body asks for; the start is finished. */
static void chat(const struct api *api, struct http_request *request, struct start *start)
{
    cJSON *body = start_read_tree(request, start);
    struct openai_request wanted;
    struct why why = {0};

    if (body == NULL)
        return;
    if (openai_request_read(body, &wanted, &why) < 0 ||
        start_set_chat(start, &wanted.chat, &why) < 0) {
        problem_reply(request, 400, why_text(&why));
        start_finish(start);
    } else {
        start->wanted.form =
            (struct answer_form){.answer = wanted.stream ? ANSWER_STREAM : ANSWER_WAIT,
                                 .encoder = &encoder_openai,
                                 .terms = &wanted.terms,
                                 .terms_size = sizeof wanted.terms};
        start_run(api, request, start);
    }
    openai_request_finish(&wanted);
    cJSON_Delete(body);
    why_finish(&why);
}

void api_openai_chat(const struct api *api, struct http_request *request, const char *const *names)
{
    char *model = openai_model(request);
    struct start start;

    (void)names;
    if (start_begin(api, request, model, "openai", DISCONNECT_CANCEL, &start))
        chat(api, request, &start);
    free(model);
}

/* ---- models ---- */

/* Return the generation that makes the agent a model, or NULL. */
static const struct generation *model_of(const struct deployment *deployment)
{
    const char *protocols = deployment_settings(deployment)->protocols;
    struct deployment_snapshot facts;

    if (!setting_has_word(protocols, "openai") && !setting_has_word(protocols, "responses"))
        return NULL;
    deployment_snapshot(deployment, &facts);
    return facts.serves ? facts.current : NULL;
}

static void write_model(const struct deployment *deployment, const struct generation *generation,
                        struct json_writer *json)
{
    struct generation_snapshot facts;

    generation_snapshot(generation, &facts);
    json_open(json, NULL, '{');
    json_text(json, "id", deployment_name(deployment));
    json_text(json, "object", "model");
    json_number(json, "created", (uint64_t)time(NULL) - facts.age_ms / 1000);
    json_text(json, "owned_by", "sluice");
    json_close(json, '}');
}

void api_openai_models(const struct api *api, struct http_request *request,
                       const char *const *names)
{
    struct buf body = {0};
    struct json_writer json = {.out = &body};

    (void)names;
    json_open(&json, NULL, '{');
    json_text(&json, "object", "list");
    json_open(&json, "data", '[');
    for (unsigned i = 0; i < registry_count(api->registry); i++) {
        const struct deployment *deployment = registry_deployment(api->registry, i);
        const struct generation *generation = model_of(deployment);
        if (generation)
            write_model(deployment, generation, &json);
    }
    json_close(&json, ']');
    json_close(&json, '}');
    buf_puts(&body, "\n");
    http_reply(request, 200, "application/json", &body);
}

void api_openai_model(const struct api *api, struct http_request *request, const char *const *names)
{
    const struct deployment *deployment = registry_find(api->registry, names[0]);
    const struct generation *generation = deployment ? model_of(deployment) : NULL;
    struct buf body = {0};
    struct json_writer json = {.out = &body};

    if (generation == NULL) {
        admission_refuse(request, ADMISSION_no_such_agent,
                         &(struct admission_facts){.agent = names[0]});
        return;
    }
    write_model(deployment, generation, &json);
    buf_puts(&body, "\n");
    http_reply(request, 200, "application/json", &body);
}
