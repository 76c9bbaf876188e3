/*
 *     lookup_start ──► runs_lookup ──► on_found ──► then(lookup, run)
 *                          │ not at once               ▲
 *                          ▼                           │
 *                      http_wait ──────────────────────┘
 *                          │ the client leaves: request is NULL, and
 *                          ▼ on_found only frees the lookup
 *                       on_left
 */
#include "api/lookup.h"

#include "api/admission.h"
#include "api/api.h"
#include "base/mem.h"
#include "http/answer.h"
#include "http/request.h"
#include "protocol/native.h"
#include "run/runs.h"

#include <stdlib.h>
#include <string.h>

struct lookup *lookup_create(const struct api *api, struct http_request *request,
                             void (*then)(const struct lookup *lookup, struct run *run))
{
    struct lookup *lookup = mem_alloc(sizeof *lookup);

    lookup->api = api;
    lookup->request = request;
    lookup->then = then;
    lookup->form.encoder = &encoder_native;
    return lookup;
}

static void lookup_destroy(struct lookup *lookup)
{
    free(lookup->name);
    free(lookup->data);
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
    } else if (request && lookup->none) {
        lookup->none(lookup);
    } else if (request) {
        admission_refuse(request, ADMISSION_no_such_run, NULL);
    }
    lookup->done = true;
    if (!lookup->calling)
        lookup_destroy(lookup);
}

void lookup_start(struct lookup *lookup, const char *id)
{
    lookup->calling = true;
    runs_lookup(lookup->api->runs, id, on_found, lookup);
    lookup->calling = false;
    if (lookup->done)
        lookup_destroy(lookup);
    else
        http_wait(lookup->request, &lookup_handler, lookup);
}
