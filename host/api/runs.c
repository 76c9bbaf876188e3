/*
 * A run is started from a struct run_request, which request.c reads from a view
 * of the request, after admission.c has said yes. A POST that names an event
 * (Last-Event-ID) or repeats a key is answered from the run that there is.
 *
 * A run is found by runs_lookup(), which may answer at once or later. Until
 * then the request waits, as a struct lookup:
 *
 *     lookup_start ──► runs_lookup ──► on_found ──► then(lookup, run)
 *                          │ not at once               ▲
 *                          ▼                           │
 *                      http_wait ──────────────────────┘
 *                          │ the client leaves: request is NULL, and
 *                          ▼ on_found only frees the lookup
 *                       on_left
 */
#include "api/runs.h"

#include "api/api.h"
#include "api/collect.h"
#include "api/request.h"
#include "api/stream.h"
#include "base/mem.h"
#include "config/config.h"
#include "fleet/registry.h"
#include "http/answer.h"
#include "http/request.h"
#include "protocol/native.h"
#include "run/runs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *on_header(void *data, const char *name)
{
    return http_header(data, name);
}

static const char *on_query(void *data, const char *name)
{
    return http_query(data, name);
}

static struct request_view view_of(struct http_request *request)
{
    return (struct request_view){.header = on_header,
                                 .query = on_query,
                                 .data = request,
                                 .body = http_body(request),
                                 .subject = http_subject(request),
                                 .address = http_client_address(request)};
}

static void reply_state(struct http_request *request, unsigned status, const struct run *run)
{
    struct buf body = {0};

    run_describe(run, &body);
    buf_puts(&body, "\n");
    http_reply(request, status, "application/json", &body);
}

/* Answer a POST with the run that it started or that it is about. */
static void answer(const struct api *api, struct http_request *request, struct run *run,
                   enum run_answer how, const struct encoder *encoder, uint64_t after)
{
    char location[16 + RUN_ID_LENGTH];

    snprintf(location, sizeof location, "/runs/%s", run_id(run));
    http_add_header(request, "Location", location);
    if (how == ANSWER_WAIT)
        collect_open(api->collectors, request, run, encoder);
    else if (how == ANSWER_DETACH)
        reply_state(request, 202, run);
    else
        stream_open(api->streams, request, run, encoder, after);
}

/* ---- finding a run ---- */

struct lookup {
    const struct api *api;
    struct http_request *request; /* NULL: its client left */
    /* The run is there, and the request's subject may see it. Answers. */
    void (*then)(const struct lookup *lookup, struct run *run);
    bool calling;           /* runs_lookup() has not returned */
    bool done;              /* on_found() was called */
    char *agent;            /* of a POST that reads a run on */
    enum run_answer answer; /* of the same */
    const struct encoder *encoder;
};

static void lookup_destroy(struct lookup *lookup)
{
    free(lookup->agent);
    free(lookup);
}

static void on_left(void *data)
{
    struct lookup *lookup = data;

    lookup->request = NULL;
}

static const struct http_stream_handler lookup_handler = {.left = on_left};

static void on_found(void *data, struct run *run)
{
    struct lookup *lookup = data;
    struct http_request *request = lookup->request;

    if (request && run && strcmp(run_subject(run), http_subject(request)) == 0) {
        run_ref(run);
        lookup->then(lookup, run);
        run_unref(run);
    } else if (request) {
        admission_refuse(request, ADMISSION_no_such_run, NULL);
    }
    lookup->done = true;
    if (!lookup->calling)
        lookup_destroy(lookup);
}

static struct lookup *lookup_create(const struct api *api, struct http_request *request,
                                    void (*then)(const struct lookup *lookup, struct run *run))
{
    struct lookup *lookup = mem_alloc(sizeof *lookup);

    lookup->api = api;
    lookup->request = request;
    lookup->then = then;
    lookup->encoder = &encoder_native;
    return lookup;
}

static void lookup_start(struct lookup *lookup, const char *id)
{
    lookup->calling = true;
    runs_lookup(lookup->api->runs, id, on_found, lookup);
    lookup->calling = false;
    if (lookup->done)
        lookup_destroy(lookup);
    else
        http_wait(lookup->request, &lookup_handler, lookup);
}

/* ---- POST /agents/{agent}/runs ---- */

static void read_on(const struct lookup *lookup, struct run *run)
{
    struct request_view view = view_of(lookup->request);
    enum admission refusal = ADMISSION_event_of_other_agent;
    uint64_t after = 0;

    if (strcmp(run_agent_name(run), lookup->agent) == 0)
        refusal = request_read_after(&view, run, &after);
    if (refusal == ADMISSION_granted)
        answer(lookup->api, lookup->request, run, lookup->answer, lookup->encoder, after);
    else
        admission_refuse(
            lookup->request, refusal,
            &(struct admission_facts){.event = after, .last = eventlog_last(run_log(run))});
}

/* A client that was cut may send its request once more: it reads on, and starts no second run. */
static void resume(const struct api *api, struct http_request *request, const char *id,
                   const struct run_request *wanted)
{
    struct position position;
    struct lookup *lookup;

    if (position_read(id, &position) < 0) {
        admission_refuse(request, ADMISSION_bad_event_id, NULL);
        return;
    }
    lookup = lookup_create(api, request, read_on);
    lookup->agent = mem_strdup(wanted->agent);
    lookup->answer = wanted->answer;
    lookup->encoder = wanted->encoder;
    http_drop_body(request);
    lookup_start(lookup, position.run);
}

void api_runs_start(const struct api *api, struct http_request *request, const char *agent)
{
    struct deployment *deployment = registry_find(api->registry, agent);
    const struct config_plugin *plugin =
        deployment ? deployment_settings(deployment) : &api->config->plugin_defaults;
    struct request_view view = view_of(request);
    const char *event_id = request_event_id(&view);
    struct run_request wanted = {.agent = agent};
    struct request_texts texts;
    enum admission refusal = request_read(&view, plugin, &texts, &wanted);
    struct run *run;

    if (refusal != ADMISSION_granted)
        goto refuse;
    if (event_id) {
        resume(api, request, event_id, &wanted);
        return;
    }
    refusal = request_read_input(&view, api->config->forward_headers, &texts, &wanted);
    if (refusal != ADMISSION_granted)
        goto refuse;
    run = wanted.key ? runs_find_key(api->runs, wanted.subject, agent, wanted.key) : NULL;
    if (run && memcmp(run_digest(run), wanted.digest, DIGEST_SIZE) == 0) {
        buf_finish(&wanted.vars);
        http_drop_body(request);
        answer(api, request, run, wanted.answer, wanted.encoder, 0);
        return;
    }
    refusal = run ? ADMISSION_key_reused : admission_check(api, deployment, &wanted);
    if (refusal == ADMISSION_granted && run_create(api->runs, &wanted, &run) < 0)
        refusal = ADMISSION_no_run_id;
    if (refusal != ADMISSION_granted)
        goto refuse;
    http_drop_body(request);
    deployment_submit(deployment, run);
    answer(api, request, run, wanted.answer, wanted.encoder, 0);
    run_unref(run);
    return;

refuse:
    buf_finish(&wanted.vars);
    admission_refuse(
        request, refusal,
        &(struct admission_facts){.agent = agent,
                                  .reason = deployment ? deployment_reason(deployment) : NULL,
                                  .max_body = api->config->max_body});
}

/* ---- /runs/{id} ---- */

static void show(const struct lookup *lookup, struct run *run)
{
    reply_state(lookup->request, 200, run);
}

void api_runs_show(const struct api *api, struct http_request *request, const char *id)
{
    lookup_start(lookup_create(api, request, show), id);
}

/* After a 204, a browser's EventSource stops reconnecting. */
static void read_events(const struct lookup *lookup, struct run *run)
{
    struct http_request *request = lookup->request;
    struct request_view view = view_of(request);
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
        http_reply(request, 200, lookup->encoder->content_type, &nothing);
    else
        stream_open(lookup->api->streams, request, run, lookup->encoder, after);
}

void api_runs_events(const struct api *api, struct http_request *request, const char *id)
{
    lookup_start(lookup_create(api, request, read_events), id);
}

static void cancel(const struct lookup *lookup, struct run *run)
{
    run_cancel(run);
    reply_state(lookup->request, run_has_ended(run) ? 200 : 202, run);
}

void api_runs_cancel(const struct api *api, struct http_request *request, const char *id)
{
    lookup_start(lookup_create(api, request, cancel), id);
}

static void give_input(const struct lookup *lookup, struct run *run)
{
    struct request_view view = view_of(lookup->request);
    enum admission refusal = request_check_body(&view);
    int status = 0;

    if (refusal == ADMISSION_granted && !admission_has_memory(buf_length(view.body)))
        refusal = ADMISSION_no_memory;
    if (refusal == ADMISSION_granted)
        status = run_give_input(run, buf_data(view.body), buf_length(view.body));
    if (status == -EAGAIN)
        refusal = ADMISSION_inputs_pending;
    else if (status == -EDQUOT)
        refusal = admission_no_room(lookup->api);
    else if (status < 0)
        refusal = run_has_ended(run) ? ADMISSION_run_has_ended : ADMISSION_run_is_queued;
    if (refusal == ADMISSION_granted)
        reply_state(lookup->request, 202, run);
    else
        admission_refuse(lookup->request, refusal,
                         &(struct admission_facts){.max_body = lookup->api->config->max_body});
}

void api_runs_input(const struct api *api, struct http_request *request, const char *id)
{
    lookup_start(lookup_create(api, request, give_input), id);
}
