/*
 * A POST that names an event (Last-Event-ID) is answered from the run that there is; any
 * other starts a run (start.h), unless it repeats a key.
 */
#include "api/runs.h"

#include "api/api.h"
#include "api/lookup.h"
#include "api/start.h"
#include "api/stream.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/config.h"
#include "http/answer.h"
#include "http/request.h"
#include "protocol/encoders.h"
#include "protocol/native.h"
#include "run/questions.h"
#include "run/runs.h"

#include <errno.h>
#include <string.h>

/* ---- POST /agents/{agent}/runs ---- */

/*
 * Clients that repeat their POST differ in what ends that: an empty stream for some
 * (fetch-event-source takes 204 for an error), 204 for the others, which would ask for ever.
 * So the first to ask after the end gets the stream, and later ones 204. That answer may be lost,
 * or there may be two clients of the first kind: the stream comes again, ever more rarely, for
 * those of the other kind back off while they get 204, and begin anew after a stream.
 */
static void read_on(const struct lookup *lookup, struct run *run)
{
    struct request_view view = start_view(lookup->request);
    enum admission refusal = ADMISSION_event_of_other_agent;
    uint64_t after = 0;

    if (strcmp(run_agent_name(run), lookup->name) == 0)
        refusal = request_read_after(&view, run, &after);
    if (refusal == ADMISSION_granted && lookup->form.answer == ANSWER_STREAM &&
        run_has_ended(run) && after == eventlog_last(run_log(run)) && !run_tell_end(run))
        http_reply(lookup->request, 204, NULL, &(struct buf){0});
    else if (refusal == ADMISSION_granted)
        start_answer(lookup->api, lookup->request, run, &lookup->form, after);
    else
        admission_refuse(
            lookup->request, refusal,
            &(struct admission_facts){.event = after, .last = eventlog_last(run_log(run))});
}

/* A client that was cut may send its request once more: it reads on, and starts no second run. */
static void resume(const struct api *api, struct http_request *request, const char *id,
                   const char *agent, const struct answer_form *form)
{
    struct position position;
    struct lookup *lookup;

    if (position_read(id, &position) < 0) {
        admission_refuse(request, ADMISSION_bad_event_id, NULL);
        return;
    }
    lookup = lookup_create(api, request, read_on);
    lookup->name = mem_strdup(agent);
    lookup->form = *form;
    http_drop_body(request);
    lookup_start(lookup, position.run);
}

void api_runs_start(const struct api *api, struct http_request *request, const char *const *names)
{
    struct request_view view = start_view(request);
    const char *event_id = request_event_id(&view);
    struct answer_form form = {.answer = ANSWER_STREAM};
    enum admission refusal = request_read_form(&view, &form);
    struct start start;

    if (refusal != ADMISSION_granted) {
        admission_refuse(request, refusal, NULL);
    } else if (event_id) {
        resume(api, request, event_id, names[0], &form);
    } else if (start_begin(api, request, names[0], "native",
                           form.answer == ANSWER_DETACH ? DISCONNECT_CONTINUE : DISCONNECT_DEFAULT,
                           &start)) {
        start.wanted.form = form;
        start_run(api, request, &start);
    }
}

/* ---- /runs/{id} ---- */

static void show(const struct lookup *lookup, struct run *run)
{
    start_reply_state(lookup->request, 200, run);
}

void api_runs_show(const struct api *api, struct http_request *request, const char *const *names)
{
    lookup_start(lookup_create(api, request, show), names[0]);
}

/* After a 204, a browser's EventSource stops reconnecting. */
static void read_events(const struct lookup *lookup, struct run *run)
{
    struct http_request *request = lookup->request;
    struct request_view view = start_view(request);
    struct buf nothing = {0};
    uint64_t after = 0;
    enum admission refusal = request_read_after(&view, run, &after);

    if (refusal != ADMISSION_granted)
        admission_refuse(
            request, refusal,
            &(struct admission_facts){.event = after, .last = eventlog_last(run_log(run))});
    else if (run_has_ended(run) && after == eventlog_last(run_log(run)))
        http_reply(request, 204, NULL, &nothing);
    else if (strcmp(http_method(request), "HEAD") == 0)
        http_reply(request, 200, lookup->form.encoder->content_type, &nothing);
    else
        stream_open(lookup->api->streams, request, run, &lookup->form, after);
}

/* as=message, which the form has already, is of the protocol native. */
static enum admission choose_encoder(const char *protocol, struct answer_form *form)
{
    const struct encoder *encoder = encoder_find(protocol);
    bool as_message = form->encoder == &encoder_message;

    if (encoder == NULL)
        return ADMISSION_bad_protocol;
    if (as_message && encoder != &encoder_native && encoder != &encoder_message)
        return ADMISSION_as_with_protocol;
    if (!as_message)
        form->encoder = encoder;
    return ADMISSION_granted;
}

void api_runs_events(const struct api *api, struct http_request *request, const char *const *names)
{
    const char *protocol = http_query(request, "protocol");
    struct request_view view = start_view(request);
    struct answer_form form = {.answer = ANSWER_STREAM};
    enum admission refusal = request_read_form(&view, &form);
    struct lookup *lookup;

    if (refusal == ADMISSION_granted && protocol)
        refusal = choose_encoder(protocol, &form);
    if (refusal != ADMISSION_granted) {
        admission_refuse(request, refusal, NULL);
        return;
    }
    lookup = lookup_create(api, request, read_events);
    lookup->form = form;
    lookup_start(lookup, names[0]);
}

static void cancel(const struct lookup *lookup, struct run *run)
{
    run_cancel(run);
    start_reply_state(lookup->request, run_has_ended(run) ? 200 : 202, run);
}

void api_runs_cancel(const struct api *api, struct http_request *request, const char *const *names)
{
    lookup_start(lookup_create(api, request, cancel), names[0]);
}

/* Say why the run does not take what a client says. */
static enum admission input_refusal(const struct lookup *lookup, const struct run *run, int status)
{
    switch (status) {
    case 0:
        return ADMISSION_granted;
    case -EINVAL:
        return ADMISSION_no_answer;
    case -ENOENT:
        return ADMISSION_no_such_question;
    case -EALREADY:
        return ADMISSION_question_closed;
    case -EBUSY:
        return ADMISSION_question_is_open;
    case -EAGAIN:
        return ADMISSION_inputs_pending;
    case -EDQUOT:
        return admission_no_room(lookup->api);
    default:
        return run_has_ended(run) ? ADMISSION_run_has_ended : ADMISSION_run_is_queued;
    }
}

static void give_input(const struct lookup *lookup, struct run *run)
{
    struct request_view view = start_view(lookup->request);
    const char *question = http_query(lookup->request, "question");
    enum admission refusal = request_check_body(&view);
    struct why why = {0};

    if (refusal == ADMISSION_granted)
        refusal = admission_check_size(buf_length(view.body));
    if (refusal == ADMISSION_granted)
        refusal = input_refusal(
            lookup, run,
            question ? run_answer(run, question, buf_data(view.body), buf_length(view.body))
                     : run_give_input(run, buf_data(view.body), buf_length(view.body)));
    if (refusal == ADMISSION_no_answer)
        run_question_check(run_question_find(run, question), buf_data(view.body),
                           buf_length(view.body), &why);
    if (refusal == ADMISSION_question_is_open)
        question = run_question_next(run, NULL)->id;
    if (refusal == ADMISSION_granted)
        start_reply_state(lookup->request, 202, run);
    else
        admission_refuse(lookup->request, refusal,
                         &(struct admission_facts){.question = question,
                                                   .reason = why_text(&why),
                                                   .max_body = lookup->api->config->max_body});
    why_finish(&why);
}

void api_runs_input(const struct api *api, struct http_request *request, const char *const *names)
{
    lookup_start(lookup_create(api, request, give_input), names[0]);
}
