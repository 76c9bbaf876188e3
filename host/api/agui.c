#include "api/agui.h"

#include "api/question.h"
#include "api/start.h"
#include "base/mem.h"
#include "config/config.h"
#include "http/problem.h"
#include "http/request.h"
#include "protocol/agui.h"
#include "protocol/agui_request.h"
#include "protocol/chat_parts.h"

#include <stdlib.h>
#include <string.h>

/* Go on with the run that has asked. */
static void go_on(const struct api *api, struct http_request *request, struct start *start,
                  const struct agui_request *wanted)
{
    const cJSON *payload = cJSON_GetObjectItemCaseSensitive(wanted->resume, "payload");
    const char *id = chat_string(wanted->resume, "interruptId");
    char *json = NULL;

    if (strcmp(chat_string(wanted->resume, "status"), "resolved") == 0)
        json = payload ? cJSON_PrintUnformatted(payload) : mem_strdup("null");
    question_answer(api, request, start->wanted.agent, id, json, &start->wanted.form);
    start_finish(start);
    free(json);
}

void api_agui(const struct api *api, struct http_request *request, const char *const *names)
{
    struct answer_form form = {.answer = ANSWER_STREAM, .encoder = &encoder_agui};
    struct agui_request wanted;
    struct buf terms = {0};
    struct start start;
    struct why why = {0};
    cJSON *body;

    if (!start_begin(api, request, names[0], "ag-ui", DISCONNECT_CANCEL, &start))
        return;
    body = start_read_tree(request, &start);
    if (body == NULL)
        return;
    if (agui_request_read(body, &wanted, &why) < 0) {
        problem_reply(request, 400, why_text(&why));
        start_finish(&start);
    } else {
        agui_terms(wanted.run, &terms);
        form.terms = buf_data(&terms);
        form.terms_size = buf_length(&terms);
        start.wanted.form = form;
        if (wanted.resume)
            go_on(api, request, &start, &wanted);
        else
            start_run_chat(api, request, &start, &wanted.chat);
    }
    buf_finish(&terms);
    cJSON_Delete(body);
    why_finish(&why);
}
