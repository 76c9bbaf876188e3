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
    struct agent *agent;
    struct generation *generation;
    TAILQ_ENTRY(version) in_agent; /* in agent->versions */
};

struct waiting_run {
    struct run *run;
    STAILQ_ENTRY(waiting_run) next; /* in agent->queue */
};

struct waiting_reply {
    struct registry_reply reply;
    STAILQ_ENTRY(waiting_reply) next; /* in agent->replies or agent->later */
};

STAILQ_HEAD(reply_list, waiting_reply);

struct agent {
    uv_loop_t *loop;
    const struct config *config;
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
    const struct agent_handler *handler;
    void *data;
};

/* ---- runs ---- */

static struct run *queue_pop(struct agent *agent)
{
    struct waiting_run *waiting = STAILQ_FIRST(&agent->queue);
    struct run *run = waiting->run;

    STAILQ_REMOVE_HEAD(&agent->queue, next);
    agent->queued--;
    free(waiting);
    return run;
}

/* Whether one more run may be live. */
static bool agent_has_room(const struct agent *agent)
{
    unsigned most = config_plugin(agent->config, agent->name)->max_live;
    const struct version *version;
    size_t live = 0;

    if (most == 0)
        return true;
    TAILQ_FOREACH(version, &agent->versions, in_agent)
        live += generation_live(version->generation);
    return live < most;
}

static void queue_start(struct agent *agent)
{
    while (agent->current && !STAILQ_EMPTY(&agent->queue)) {
        struct run *run = STAILQ_FIRST(&agent->queue)->run;
        if (!run_has_ended(run) &&
            !(agent_has_room(agent) && generation_take(agent->current->generation, run)))
            return;
        run_unref(queue_pop(agent));
    }
}

/* Takes out those that ended while they waited. */
static void queue_purge(struct agent *agent)
{
    for (size_t left = agent->queued; left > 0; left--) {
        struct waiting_run *waiting = STAILQ_FIRST(&agent->queue);
        STAILQ_REMOVE_HEAD(&agent->queue, next);
        if (!run_has_ended(waiting->run)) {
            STAILQ_INSERT_TAIL(&agent->queue, waiting, next);
            continue;
        }
        agent->queued--;
        run_unref(waiting->run);
        free(waiting);
    }
}

static void queue_fail(struct agent *agent)
{
    while (!STAILQ_EMPTY(&agent->queue)) {
        struct run *run = queue_pop(agent);
        run_abort(run, RUN_ERROR_unavailable, agent->reason);
        run_unref(run);
    }
}

static int agent_cannot(const struct agent *agent, const char *why, char *reason, size_t size)
{
    snprintf(reason, size, "the agent '%s' is not available: %s", agent->name, why);
    return -ENODEV;
}

int agent_admit(struct agent *agent, char *reason, size_t size)
{
    unsigned most = config_plugin(agent->config, agent->name)->max_queued;

    if (agent->drained)
        return agent_cannot(agent, "its operator drained it", reason, size);
    if (agent->current == NULL && agent->candidate == NULL)
        return agent_cannot(agent, agent->reason, reason, size);
    if (agent->current && generation_is_crashing(agent->current->generation))
        return agent_cannot(agent, agent->reason, reason, size);
    if (agent->queued >= most)
        queue_purge(agent);
    if (agent->queued < most)
        return 0;
    snprintf(reason, size, "the agent '%s' has too many runs waiting; try again later",
             agent->name);
    return -EAGAIN;
}

void agent_submit(struct agent *agent, struct run *run)
{
    struct waiting_run *waiting = mem_alloc(sizeof *waiting);

    waiting->run = run_ref(run);
    STAILQ_INSERT_TAIL(&agent->queue, waiting, next);
    agent->queued++;
    queue_start(agent);
}

/* ---- swaps ---- */

static void replies_add(struct reply_list *replies, const struct registry_reply *reply)
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
static void agent_set_current(struct agent *agent, struct version *next)
{
    struct version *old = agent->current;

    agent->current = next;
    if (old == NULL)
        return;
    image_unref(agent->before);
    agent->before = image_ref(generation_image(old->generation));
    generation_drain(old->generation, agent->config->drain_timeout * UINT64_C(1000));
}

static void agent_forget_next(struct agent *agent)
{
    agent->again = false;
    image_unref(agent->next);
    agent->next = NULL;
}

/* Stops serving, and the swap that is under way. */
static void agent_let_go(struct agent *agent, const char *why)
{
    struct version *candidate = agent->candidate;

    agent->candidate = NULL;
    uv_timer_stop(&agent->state_time);
    agent_forget_next(agent);
    mem_set(&agent->reason, why);
    if (candidate)
        generation_quit(candidate->generation, QUIT_MS);
    agent_set_current(agent, NULL);
    queue_fail(agent);
    replies_send(&agent->replies, why);
    replies_send(&agent->later, why);
    agent->handler->settled(agent->data);
}

static void agent_swap_again(struct agent *agent);

static void agent_swap_failed(struct agent *agent, const char *reason)
{
    mem_set(&agent->reason, reason);
    log_error("a plugin is refused%s: %s file=%s", agent->current ? ", the old one stays" : "",
              reason, agent->file);
    if (agent->current == NULL)
        queue_fail(agent);
    replies_send(&agent->replies, reason);
    agent->handler->settled(agent->data);
}

static void agent_switch(struct agent *agent)
{
    struct version *next = agent->candidate;

    agent->candidate = NULL;
    agent_set_current(agent, next);
    agent->drained = agent->removed = false;
    mem_set(&agent->reason, NULL);
    log_info("a plugin serves plugin=%s version=%s generation=%llu file=%s", agent->name,
             generation_version(agent->current->generation),
             (unsigned long long)generation_number(agent->current->generation), agent->file);
    replies_send(&agent->replies, NULL);
    agent->handler->settled(agent->data);
}

static void on_ready(void *data)
{
    struct version *version = data;
    struct agent *agent = version->agent;

    if (version == agent->candidate) {
        agent_switch(agent);
        agent_swap_again(agent);
    }
    queue_start(agent);
}

static void on_failed(void *data, const char *reason)
{
    struct version *version = data;
    struct agent *agent = version->agent;

    if (version != agent->candidate)
        return;
    agent->candidate = NULL;
    uv_timer_stop(&agent->state_time);
    if (agent->stopping)
        return;
    agent_swap_failed(agent, reason);
    agent_swap_again(agent);
}

static void on_crashing(void *data, const char *reason)
{
    struct version *version = data;
    struct agent *agent = version->agent;

    if (version != agent->current)
        return;
    mem_set(&agent->reason, reason);
    queue_fail(agent);
}

static void on_closed(void *data)
{
    struct version *version = data;
    struct agent *agent = version->agent;

    if (version == agent->current)
        agent->current = NULL;
    TAILQ_REMOVE(&agent->versions, version, in_agent);
    agent->version_count--;
    log_info("a generation is gone plugin=%s generation=%llu", agent->name,
             (unsigned long long)generation_number(version->generation));
    free(version);
    agent_swap_again(agent);
    if (agent_is_empty(agent))
        agent->handler->emptied(agent->data);
}

/* ---- a candidate's way: hello, the state, create ---- */

static void candidate_create(struct agent *agent, const char *state)
{
    uv_timer_stop(&agent->state_time);
    generation_create(agent->candidate->generation, state && *state ? state : NULL);
}

static void on_state_time(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    log_warn("the old generation did not save its state in time plugin=%s", agent->name);
    candidate_create(agent, NULL);
}

static void on_saved(void *data, const char *state)
{
    struct version *version = data;
    struct agent *agent = version->agent;

    if (agent->candidate && version == agent->current &&
        uv_is_active((uv_handle_t *)&agent->state_time))
        candidate_create(agent, state);
}

static bool candidate_may_be_called(struct agent *agent, const char *name, char *reason,
                                    size_t size)
{
    if (agent->current && strcmp(name, agent->name) != 0) {
        snprintf(reason, size,
                 "%s holds the agent '%s' now, it held '%s'; put it into a file of "
                 "its own",
                 agent->file, name, agent->name);
        return false;
    }
    return agent->handler->may_be_called(agent->data, agent, name, reason, size);
}

static void on_hello(void *data, const struct process_hello *hello)
{
    struct version *version = data;
    struct agent *agent = version->agent;
    char reason[512];

    if (version != agent->candidate)
        return;
    if (!candidate_may_be_called(agent, hello->name, reason, sizeof reason)) {
        generation_refuse(version->generation, reason);
        return;
    }
    mem_set(&agent->name, hello->name);
    agent->loaded = true;
    if (agent->current && generation_save_state(agent->current->generation))
        uv_timer_start(&agent->state_time, on_state_time, STATE_MS, 0);
    else
        candidate_create(agent, NULL);
}

/* ---- asking for swaps ---- */

static void agent_start(struct agent *agent, struct image *image)
{
    static const struct generation_handler handler = {.hello = on_hello,
                                                      .saved = on_saved,
                                                      .ready = on_ready,
                                                      .failed = on_failed,
                                                      .crashing = on_crashing,
                                                      .closed = on_closed};
    struct generation_spec spec = {
        .image = image, .number = ++agent->last_number, .config = agent->config};
    struct version *version = mem_alloc(sizeof *version);

    version->agent = agent;
    TAILQ_INSERT_TAIL(&agent->versions, version, in_agent);
    agent->version_count++;
    agent->candidate = version;
    version->generation = generation_start(agent->loop, &spec, &handler, version);
}

/* Swaps to the image, or says why not; if there are too many generations, later. */
static void agent_swap_to(struct agent *agent, struct image *image)
{
    char reason[160];

    if (agent->version_count < agent->config->max_generations) {
        agent_start(agent, image);
        return;
    }
    agent_forget_next(agent);
    agent->again = true;
    agent->next = image_ref(image);
    snprintf(reason, sizeof reason, "%u generations are live; the swap waits until one has drained",
             agent->version_count);
    agent_swap_failed(agent, reason);
}

/* Swaps to the file as it is now. */
static void agent_begin(struct agent *agent)
{
    struct image *image;
    char reason[1024];

    if (image_create(agent->file, &image, reason, sizeof reason) < 0) {
        agent_swap_failed(agent, reason);
        return;
    }
    image_unref(agent->tried);
    agent->tried = image;
    agent_swap_to(agent, image);
}

/* The swap that had to wait, if there is one and it need not wait any more. */
static void agent_swap_again(struct agent *agent)
{
    struct image *next = agent->next;

    if (!agent->again || agent->candidate || agent->stopping)
        return;
    agent->again = false;
    agent->next = NULL;
    STAILQ_CONCAT(&agent->replies, &agent->later);
    if (next)
        agent_swap_to(agent, next);
    else
        agent_begin(agent);
    image_unref(next);
}

void agent_reload(struct agent *agent, const struct registry_reply *reply)
{
    if (agent->candidate) {
        agent_forget_next(agent);
        agent->again = true;
        replies_add(&agent->later, reply);
        return;
    }
    replies_add(&agent->replies, reply);
    agent_begin(agent);
}

void agent_rollback(struct agent *agent, const struct registry_reply *reply)
{
    const char *error = agent->candidate        ? "a swap is under way; try again when it is done"
                        : agent->before == NULL ? "there was no generation before this one"
                                                : NULL;

    if (error) {
        reply->done(reply->data, error);
        return;
    }
    replies_add(&agent->replies, reply);
    agent_swap_to(agent, agent->before);
}

void agent_drain(struct agent *agent)
{
    agent->drained = true;
    agent_let_go(agent, "its operator drained it");
}

static void agent_remove(struct agent *agent)
{
    if (agent->removed)
        return;
    log_info("a plugin's file is gone; its runs may finish plugin=%s file=%s", agent->name,
             agent->file);
    agent->removed = true;
    image_unref(agent->tried);
    agent->tried = NULL;
    agent_let_go(agent, "its file is gone");
}

bool agent_refresh(struct agent *agent, const struct registry_reply *reply)
{
    struct stat now;

    if (stat(agent->file, &now) < 0) {
        agent_remove(agent);
        return false;
    }
    if (agent->removed || agent->tried == NULL || !image_is_current(agent->tried, &now)) {
        agent_reload(agent, reply);
        return true;
    }
    if (agent->current ? generation_is_configured(agent->current->generation, agent->config)
                       : agent->drained)
        return false;
    if (agent->current == NULL || agent->candidate) {
        agent_reload(agent, reply);
    } else { /* the same code, which may be no more that of the file */
        replies_add(&agent->replies, reply);
        agent_swap_to(agent, generation_image(agent->current->generation));
    }
    return true;
}

void agent_retry(struct agent *agent)
{
    if (agent->current || agent->candidate || agent->drained || agent->removed)
        return;
    agent_reload(agent, NULL);
}

/* ---- the whole ---- */

struct agent *agent_create(uv_loop_t *loop, const struct config *config, const char *file,
                           const struct agent_handler *handler, void *data)
{
    const char *slash = strrchr(file, '/');
    struct agent *agent = mem_alloc(sizeof *agent);

    agent->loop = loop;
    agent->config = config;
    agent->file = mem_strdup(file);
    agent->name = mem_strdup(slash ? slash + 1 : file);
    agent->name[strlen(agent->name) - strlen(".so")] = '\0';
    agent->handler = handler;
    agent->data = data;
    TAILQ_INIT(&agent->versions);
    STAILQ_INIT(&agent->queue);
    STAILQ_INIT(&agent->replies);
    STAILQ_INIT(&agent->later);
    uv_timer_init(loop, &agent->state_time);
    agent->state_time.data = agent;
    return agent;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct agent *agent = handle->data;

    image_unref(agent->tried);
    image_unref(agent->before);
    image_unref(agent->next);
    free(agent->file);
    free(agent->name);
    free(agent->reason);
    free(agent);
}

void agent_destroy(struct agent *agent)
{
    queue_fail(agent);
    uv_close((uv_handle_t *)&agent->state_time, on_timer_closed);
}

void agent_stop(struct agent *agent)
{
    struct version *version, *next;

    agent->stopping = true;
    uv_timer_stop(&agent->state_time);
    replies_send(&agent->replies, "the server is stopping");
    replies_send(&agent->later, "the server is stopping");
    for (version = TAILQ_FIRST(&agent->versions); version; version = next) {
        next = TAILQ_NEXT(version, in_agent);
        generation_quit(version->generation, QUIT_MS);
    }
}

const char *agent_file(const struct agent *agent)
{
    return agent->file;
}

const char *agent_name(const struct agent *agent)
{
    return agent->name;
}

bool agent_is_loaded(const struct agent *agent)
{
    return agent->loaded && !agent->removed;
}

bool agent_is_starting(const struct agent *agent)
{
    return agent->current == NULL && agent->candidate != NULL;
}

bool agent_is_removed(const struct agent *agent)
{
    return agent->removed && agent->candidate == NULL;
}

bool agent_is_empty(const struct agent *agent)
{
    return TAILQ_EMPTY(&agent->versions);
}

static const char *agent_state(const struct agent *agent)
{
    if (agent->current)
        return generation_is_crashing(agent->current->generation) ? "crash-loop" : "serving";
    return agent->candidate ? "starting"
           : agent->drained ? "drained"
           : agent->removed ? "removed"
                            : "refused";
}

void agent_describe(const struct agent *agent, struct buf *json)
{
    buf_puts(json, "{\"name\":");
    json_append_string(json, agent->name);
    json_append_member(json, "state", agent_state(agent));
    if (agent->current)
        generation_describe(agent->current->generation, json);
    if (agent->current == NULL || generation_is_crashing(agent->current->generation))
        json_append_member(json, "reason", agent->reason);
    buf_puts(json, "}");
}

void agent_report(const struct agent *agent, struct buf *json)
{
    const struct version *version;
    const char *comma = "";

    buf_puts(json, "{\"name\":");
    json_append_string(json, agent->name);
    json_append_member(json, "file", agent->file);
    json_append_member(json, "state", agent_state(agent));
    json_append_member(json, "last_error", agent->reason);
    buf_printf(json, ",\"queued_runs\":%zu,\"current\":%llu,\"generations\":[", agent->queued,
               agent->current ? (unsigned long long)generation_number(agent->current->generation)
                              : 0);
    TAILQ_FOREACH(version, &agent->versions, in_agent) {
        buf_puts(json, comma);
        generation_report(version->generation, json);
        comma = ",";
    }
    buf_puts(json, "]}");
}
