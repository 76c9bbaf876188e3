/*
 *     create ──► lookup of previous_response_id, if there is one ──► begin ──► start_run
 *
 * A response can be continued as long as its run is kept: the run's note has the messages that led
 * to it, and its log what the agent answered. Both are charged to the run's client.
 */
#include "api/responses.h"

#include "api/admission.h"
#include "api/api.h"
#include "api/lookup.h"
#include "api/openai.h"
#include "api/start.h"
#include "api/stream.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/config.h"
#include "http/request.h"
#include "protocol/body.h"
#include "protocol/chat_parts.h"
#include "protocol/openai.h"
#include "protocol/responses.h"
#include "protocol/responses_item.h"
#include "protocol/responses_request.h"
#include "run/runs.h"

#include <stdlib.h>
#include <string.h>

/* Maximum bytes of logs that are read for the references of one request. */
#define REFERENCES_ROOM (4u * 1024 * 1024)

static void refuse(struct http_request *request, unsigned status, const char *code,
                   const char *detail)
{
    problem_reply_with(request,
                       &(struct problem){.status = status, .code = code, .detail = detail});
}

/* ---- POST /v1/responses ---- */

/* Return the messages that led to the run's response, and that, as JSON for the caller to free. */
static char *turns_of(const struct run *run)
{
    const char *note = run_note(run);
    struct document document = {.truncated = false};
    struct buf messages = {0};

    document_recall(&document, DOCUMENT_CALLS, run_log(run), eventlog_last(run_log(run)));
    buf_append(&messages, note, strlen(note) - 1); /* without its bracket */
    buf_puts(&messages, ",");
    openai_append_message(&document, &messages);
    buf_puts(&messages, "]");
    document_finish(&document);
    return buf_steal(&messages);
}

/* Return the item that the reference names, of a run of this subject that is kept; else NULL. */
static cJSON *find_item(const struct api *api, const struct http_request *request, const char *id,
                        size_t *room)
{
    char run_id[RUN_ID_LENGTH + 1];
    const struct run *run = responses_item_run(id, run_id) ? runs_find(api->runs, run_id) : NULL;
    struct buf json = {0};
    cJSON *item = NULL;

    if (run == NULL || strcmp(run_subject(run), http_subject(request)) != 0 ||
        run_log(run)->start.sequence > 0 || eventlog_memory(run_log(run)) > *room)
        return NULL;
    *room -= eventlog_memory(run_log(run));
    if (responses_append_item(run_identity(run), run_log(run), id, &json))
        body_read(buf_data(&json), buf_length(&json), &item);
    buf_finish(&json);
    return item;
}

/*
 * Put items in the place of references to them; false, and why, if one is not kept. All together
 * read no more than REFERENCES_ROOM bytes of logs.
 */
static bool resolve(const struct api *api, const struct http_request *request, cJSON *body,
                    struct why *why)
{
    cJSON *input = cJSON_GetObjectItemCaseSensitive(body, "input"), *item, *next;
    size_t room = REFERENCES_ROOM;

    for (item = cJSON_IsArray(input) ? input->child : NULL; item; item = next) {
        const char *type = chat_string(item, "type"), *id = chat_string(item, "id");
        cJSON *whole;
        next = item->next;
        if (type == NULL || id == NULL || strcmp(type, "item_reference") != 0)
            continue;
        whole = find_item(api, request, id, &room);
        if (whole == NULL) {
            why_set(why, 0,
                    "input refers to the item '%.64s', which is no longer kept; send whole items "
                    "(store: false in most clients)",
                    id);
            return false;
        }
        cJSON_ReplaceItemViaPointer(input, item, whole);
    }
    return true;
}

/* Start the run that the body asks for, after the messages before; the start is finished. */
static void begin(const struct api *api, struct http_request *request, cJSON *body,
                  const char *before, struct start *start)
{
    struct responses_request wanted;
    struct responses_terms terms = {.from = 0};
    struct buf messages = {0};
    char *note = NULL;
    struct why why = {0};
    struct chat chat;
    int status;

    if (!resolve(api, request, body, &why)) {
        refuse(request, 404, "item_not_found", why_text(&why));
        start_finish(start);
        why_finish(&why);
        return;
    }
    status = responses_request_read(body, before, &wanted, &why);

    if (status == 0 && wanted.store)
        status = chat_write_messages(wanted.messages, &messages, &why);
    if (status == 0) {
        note = wanted.store ? buf_steal(&messages) : NULL;
        responses_request_instruct(&wanted, body);
        chat = responses_request_chat(&wanted);
        status = start_set_chat(start, &chat, &why);
    }
    if (status < 0) {
        problem_reply(request, 400, why_text(&why));
        start_finish(start);
    } else {
        terms.retrieved = wanted.background && !wanted.stream;
        start->wanted.thread = wanted.thread;
        start->wanted.note = note;
        start->wanted.form = (struct answer_form){.answer = wanted.stream     ? ANSWER_STREAM
                                                            : terms.retrieved ? ANSWER_NOW
                                                                              : ANSWER_WAIT,
                                                  .encoder = &encoder_responses,
                                                  .terms = &terms,
                                                  .terms_size = sizeof terms};
        start_run(api, request, start);
    }
    responses_request_finish(&wanted);
    buf_finish(&messages);
    free(note);
    why_finish(&why);
}

static void create(const struct api *api, struct http_request *request, const char *before)
{
    const struct buf *bytes = http_body(request);
    const char *background = NULL;
    char *model = openai_model(request);
    struct start start;
    cJSON *body;
    size_t length;

    if (bytes)
        json_member_find(buf_data(bytes), buf_length(bytes), "background", &background, &length);
    if (start_begin(api, request, model, "responses",
                    background && *background == 't' ? DISCONNECT_CONTINUE : DISCONNECT_CANCEL,
                    &start) &&
        (body = start_read_tree(request, &start))) {
        begin(api, request, body, before, &start);
        cJSON_Delete(body);
    }
    free(model);
}

static void refuse_previous(const struct lookup *lookup)
{
    refuse(lookup->request, 400, "previous_response_not_found",
           "previous_response_id names no response that is kept: ended runs are kept for "
           "host.retention; send the whole conversation as input");
}

static void go_on(const struct lookup *lookup, struct run *run)
{
    const char *note = run_note(run); /* a list, if it is of this protocol */
    char *before;

    if (note == NULL || *note != '[' || run_log(run)->start.sequence > 0) {
        refuse_previous(lookup);
        return;
    }
    if (!run_has_ended(run)) {
        refuse(lookup->request, 400, "previous_response_in_progress",
               "the response of previous_response_id is not complete; wait for its end");
        return;
    }
    before = turns_of(run);
    if (strlen(before) > lookup->api->config->max_body) {
        refuse(lookup->request, 400, "context_length_exceeded",
               "the conversation has more bytes than a body may have; begin a new one");
        free(before);
        return;
    }
    create(lookup->api, lookup->request, before);
    free(before);
}

void api_responses_create(const struct api *api, struct http_request *request,
                          const char *const *names)
{
    struct request_view view = start_view(request);
    struct buf previous = {0};
    struct lookup *lookup;
    const char *id;

    (void)names;
    if (request_check_body(&view) != ADMISSION_granted ||
        !json_member_text(buf_data(view.body), buf_length(view.body), "previous_response_id",
                          &previous)) {
        create(api, request, NULL);
        return;
    }
    buf_append(&previous, "", 1);
    id = responses_run_id(buf_data(&previous));
    lookup = lookup_create(api, request, go_on);
    lookup->none = refuse_previous;
    lookup_start(lookup, id ? id : "");
    buf_finish(&previous);
}

/* ---- /v1/responses/{id} ---- */

static void refuse_unknown(const struct lookup *lookup)
{
    refuse(lookup->request, 404, "not_found",
           "there is no such response, or it ended so long ago that it is forgotten");
}

static struct lookup *lookup_of(const struct api *api, struct http_request *request,
                                void (*then)(const struct lookup *lookup, struct run *run))
{
    struct lookup *lookup = lookup_create(api, request, then);

    lookup->none = refuse_unknown;
    return lookup;
}

static void find(struct lookup *lookup, const char *id)
{
    id = responses_run_id(id);
    lookup_start(lookup, id ? id : "");
}

static void answer_with(const struct lookup *lookup, struct run *run, enum run_answer answer)
{
    const struct responses_terms terms = {.retrieved = 1};
    const struct answer_form form = {.answer = answer,
                                     .encoder = &encoder_responses,
                                     .terms = &terms,
                                     .terms_size = sizeof terms};

    start_answer(lookup->api, lookup->request, run, &form, UINT64_MAX);
}

static void answer_now(const struct lookup *lookup, struct run *run)
{
    answer_with(lookup, run, ANSWER_NOW);
}

/* The frames of a response are numbered from the run's first event on. */
static void answer_stream(const struct lookup *lookup, struct run *run)
{
    const uint32_t *from = lookup->data;
    const struct responses_terms terms = {.from = *from, .retrieved = 1};
    const struct answer_form form = {.answer = ANSWER_STREAM,
                                     .encoder = &encoder_responses,
                                     .terms = &terms,
                                     .terms_size = sizeof terms};

    if (run_log(run)->start.sequence > 0) {
        refuse(lookup->request, 404, "no_longer_streamable",
               "the first events of the response are no longer kept; GET it without stream");
        return;
    }
    start_answer(lookup->api, lookup->request, run, &form,
                 responses_event_before(run_identity(run), run_log(run), *from));
}

void api_responses_show(const struct api *api, struct http_request *request,
                        const char *const *names)
{
    const char *stream = http_query(request, "stream");
    const char *after = http_query(request, "starting_after");
    unsigned number = 0;
    struct lookup *lookup;
    uint32_t *from;

    if (after && setting_number(after, 0, UINT32_MAX - 1, &number) < 0) {
        problem_reply(request, 400, "starting_after is the sequence_number of a frame");
        return;
    }
    if (stream == NULL || strcmp(stream, "true") != 0) {
        find(lookup_of(api, request, answer_now), names[0]);
        return;
    }
    from = mem_alloc(sizeof *from);
    *from = after ? number + 1 : 0;
    lookup = lookup_of(api, request, answer_stream);
    lookup->data = from;
    find(lookup, names[0]);
}

/* The status is `cancelled` once the run has stopped. */
static void cancel(const struct lookup *lookup, struct run *run)
{
    run_cancel(run);
    answer_with(lookup, run, run_has_ended(run) ? ANSWER_NOW : ANSWER_WAIT);
}

void api_responses_cancel(const struct api *api, struct http_request *request,
                          const char *const *names)
{
    find(lookup_of(api, request, cancel), names[0]);
}
