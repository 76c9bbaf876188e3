#include "api/aisdk.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/question.h"
#include "api/start.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/answer.h"
#include "http/request.h"
#include "protocol/aisdk.h"
#include "protocol/aisdk_request.h"
#include "run/questions.h"
#include "run/runs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- problems ---- */

static unsigned write_problem(const struct problem *problem, const char *id, struct buf *out)
{
    (void)id;
    buf_puts(out, problem->detail);
    return problem->status;
}

const struct problem_shape aisdk_problems = {.content_type = "text/plain", .write = write_problem};

/* ---- POST ---- */

/* Go on with the run that has asked. */
static void go_on(const struct api *api, struct http_request *request, struct start *start,
                  const struct aisdk_request *wanted)
{
    char *json = wanted->answer ? cJSON_PrintUnformatted(wanted->answer) : NULL;

    question_answer(api, request, start->wanted.agent, wanted->question, json, &start->wanted.form);
    start_finish(start);
    free(json);
}

void api_aisdk(const struct api *api, struct http_request *request, const char *const *names)
{
    struct answer_form form = {.answer = ANSWER_STREAM, .encoder = &encoder_aisdk};
    struct aisdk_request wanted;
    struct buf terms = {0};
    struct start start;
    struct why why = {0};
    cJSON *body;

    if (!start_begin(api, request, names[0], "ai-sdk", DISCONNECT_CANCEL, &start))
        return;
    body = start_read_tree(request, &start);
    if (body == NULL)
        return;
    if (aisdk_request_read(body, &wanted, &why) < 0) {
        problem_reply(request, 400, why_text(&why));
        start_finish(&start);
    } else {
        aisdk_terms(0, wanted.message_id, &terms);
        form.terms = buf_data(&terms);
        form.terms_size = buf_length(&terms);
        start.wanted.form = form;
        if (wanted.question)
            go_on(api, request, &start, &wanted);
        else
            start_run_chat(api, request, &start, &wanted.chat);
    }
    aisdk_request_finish(&wanted);
    buf_finish(&terms);
    cJSON_Delete(body);
    why_finish(&why);
}

/* ---- GET ---- */

/* Return the number up to which no question of the run is open. */
static uint64_t answered_upto(const struct run *run)
{
    const struct question *open = run_question_next(run, NULL);

    return open ? open->sequence - 1 : eventlog_last(run_log(run));
}

/* Return the chat's live run. The path has each '/' of the chat's name as %2F (http/target.h). */
static struct run *find_chat(const struct api *api, const struct http_request *request,
                             const char *agent, const char *name)
{
    struct run *run = runs_find_thread(api->runs, http_subject(request), agent, name);
    struct buf chat = {0};

    for (const char *at = name; run == NULL && *at; at++) {
        bool is_slash = strncasecmp(at, "%2f", 3) == 0;
        buf_append(&chat, is_slash ? "/" : at, 1);
        at += is_slash ? 2 : 0;
    }
    if (buf_length(&chat) > 0) {
        buf_append(&chat, "", 1);
        run = runs_find_thread(api->runs, http_subject(request), agent, buf_data(&chat));
    }
    buf_finish(&chat);
    return run;
}

void api_aisdk_resume(const struct api *api, struct http_request *request, const char *const *names)
{
    struct answer_form form = {.answer = ANSWER_STREAM, .encoder = &encoder_aisdk};
    const struct deployment *deployment = registry_find(api->registry, names[0]);
    struct run *run = find_chat(api, request, names[0], names[1]);
    struct buf terms = {0}, nothing = {0};

    if (deployment && !setting_has_word(deployment_settings(deployment)->protocols, "ai-sdk")) {
        admission_refuse(request, ADMISSION_protocol_is_off,
                         &(struct admission_facts){.agent = names[0]});
        return;
    }
    if (run == NULL) {
        http_reply(request, 204, NULL, &nothing);
        return;
    }
    aisdk_terms(answered_upto(run), NULL, &terms);
    form.terms = buf_data(&terms);
    form.terms_size = buf_length(&terms);
    if (strcmp(http_method(request), "HEAD") == 0)
        http_reply(request, 200, form.encoder->content_type, &nothing);
    else
        start_answer(api, request, run, &form, 0);
    buf_finish(&terms);
}
