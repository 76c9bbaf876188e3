#include "api/question.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/lookup.h"
#include "api/request.h"
#include "api/start.h"
#include "base/mem.h"
#include "base/why.h"
#include "http/request.h"
#include "run/questions.h"
#include "run/run.h"

#include <errno.h>
#include <string.h>

/* What waits until the run is found. */
struct wanted {
    uint64_t sequence; /* of the question's event */
    bool is_cancel;
    size_t terms_size, json_length;
    char bytes[]; /* the terms, then the JSON */
};

static void refuse_unknown(const struct lookup *lookup)
{
    admission_refuse(lookup->request, ADMISSION_no_open_question, NULL);
}

static enum admission give(const struct api *api, struct run *run, const struct question *question,
                           const char *json, size_t length)
{
    enum admission size;

    if (question == NULL)
        return ADMISSION_no_open_question;
    size = admission_check_size(length);
    if (size != ADMISSION_granted)
        return size;
    switch (run_answer(run, question->id, json, length)) {
    case 0:
        return ADMISSION_granted;
    case -EINVAL:
        return ADMISSION_no_answer;
    case -EAGAIN:
        return ADMISSION_inputs_pending;
    case -EDQUOT:
        return admission_no_room(api);
    default:
        return ADMISSION_no_open_question;
    }
}

bool question_give(const struct api *api, struct http_request *request, struct run *run,
                   const struct question *question, const char *json, size_t length)
{
    enum admission refusal = give(api, run, question, json, length);
    struct why why = {0};

    if (refusal == ADMISSION_granted)
        return true;
    if (refusal == ADMISSION_no_answer)
        run_question_check(question, json, length, &why);
    admission_refuse(request, refusal,
                     &(struct admission_facts){.question = question ? question->id : NULL,
                                               .reason = why_text(&why)});
    why_finish(&why);
    return false;
}

static void answer(const struct lookup *lookup, struct run *run)
{
    const struct wanted *wanted = lookup->data;
    const struct question *question = run_question_at(run, wanted->sequence);
    struct answer_form form = lookup->form;

    if (strcmp(run_agent_name(run), lookup->name) != 0)
        question = NULL;
    if (question && wanted->is_cancel)
        run_cancel(run);
    else if (!question_give(lookup->api, lookup->request, run, question,
                            wanted->bytes + wanted->terms_size, wanted->json_length))
        return;
    form.terms = wanted->terms_size > 0 ? wanted->bytes : NULL;
    form.terms_size = wanted->terms_size;
    start_answer(lookup->api, lookup->request, run, &form, wanted->sequence);
}

void question_answer(const struct api *api, struct http_request *request, const char *agent,
                     const char *id, const char *json, const struct answer_form *form)
{
    size_t terms_size = form->terms ? form->terms_size : 0, length = json ? strlen(json) : 0;
    struct position position;
    struct wanted *wanted;
    struct lookup *lookup;

    if (position_read(id, &position) < 0) {
        admission_refuse(request, ADMISSION_no_open_question, NULL);
        return;
    }
    wanted = mem_alloc(sizeof *wanted + terms_size + length);
    wanted->sequence = position.after;
    wanted->is_cancel = json == NULL;
    wanted->terms_size = terms_size;
    wanted->json_length = length;
    if (terms_size > 0)
        memcpy(wanted->bytes, form->terms, terms_size);
    if (length > 0)
        memcpy(wanted->bytes + terms_size, json, length);
    lookup = lookup_create(api, request, answer);
    lookup->none = refuse_unknown;
    lookup->form = *form;
    lookup->name = mem_strdup(agent);
    lookup->data = wanted;
    http_drop_body(request);
    lookup_start(lookup, position.run);
}
