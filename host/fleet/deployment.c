#include "fleet/deployment.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "fleet/generation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIT_MS 2000

/* How long a generation may take to save its state for the next. */
#define STATE_MS 1000

/* A generation among the agent's. */
struct version {
    struct deployment *deployment;
    struct generation *generation;
    TAILQ_ENTRY(version) in_deployment; /* in deployment->versions */
};

struct waiting_run {
    struct run *run;
    STAILQ_ENTRY(waiting_run) next; /* in deployment->queue */
};

struct waiting_reply {
    struct reply reply;
    STAILQ_ENTRY(waiting_reply) next; /* in deployment->replies or deployment->later */
};

STAILQ_HEAD(reply_list, waiting_reply);

struct deployment {
    uv_loop_t *loop;
    const struct config *config;
    const struct config_plugin *settings; /* of the name, in the configuration */
    char *file;
    char *name;
    bool loaded;                    /* the name is the plugin's own */
    TAILQ_HEAD(, version) versions; /* all that have workers, oldest first */
    unsigned version_count;
    struct version *current;   /* NULL: it does not serve */
    struct version *candidate; /* NULL: no swap is under way */
    struct image *tried;       /* the file as it last was swapped to, or refused; NULL if never */
    struct image *before;      /* of what was current before; NULL if nothing was */
    uint64_t last_number;
    uv_timer_t state_time; /* active while the candidate waits for the current one's state */
    bool again;            /* another swap is wanted, */
    struct image *next;    /* to this image; NULL is the file as it is then */
    bool drained;          /* by the operator */
    bool removed;          /* its file is gone */
    bool stopping;
    char *reason; /* why the last swap failed, or the agent crashes; NULL if all is well */
    STAILQ_HEAD(, waiting_run) queue;
    size_t queued;
    struct reply_list replies; /* of the swap under way */
    struct reply_list later;   /* of the one that is wanted again */
    const struct deployment_handler *handler;
    void *data;
};

/* ---- runs ---- */

static struct run *queue_pop(struct deployment *deployment)
{
    struct waiting_run *waiting = STAILQ_FIRST(&deployment->queue);
    struct run *run = waiting->run;

    STAILQ_REMOVE_HEAD(&deployment->queue, next);
    deployment->queued--;
    free(waiting);
    return run;
}

/* Whether one more run may be live. */
static bool deployment_has_room(const struct deployment *deployment)
{
    unsigned most = deployment->settings->max_live;
    const struct version *version;
    size_t live = 0;

    if (most == 0)
        return true;
    TAILQ_FOREACH(version, &deployment->versions, in_deployment)
        live += generation_live(version->generation);
    return live < most;
}

static void queue_start(struct deployment *deployment)
{
    while (deployment->current && !STAILQ_EMPTY(&deployment->queue)) {
        struct run *run = STAILQ_FIRST(&deployment->queue)->run;
        if (!run_has_ended(run) && !(deployment_has_room(deployment) &&
                                     generation_take(deployment->current->generation, run)))
            return;
        run_unref(queue_pop(deployment));
    }
}

/* Takes out those that ended while they waited. */
static void queue_purge(struct deployment *deployment)
{
    for (size_t left = deployment->queued; left > 0; left--) {
        struct waiting_run *waiting = STAILQ_FIRST(&deployment->queue);
        STAILQ_REMOVE_HEAD(&deployment->queue, next);
        if (!run_has_ended(waiting->run)) {
            STAILQ_INSERT_TAIL(&deployment->queue, waiting, next);
            continue;
        }
        deployment->queued--;
        run_unref(waiting->run);
        free(waiting);
    }
}

static void queue_fail(struct deployment *deployment)
{
    while (!STAILQ_EMPTY(&deployment->queue)) {
        struct run *run = queue_pop(deployment);
        run_abort(run, RUN_ERROR_unavailable, deployment->reason);
        run_unref(run);
    }
}

int deployment_admit(struct deployment *deployment)
{
    unsigned most = deployment->settings->max_queued;

    if (deployment->drained ||
        (deployment->current ? generation_is_crashing(deployment->current->generation)
                             : deployment->candidate == NULL))
        return -ENODEV;
    if (deployment->queued >= most)
        queue_purge(deployment);
    return deployment->queued < most ? 0 : -EAGAIN;
}

const char *deployment_reason(const struct deployment *deployment)
{
    return deployment->drained ? "its operator drained it" : deployment->reason;
}

void deployment_submit(struct deployment *deployment, struct run *run)
{
    struct waiting_run *waiting = mem_alloc(sizeof *waiting);

    waiting->run = run_ref(run);
    STAILQ_INSERT_TAIL(&deployment->queue, waiting, next);
    deployment->queued++;
    queue_start(deployment);
}

/* ---- swaps ---- */

static void replies_add(struct reply_list *replies, const struct reply *reply)
{
    struct waiting_reply *waiting;

    if (reply == NULL)
        return;
    waiting = mem_alloc(sizeof *waiting);
    waiting->reply = *reply;
    STAILQ_INSERT_TAIL(replies, waiting, next);
}

static void replies_send(struct reply_list *replies, const char *error)
{
    struct waiting_reply *waiting;

    while ((waiting = STAILQ_FIRST(replies))) {
        STAILQ_REMOVE_HEAD(replies, next);
        waiting->reply.done(waiting->reply.data, error);
        free(waiting);
    }
}

/* Puts the next one, or none, in the current one's place. */
static void deployment_set_current(struct deployment *deployment, struct version *next)
{
    struct version *old = deployment->current;

    deployment->current = next;
    if (old == NULL)
        return;
    image_unref(deployment->before);
    deployment->before = image_ref(generation_image(old->generation));
    generation_drain(old->generation, deployment->config->drain_timeout * UINT64_C(1000));
}

static void deployment_forget_next(struct deployment *deployment)
{
    deployment->again = false;
    image_unref(deployment->next);
    deployment->next = NULL;
}

/* Stops serving, and the swap that is under way. */
static void deployment_let_go(struct deployment *deployment, const char *why)
{
    struct version *candidate = deployment->candidate;

    deployment->candidate = NULL;
    uv_timer_stop(&deployment->state_time);
    deployment_forget_next(deployment);
    mem_set(&deployment->reason, why);
    if (candidate)
        generation_quit(candidate->generation, QUIT_MS);
    deployment_set_current(deployment, NULL);
    queue_fail(deployment);
    replies_send(&deployment->replies, why);
    replies_send(&deployment->later, why);
    deployment->handler->settled(deployment->data);
}

static void deployment_swap_again(struct deployment *deployment);

static void deployment_swap_failed(struct deployment *deployment, const char *reason)
{
    mem_set(&deployment->reason, reason);
    log_error("a plugin is refused%s: %s file=%s", deployment->current ? ", the old one stays" : "",
              reason, deployment->file);
    if (deployment->current == NULL)
        queue_fail(deployment);
    replies_send(&deployment->replies, reason);
    deployment->handler->settled(deployment->data);
}

static void deployment_switch(struct deployment *deployment)
{
    struct version *next = deployment->candidate;

    deployment->candidate = NULL;
    deployment_set_current(deployment, next);
    deployment->drained = deployment->removed = false;
    mem_set(&deployment->reason, NULL);
    log_info("a plugin serves plugin=%s version=%s generation=%llu file=%s", deployment->name,
             generation_version(deployment->current->generation),
             (unsigned long long)generation_number(deployment->current->generation),
             deployment->file);
    replies_send(&deployment->replies, NULL);
    deployment->handler->settled(deployment->data);
}

static void on_ready(void *data)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;

    if (version == deployment->candidate) {
        deployment_switch(deployment);
        deployment_swap_again(deployment);
    }
    queue_start(deployment);
}

static void on_failed(void *data, const char *reason)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;

    if (version != deployment->candidate)
        return;
    deployment->candidate = NULL;
    uv_timer_stop(&deployment->state_time);
    if (deployment->stopping)
        return;
    deployment_swap_failed(deployment, reason);
    deployment_swap_again(deployment);
}

static void on_crashing(void *data, const char *reason)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;

    if (version != deployment->current)
        return;
    mem_set(&deployment->reason, reason);
    queue_fail(deployment);
}

static void on_closed(void *data)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;

    if (version == deployment->current)
        deployment->current = NULL;
    TAILQ_REMOVE(&deployment->versions, version, in_deployment);
    deployment->version_count--;
    log_info("a generation is gone plugin=%s generation=%llu", deployment->name,
             (unsigned long long)generation_number(version->generation));
    free(version);
    deployment_swap_again(deployment);
    if (deployment_is_empty(deployment))
        deployment->handler->emptied(deployment->data);
}

/* ---- a candidate's way: hello, the state, create ---- */

static void candidate_create(struct deployment *deployment, const char *state)
{
    uv_timer_stop(&deployment->state_time);
    generation_create(deployment->candidate->generation, state && *state ? state : NULL);
}

static void on_state_time(uv_timer_t *timer)
{
    struct deployment *deployment = timer->data;

    log_warn("the old generation did not save its state in time plugin=%s", deployment->name);
    candidate_create(deployment, NULL);
}

static void on_saved(void *data, const char *state)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;

    if (deployment->candidate && version == deployment->current &&
        uv_is_active((uv_handle_t *)&deployment->state_time))
        candidate_create(deployment, state);
}

static bool candidate_may_be_called(struct deployment *deployment, const char *name, char *reason,
                                    size_t size)
{
    if (deployment->current && strcmp(name, deployment->name) != 0) {
        snprintf(reason, size,
                 "%s holds the agent '%s' now, it held '%s'; put it into a file of "
                 "its own",
                 deployment->file, name, deployment->name);
        return false;
    }
    return deployment->handler->may_be_called(deployment->data, deployment, name, reason, size);
}

static void on_hello(void *data, const struct process_hello *hello)
{
    struct version *version = data;
    struct deployment *deployment = version->deployment;
    char reason[512];

    if (version != deployment->candidate)
        return;
    if (!candidate_may_be_called(deployment, hello->name, reason, sizeof reason)) {
        generation_refuse(version->generation, reason);
        return;
    }
    mem_set(&deployment->name, hello->name);
    deployment->settings = config_plugin(deployment->config, deployment->name);
    deployment->loaded = true;
    if (deployment->current && generation_save_state(deployment->current->generation))
        uv_timer_start(&deployment->state_time, on_state_time, STATE_MS, 0);
    else
        candidate_create(deployment, NULL);
}

/* ---- asking for swaps ---- */

static void deployment_start(struct deployment *deployment, struct image *image)
{
    static const struct generation_handler handler = {.hello = on_hello,
                                                      .saved = on_saved,
                                                      .ready = on_ready,
                                                      .failed = on_failed,
                                                      .crashing = on_crashing,
                                                      .closed = on_closed};
    struct generation_spec spec = {
        .image = image, .number = ++deployment->last_number, .config = deployment->config};
    struct version *version = mem_alloc(sizeof *version);

    version->deployment = deployment;
    TAILQ_INSERT_TAIL(&deployment->versions, version, in_deployment);
    deployment->version_count++;
    deployment->candidate = version;
    version->generation = generation_start(deployment->loop, &spec, &handler, version);
}

/* Swaps to the image, or says why not; if there are too many generations, later. */
static void deployment_swap_to(struct deployment *deployment, struct image *image)
{
    char reason[160];

    if (deployment->version_count < deployment->config->max_generations) {
        deployment_start(deployment, image);
        return;
    }
    deployment_forget_next(deployment);
    deployment->again = true;
    deployment->next = image_ref(image);
    snprintf(reason, sizeof reason, "%u generations are live; the swap waits until one has drained",
             deployment->version_count);
    deployment_swap_failed(deployment, reason);
}

/* Swaps to the file as it is now. */
static void deployment_begin(struct deployment *deployment)
{
    struct image *image;
    char reason[1024];

    if (image_create(deployment->file, &image, reason, sizeof reason) < 0) {
        deployment_swap_failed(deployment, reason);
        return;
    }
    image_unref(deployment->tried);
    deployment->tried = image;
    deployment_swap_to(deployment, image);
}

/* The swap that had to wait, if there is one and it need not wait any more. */
static void deployment_swap_again(struct deployment *deployment)
{
    struct image *next = deployment->next;

    if (!deployment->again || deployment->candidate || deployment->stopping)
        return;
    deployment->again = false;
    deployment->next = NULL;
    STAILQ_CONCAT(&deployment->replies, &deployment->later);
    if (next)
        deployment_swap_to(deployment, next);
    else
        deployment_begin(deployment);
    image_unref(next);
}

void deployment_reload(struct deployment *deployment, const struct reply *reply)
{
    if (deployment->candidate) {
        deployment_forget_next(deployment);
        deployment->again = true;
        replies_add(&deployment->later, reply);
        return;
    }
    replies_add(&deployment->replies, reply);
    deployment_begin(deployment);
}

void deployment_rollback(struct deployment *deployment, const struct reply *reply)
{
    const char *error = deployment->candidate ? "a swap is under way; try again when it is done"
                        : deployment->before == NULL ? "there was no generation before this one"
                                                     : NULL;

    if (error) {
        reply->done(reply->data, error);
        return;
    }
    replies_add(&deployment->replies, reply);
    deployment_swap_to(deployment, deployment->before);
}

void deployment_drain(struct deployment *deployment)
{
    deployment->drained = true;
    deployment_let_go(deployment, "its operator drained it");
}

static void deployment_remove(struct deployment *deployment)
{
    if (deployment->removed)
        return;
    log_info("a plugin's file is gone; its runs may finish plugin=%s file=%s", deployment->name,
             deployment->file);
    deployment->removed = true;
    image_unref(deployment->tried);
    deployment->tried = NULL;
    deployment_let_go(deployment, "its file is gone");
}

bool deployment_refresh(struct deployment *deployment, const struct reply *reply)
{
    struct stat now;

    deployment->settings = config_plugin(deployment->config, deployment->name);
    if (stat(deployment->file, &now) < 0) {
        deployment_remove(deployment);
        return false;
    }
    if (deployment->removed || deployment->tried == NULL ||
        !image_is_current(deployment->tried, &now)) {
        deployment_reload(deployment, reply);
        return true;
    }
    if (deployment->current
            ? generation_is_configured(deployment->current->generation, deployment->config)
            : deployment->drained)
        return false;
    if (deployment->current == NULL || deployment->candidate) {
        deployment_reload(deployment, reply);
    } else { /* the same code, which may be no more that of the file */
        replies_add(&deployment->replies, reply);
        deployment_swap_to(deployment, generation_image(deployment->current->generation));
    }
    return true;
}

void deployment_retry(struct deployment *deployment)
{
    if (deployment->current || deployment->candidate || deployment->drained || deployment->removed)
        return;
    deployment_reload(deployment, NULL);
}

/* ---- the whole ---- */

struct deployment *deployment_create(uv_loop_t *loop, const struct config *config, const char *file,
                                     const struct deployment_handler *handler, void *data)
{
    const char *slash = strrchr(file, '/');
    struct deployment *deployment = mem_alloc(sizeof *deployment);

    deployment->loop = loop;
    deployment->config = config;
    deployment->file = mem_strdup(file);
    deployment->name = mem_strdup(slash ? slash + 1 : file);
    deployment->name[strlen(deployment->name) - strlen(".so")] = '\0';
    deployment->settings = config_plugin(config, deployment->name);
    deployment->handler = handler;
    deployment->data = data;
    TAILQ_INIT(&deployment->versions);
    STAILQ_INIT(&deployment->queue);
    STAILQ_INIT(&deployment->replies);
    STAILQ_INIT(&deployment->later);
    uv_timer_init(loop, &deployment->state_time);
    deployment->state_time.data = deployment;
    return deployment;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct deployment *deployment = handle->data;

    image_unref(deployment->tried);
    image_unref(deployment->before);
    image_unref(deployment->next);
    free(deployment->file);
    free(deployment->name);
    free(deployment->reason);
    free(deployment);
}

void deployment_destroy(struct deployment *deployment)
{
    queue_fail(deployment);
    uv_close((uv_handle_t *)&deployment->state_time, on_timer_closed);
}

void deployment_stop(struct deployment *deployment)
{
    struct version *version, *next;

    deployment->stopping = true;
    uv_timer_stop(&deployment->state_time);
    replies_send(&deployment->replies, "the server is stopping");
    replies_send(&deployment->later, "the server is stopping");
    for (version = TAILQ_FIRST(&deployment->versions); version; version = next) {
        next = TAILQ_NEXT(version, in_deployment);
        generation_quit(version->generation, QUIT_MS);
    }
}

const char *deployment_file(const struct deployment *deployment)
{
    return deployment->file;
}

const char *deployment_name(const struct deployment *deployment)
{
    return deployment->name;
}

const struct config_plugin *deployment_settings(const struct deployment *deployment)
{
    return deployment->settings;
}

bool deployment_is_loaded(const struct deployment *deployment)
{
    return deployment->loaded && !deployment->removed;
}

bool deployment_is_starting(const struct deployment *deployment)
{
    return deployment->current == NULL && deployment->candidate != NULL;
}

bool deployment_is_removed(const struct deployment *deployment)
{
    return deployment->removed && deployment->candidate == NULL;
}

bool deployment_is_empty(const struct deployment *deployment)
{
    return TAILQ_EMPTY(&deployment->versions);
}

static const char *deployment_state(const struct deployment *deployment)
{
    if (deployment->current)
        return generation_is_crashing(deployment->current->generation) ? "crash-loop" : "serving";
    return deployment->candidate ? "starting"
           : deployment->drained ? "drained"
           : deployment->removed ? "removed"
                                 : "refused";
}

void deployment_describe(const struct deployment *deployment, struct buf *json)
{
    buf_puts(json, "{\"name\":");
    json_append_string(json, deployment->name);
    json_append_member(json, "state", deployment_state(deployment));
    if (deployment->current)
        generation_describe(deployment->current->generation, json);
    if (deployment->current == NULL || generation_is_crashing(deployment->current->generation))
        json_append_member(json, "reason", deployment->reason);
    buf_puts(json, "}");
}

void deployment_report(const struct deployment *deployment, struct buf *json)
{
    const struct version *version;
    const char *comma = "";

    buf_puts(json, "{\"name\":");
    json_append_string(json, deployment->name);
    json_append_member(json, "file", deployment->file);
    json_append_member(json, "state", deployment_state(deployment));
    json_append_member(json, "last_error", deployment->reason);
    buf_printf(json, ",\"queued_runs\":%zu,\"current\":%llu,\"generations\":[", deployment->queued,
               deployment->current
                   ? (unsigned long long)generation_number(deployment->current->generation)
                   : 0);
    TAILQ_FOREACH(version, &deployment->versions, in_deployment) {
        buf_puts(json, comma);
        generation_report(version->generation, json);
        comma = ",";
    }
    buf_puts(json, "]}");
}
