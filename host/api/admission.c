/*
 * The checks before a run starts, in order; the first that fails says no:
 *
 *     the server     is it stopping?
 *     the agent      does it exist, does it serve, has its queue room?
 *     the server     max_runs, memory
 *     the client     its share of log_budget, max_runs_per_client
 *     the input      does it match the agent's input_schema?
 *
 * What a request may say wrong is found by request.c, what a run refuses by
 * runs.c; their words are in the same table.
 */
#include "api/admission.h"

#include "api/api.h"
#include "base/mem.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/deployment.h"
#include "http/problem.h"
#include "run/runs.h"
#include "wire/frames.h"

#include <errno.h>
#include <string.h>

/* Of a run's input, on its way to the worker, in buffers that double. */
#define INPUT_COPIES 4

static const struct {
    const char *code;
    unsigned status;
    bool again;
} refusals[] = {
#define X(name, status, again, ...) [ADMISSION_##name] = {#name, status, again},
    ADMISSION_REFUSALS(X)
#undef X
};

enum admission admission_check_size(size_t length)
{
    if (length > WIRE_BODY_MAX) /* made of a body, it may be longer than that */
        return ADMISSION_input_too_large;
    return mem_has(MEM_SPARE + INPUT_COPIES * length) ? ADMISSION_granted : ADMISSION_no_memory;
}

enum admission admission_no_room(const struct api *api)
{
    return runs_has_one_client(api->runs) ? ADMISSION_log_budget : ADMISSION_share;
}

enum admission admission_check(const struct api *api, struct deployment *deployment,
                               const struct run_request *wanted)
{
    const struct config *config = api->config;
    enum admission size;
    int status;

    if (*api->stopping)
        return ADMISSION_stopping;
    if (deployment == NULL)
        return ADMISSION_no_such_agent;
    status = deployment_admit(deployment);
    if (status < 0)
        return status == -EAGAIN ? ADMISSION_max_queued : ADMISSION_unavailable;
    if (runs_live(api->runs) >= config->max_runs)
        return ADMISSION_max_runs;
    size = admission_check_size(wanted->input_length);
    if (size != ADMISSION_granted)
        return size;
    if (!runs_make_room(api->runs, wanted->client,
                        wanted->input_length + (wanted->note ? strlen(wanted->note) : 0)))
        return admission_no_room(api);
    if (config->max_runs_per_client > 0 &&
        runs_live_of(api->runs, wanted->client) >= config->max_runs_per_client)
        return ADMISSION_max_runs_per_client;
    return ADMISSION_granted;
}

enum admission admission_check_input(const struct deployment *deployment,
                                     const struct run_request *wanted, struct why *why)
{
    const struct card *card = deployment_card(deployment);
    int status = card ? card_check_input(card, wanted->input, wanted->input_length, why) : 0;

    if (status == 0)
        return ADMISSION_granted;
    return status == -ENOMEM ? ADMISSION_no_memory : ADMISSION_bad_input;
}

void admission_refuse(struct http_request *request, enum admission refusal,
                      const struct admission_facts *facts)
{
    struct why why = {0};
    struct problem problem;

    switch (refusal) {
    case ADMISSION_granted:
        return;
#define X(name, status, again, ...)    \
    case ADMISSION_##name:             \
        why_set(&why, 0, __VA_ARGS__); \
        break;
        ADMISSION_REFUSALS(X)
#undef X
    }
    problem = (struct problem){.status = refusals[refusal].status,
                               .code = refusals[refusal].code,
                               .detail = why_text(&why)};
    if (refusals[refusal].again)
        problem_reply_busy(request, &problem);
    else
        problem_reply_with(request, &problem);
    why_finish(&why);
}
