#include "api/a2a.h"

#include "api/a2a_problem.h"
#include "api/api.h"
#include "api/collect.h"
#include "api/lookup.h"
#include "api/start.h"
#include "api/stream.h"
#include "base/json.h"
#include "base/mem.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/answer.h"
#include "http/request.h"
#include "protocol/chat.h"
#include "run/questions.h"
#include "run/runs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A page of a list ends after about this many bytes of what is written, or read for it. */
#define LIST_SIZE (1024u * 1024)
#define LIST_READ (16u * 1024 * 1024)

/* A method that a client has called. */
struct call {
    const struct api *api;
    struct http_request *request;
    const char *agent;
    enum a2a_method method;
    size_t terms_size;
    unsigned char terms[1 + A2A_ID_MAX]; /* protocol/a2a.h */
};

/* What of a call is kept until its task is found. */
struct wish {
    struct call call; /* its agent is the lookup's name */
    bool at_once;
    char context[A2A_CONTEXT_MAX + 1]; /* "": none */
    char question[QUESTION_ID_MAX + 1];
    size_t length;
    char said[]; /* JSON of this length */
};

/* The terms of a call over REST; of one over JSON-RPC if it has an id. */
static void set_terms(struct call *call, const char *id)
{
    call->terms[0] = A2A_TERMS | (id ? A2A_RPC : 0);
    call->terms_size = 1 + (id ? strlen(id) : 0);
    memcpy(call->terms + 1, id ? id : "", call->terms_size - 1);
}

/* The form holds as long as the call does. */
static struct answer_form form_of(const struct call *call, enum run_answer answer)
{
    return (struct answer_form){.answer = answer,
                                .encoder =
                                    call->terms[0] & A2A_RPC ? &encoder_a2a_rpc : &encoder_a2a,
                                .terms = call->terms,
                                .terms_size = call->terms_size};
}

static enum run_answer answer_of(const struct call *call, bool at_once)
{
    return call->method == A2A_SendStreamingMessage ? ANSWER_STREAM
           : at_once                                ? ANSWER_NOW
                                                    : ANSWER_WAIT;
}

/* ---- tasks that are there ---- */

/* Stream the task as it is after the event of this number, then its events. */
static void stream_from(struct call *call, struct run *run, uint64_t after)
{
    struct answer_form form = form_of(call, ANSWER_STREAM);
    const struct encoding encoding = {
        .run = run_identity(run), .terms = form.terms, .terms_size = form.terms_size};
    struct document document = {.truncated = false};
    struct buf first = {0};
    struct a2a_status status;

    collect_read(run, 0, after, &document);
    document.waits &= call->method == A2A_SubscribeToTask; /* else it was just told something */
    status = a2a_status(&document);
    a2a_task_frame(&encoding, &status, &document, &first);
    document_finish(&document);
    if (!run_take_memory(run, buf_length(&first))) {
        buf_finish(&first);
        admission_refuse(call->request, admission_no_room(call->api), NULL);
        return;
    }
    call->terms[0] |= A2A_GIVEN;
    form.first = &first;
    start_answer(call->api, call->request, run, &form, after);
}

static void get_task(struct call *call, struct run *run)
{
    struct answer_form form = form_of(call, ANSWER_NOW);

    start_answer(call->api, call->request, run, &form, 0);
}

/* The answer is the task as it ends: an agent may take a while to stop, but not forever. */
static void cancel_task(struct call *call, struct run *run)
{
    struct answer_form form = form_of(call, ANSWER_WAIT);

    if (run_has_ended(run)) {
        a2a_problem_reply(call->request, A2A_task_not_cancelable, "the task has ended");
        return;
    }
    run_cancel(run);
    start_answer(call->api, call->request, run, &form, eventlog_last(run_log(run)));
}

static void subscribe_to_task(struct call *call, struct run *run)
{
    if (run_has_ended(run))
        a2a_problem_reply(call->request, A2A_unsupported_operation,
                          "the task has ended; GetTask returns it");
    else
        stream_from(call, run, eventlog_last(run_log(run)));
}

/*
 * Whoever can only say text answers a question for an object by the text of one: replace the
 * string by the JSON that it has, if that is an answer.
 */
static bool read_again(struct wish *wish, const struct question *question)
{
    struct why why = {0};
    size_t length;
    char *text;
    bool fits;

    if (wish->said[0] != '"')
        return false;
    text = mem_alloc(wish->length);
    length = json_unescape(text, wish->said + 1, wish->length - 2);
    fits = json_check(text, length) > 0 && run_question_check(question, text, length, &why) == 0;
    if (fits) {
        memcpy(wish->said, text, length);
        wish->length = length;
    }
    free(text);
    why_finish(&why);
    return fits;
}

/*
 * Give the run what the client said; *after is the number of the event that this follows, why
 * says why it is no answer.
 */
static enum admission give(struct wish *wish, struct run *run, uint64_t *after, struct why *why)
{
    const struct question *question =
        *wish->question ? run_question_find(run, wish->question) : run_question_next(run, NULL);
    const struct question *next;
    enum admission size = admission_check_size(wish->length);
    int status;

    if (size != ADMISSION_granted)
        return size;
    if (question == NULL && *wish->question)
        return ADMISSION_no_open_question;
    if (question && run_question_check(question, wish->said, wish->length, why) < 0 &&
        !read_again(wish, question))
        return ADMISSION_no_answer;
    *after = question ? question->sequence : eventlog_last(run_log(run));
    status = question ? run_answer(run, question->id, wish->said, wish->length)
                      : run_give_input(run, wish->said, wish->length);
    if (status == -EAGAIN)
        return ADMISSION_inputs_pending;
    if (status == -EDQUOT)
        return admission_no_room(wish->call.api);
    if (status < 0)
        return run_has_ended(run) ? ADMISSION_run_has_ended : ADMISSION_run_is_queued;
    next = run_question_next(run, NULL);
    if (next && next->sequence <= *after) /* asked before, and still open */
        *after = next->sequence - 1;
    return ADMISSION_granted;
}

static void continue_task(struct wish *wish, struct run *run)
{
    struct call *call = &wish->call;
    struct answer_form form = form_of(call, answer_of(call, wish->at_once));
    enum admission refusal;
    struct why why = {0};
    uint64_t after = 0;

    if (*wish->context && strcmp(wish->context, a2a_context(run_identity(run))) != 0) {
        a2a_problem_reply(call->request, A2A_invalid_params,
                          "message.contextId is not that of the task");
        return;
    }
    if (run_has_ended(run)) {
        a2a_problem_reply(call->request, A2A_unsupported_operation,
                          "the task has ended; a message without taskId begins another");
        return;
    }
    refusal = give(wish, run, &after, &why);
    if (refusal != ADMISSION_granted)
        admission_refuse(call->request, refusal,
                         &(struct admission_facts){.question = *wish->question
                                                                   ? wish->question
                                                                   : "that is open for longest",
                                                   .reason = why_text(&why)});
    else if (form.answer == ANSWER_STREAM)
        stream_from(call, run, after);
    else
        start_answer(call->api, call->request, run, &form, after);
    why_finish(&why);
}

static void no_task(const struct lookup *lookup)
{
    a2a_problem_reply(lookup->request, A2A_task_not_found,
                      "there is no such task, or it ended so long ago that it is forgotten");
}

static void found_task(const struct lookup *lookup, struct run *run)
{
    struct wish *wish = lookup->data;
    struct call *call = &wish->call;

    if (strcmp(run_agent_name(run), lookup->name) != 0) {
        no_task(lookup);
        return;
    }
    switch (call->method) {
    case A2A_CancelTask:
        cancel_task(call, run);
        break;
    case A2A_SubscribeToTask:
        subscribe_to_task(call, run);
        break;
    case A2A_GetTask:
        get_task(call, run);
        break;
    default:
        continue_task(wish, run);
    }
}

/* The wish is the lookup's from now on. */
static void find_task(struct wish *wish, const char *id)
{
    struct lookup *lookup = lookup_create(wish->call.api, wish->call.request, found_task);

    lookup->name = mem_strdup(wish->call.agent);
    lookup->none = no_task;
    lookup->data = wish;
    http_drop_body(wish->call.request);
    lookup_start(lookup, id);
}

static void use_task(const struct call *call, const cJSON *params)
{
    struct why why = {0};
    struct wish *wish;
    const char *id;
    enum a2a_error error = a2a_read_task(params, &id, &why);

    if (error == A2A_ok) {
        wish = mem_alloc(sizeof *wish);
        wish->call = *call;
        wish->call.terms[0] |= A2A_BARE;
        find_task(wish, id);
    } else {
        a2a_problem_reply(call->request, error, why_text(&why));
    }
    why_finish(&why);
}

/* ---- messages ---- */

/* Append what was said as JSON: the data, or the text as a string. */
static void append_said(const struct a2a_message *message, struct buf *out)
{
    char *json = message->data ? cJSON_PrintUnformatted(message->data) : NULL;

    if (json)
        buf_puts(out, json);
    else
        json_append_string(out, buf_data(&message->text));
    free(json);
}

static void say_to_task(const struct call *call, const struct a2a_message *message)
{
    struct buf said = {0};
    struct wish *wish;

    if (message->question && strlen(message->question) > QUESTION_ID_MAX) {
        a2a_problem_reply(call->request, A2A_invalid_params, "there is no such sluice/question");
        return;
    }
    append_said(message, &said);
    wish = mem_alloc(sizeof *wish + buf_length(&said) + 1);
    wish->call = *call;
    wish->at_once = message->at_once;
    strcpy(wish->context, message->context ? message->context : "");
    strcpy(wish->question, message->question ? message->question : "");
    wish->length = buf_length(&said);
    memcpy(wish->said, buf_data(&said), wish->length);
    buf_finish(&said);
    find_task(wish, message->task);
}

/* Data is the input; a text is a message of a user. */
static int set_input(const struct a2a_message *message, struct start *start, struct why *why)
{
    struct chat chat = {.thread = message->context};
    cJSON *messages;
    int status;

    if (message->data) {
        append_said(message, &start->input);
        return 0;
    }
    messages = cJSON_CreateArray();
    chat_add(messages, "user", buf_data(&message->text));
    chat.messages = messages;
    status = start_set_chat(start, &chat, why);
    cJSON_Delete(messages);
    return status;
}

static void begin_task(const struct call *call, const struct a2a_message *message)
{
    struct why why = {0};
    struct start start;

    if (!start_begin(call->api, call->request, call->agent, "a2a", DISCONNECT_CONTINUE, &start))
        return;
    if (set_input(message, &start, &why) < 0) {
        a2a_problem_reply(call->request, A2A_invalid_params, why_text(&why));
        start_finish(&start);
    } else {
        start.wanted.thread = message->context;
        start.wanted.own_thread = message->context == NULL;
        start.wanted.form = form_of(call, answer_of(call, message->at_once));
        start_run(call->api, call->request, &start);
    }
    why_finish(&why);
}

static void send_message(const struct call *call, const cJSON *params)
{
    struct a2a_message message;
    struct why why = {0};
    enum a2a_error error = a2a_read_message(params, &message, &why);

    if (error != A2A_ok)
        a2a_problem_reply(call->request, error, why_text(&why));
    else if (message.task)
        say_to_task(call, &message);
    else
        begin_task(call, &message);
    a2a_message_finish(&message);
    why_finish(&why);
}

/* ---- lists ---- */

static const struct {
    enum run_state run;
    enum a2a_state task;
} states[] = {
    {RUN_queued, A2A_SUBMITTED},   {RUN_running, A2A_WORKING}, {RUN_waiting, A2A_INPUT_REQUIRED},
    {RUN_finished, A2A_COMPLETED}, {RUN_failed, A2A_FAILED},   {RUN_cancelled, A2A_CANCELED},
};

#define STATES (sizeof states / sizeof *states)

/* Return the states of runs, as bits, whose tasks are in this one; -1: in any. */
static unsigned run_states(int state)
{
    unsigned bits = 0;

    for (size_t i = 0; i < STATES; i++) {
        if (state < 0 || (int)states[i].task == state)
            bits |= 1u << states[i].run;
    }
    return bits;
}

/* Append the task as its run says that it is, without reading the run's events. */
static void append_brief(const struct run *run, struct buf *out)
{
    const struct question *question = run_question_next(run, NULL);
    struct a2a_status status = {.event = eventlog_last(run_log(run))};
    struct buf described = {0};

    for (size_t i = 0; i < STATES; i++) {
        if (states[i].run == run_get_state(run))
            status.state = states[i].task;
    }
    if (question) {
        status.event = question->sequence;
        status.reason = question->json;
        status.reason_length = question->length;
    } else if (status.state == A2A_FAILED) {
        run_describe(run, &described);
        json_member_find(buf_data(&described), buf_length(&described), "error", &status.reason,
                         &status.reason_length);
    }
    a2a_task(run_identity(run), &status, NULL, out);
    buf_finish(&described);
}

static void append_whole(struct run *run, struct buf *out)
{
    struct document document = {.truncated = false};
    struct a2a_status status;

    collect_read(run, 0, UINT64_MAX, &document);
    status = a2a_status(&document);
    a2a_task(run_identity(run), &status, &document, out);
    document_finish(&document);
}

static void reply_list(const struct call *call, const struct a2a_list *list, struct run **runs,
                       unsigned count, size_t total)
{
    struct buf body = {0};
    uint64_t read = 0;
    unsigned done = 0;
    bool is_rpc = call->terms[0] & A2A_RPC;

    if (is_rpc)
        buf_printf(&body, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":", (int)call->terms_size - 1,
                   (const char *)call->terms + 1);
    buf_puts(&body, "{\"tasks\":[");
    for (; done < count && done < list->page && buf_length(&body) < LIST_SIZE && read < LIST_READ;
         done++) {
        const struct eventlog *log = run_log(runs[done]);
        buf_puts(&body, done > 0 ? "," : "");
        if (list->has_artifacts) {
            append_whole(runs[done], &body);
            read += log->end.at - log->start.at;
        } else {
            append_brief(runs[done], &body);
        }
    }
    buf_puts(&body, "],\"nextPageToken\":\"");
    if (done < count)
        buf_number(&body, run_changed(runs[done - 1]));
    buf_printf(&body, "\",\"pageSize\":%u,\"totalSize\":%zu}%s\n", list->page, total,
               is_rpc ? "}" : "");
    http_reply(call->request, 200, is_rpc ? "application/json" : "application/a2a+json", &body);
}

static void list_tasks(const struct call *call, const cJSON *params)
{
    const char *subject = http_subject(call->request);
    struct run *runs[A2A_PAGE_MAX + 1];
    int64_t now = time(NULL);
    struct why why = {0};
    struct a2a_list list;
    enum a2a_error error = a2a_read_list(params, &list, &why);

    if (error == A2A_ok) {
        const struct runs_query query = {
            .client = *subject ? subject : http_client_address(call->request),
            .subject = subject,
            .agent = call->agent,
            .thread = list.context,
            .states = run_states(list.state),
            .before = list.before,
            .age_ms = list.since == 0    ? UINT64_MAX
                      : list.since > now ? 0
                                         : (uint64_t)(now - list.since) * 1000};
        size_t total;
        unsigned count = runs_list(call->api->runs, &query, runs, list.page + 1, &total);
        reply_list(call, &list, runs, count, total);
    } else {
        a2a_problem_reply(call->request, error, why_text(&why));
    }
    why_finish(&why);
}

/* ---- calls ---- */

/* Refuse what the protocol's operator does not want, and versions that are not spoken. */
static bool check_call(const struct call *call)
{
    const struct deployment *deployment = registry_find(call->api->registry, call->agent);
    const struct config_plugin *plugin =
        deployment ? deployment_settings(deployment) : &call->api->config->plugin_defaults;
    const char *version = http_header(call->request, "A2A-Version");

    if (version == NULL)
        version = http_query(call->request, "A2A-Version");
    if (!setting_has_word(plugin->protocols, "a2a"))
        admission_refuse(call->request, ADMISSION_protocol_is_off,
                         &(struct admission_facts){.agent = call->agent});
    else if (!a2a_is_version(version))
        a2a_problem_reply(call->request, A2A_version_not_supported,
                          "here A2A " A2A_VERSION " is spoken; send A2A-Version: " A2A_VERSION);
    else
        return true;
    return false;
}

static void perform(const struct call *call, const cJSON *params)
{
    switch (call->method) {
    case A2A_SendMessage:
    case A2A_SendStreamingMessage:
        send_message(call, params);
        break;
    case A2A_GetTask:
    case A2A_CancelTask:
    case A2A_SubscribeToTask:
        use_task(call, params);
        break;
    case A2A_ListTasks:
        list_tasks(call, params);
        break;
    case A2A_GetExtendedAgentCard:
        a2a_problem_reply(call->request, A2A_extended_agent_card_not_configured,
                          "there is no extended card; the agent's card says all");
        break;
    case A2A_CreateTaskPushNotificationConfig:
    case A2A_GetTaskPushNotificationConfig:
    case A2A_ListTaskPushNotificationConfigs:
    case A2A_DeleteTaskPushNotificationConfig:
        a2a_problem_reply(call->request, A2A_push_notification_not_supported,
                          "there are no push notifications; use SubscribeToTask or GetTask");
        break;
    }
}

/* Return the body as a tree; NULL if the request was answered. */
static cJSON *read_body(const struct api *api, struct http_request *request)
{
    const struct request_view view = start_view(request);
    enum admission refusal = request_check_body(&view);
    cJSON *root = NULL;

    if (refusal == ADMISSION_granted)
        refusal = request_read_tree(view.body, &root);
    if (refusal != ADMISSION_granted)
        admission_refuse(request, refusal,
                         &(struct admission_facts){.max_body = api->config->max_body});
    return root;
}

void api_a2a_call(const struct api *api, struct http_request *request, const char *const *names)
{
    struct call call = {.api = api, .request = request, .agent = names[0]};
    cJSON *root = read_body(api, request);
    struct why why = {0};
    struct a2a_call read;
    enum a2a_error error;

    if (root == NULL)
        return;
    error = a2a_read_call(root, &read, &why);
    http_set_problem_shape(request, &a2a_rpc_problems, read.id);
    call.method = read.method;
    set_terms(&call, read.id);
    if (check_call(&call)) {
        if (error == A2A_ok)
            perform(&call, read.params);
        else
            a2a_problem_reply(request, error, why_text(&why));
    }
    why_finish(&why);
    cJSON_Delete(root);
}

static void perform_rest(const struct api *api, struct http_request *request,
                         const char *const *names, enum a2a_method method, const cJSON *params)
{
    struct call call = {.api = api, .request = request, .agent = names[0], .method = method};

    set_terms(&call, NULL);
    if (check_call(&call))
        perform(&call, params);
}

static void send_rest(const struct api *api, struct http_request *request, const char *const *names,
                      enum a2a_method method)
{
    cJSON *root = read_body(api, request);

    if (root)
        perform_rest(api, request, names, method, root);
    cJSON_Delete(root);
}

void api_a2a_send(const struct api *api, struct http_request *request, const char *const *names)
{
    send_rest(api, request, names, A2A_SendMessage);
}

void api_a2a_stream(const struct api *api, struct http_request *request, const char *const *names)
{
    send_rest(api, request, names, A2A_SendStreamingMessage);
}

/* The same members that JSON-RPC has, from the query (section 11.5), and the task's id. */
static void query_rest(const struct api *api, struct http_request *request,
                       const char *const *names, enum a2a_method method, const char *id)
{
    cJSON *params = cJSON_CreateObject();
    const char *name = NULL;

    while ((name = http_query_next(request, name))) {
        const char *value = http_query(request, name);
        if (strcmp(name, "includeArtifacts") == 0 &&
            (strcmp(value, "true") == 0 || strcmp(value, "false") == 0))
            cJSON_AddBoolToObject(params, name, *value == 't');
        else if ((strcmp(name, "pageSize") == 0 || strcmp(name, "historyLength") == 0) && *value &&
                 strspn(value, "0123456789") == strlen(value))
            cJSON_AddNumberToObject(params, name, strtod(value, NULL));
        else
            cJSON_AddStringToObject(params, name, value);
    }
    if (id)
        cJSON_AddStringToObject(params, "id", id);
    perform_rest(api, request, names, method, params);
    cJSON_Delete(params);
}

void api_a2a_list(const struct api *api, struct http_request *request, const char *const *names)
{
    query_rest(api, request, names, A2A_ListTasks, NULL);
}

void api_a2a_get(const struct api *api, struct http_request *request, const char *const *names)
{
    query_rest(api, request, names, A2A_GetTask, names[1]);
}

void api_a2a_cancel(const struct api *api, struct http_request *request, const char *const *names)
{
    query_rest(api, request, names, A2A_CancelTask, names[1]);
}

void api_a2a_subscribe(const struct api *api, struct http_request *request,
                       const char *const *names)
{
    query_rest(api, request, names, A2A_SubscribeToTask, names[1]);
}

void api_a2a_push(const struct api *api, struct http_request *request, const char *const *names)
{
    perform_rest(api, request, names, A2A_GetTaskPushNotificationConfig, NULL);
}

void api_a2a_extended(const struct api *api, struct http_request *request, const char *const *names)
{
    perform_rest(api, request, names, A2A_GetExtendedAgentCard, NULL);
}
