/*
 * Two axes. `current` is the generation that serves, or none. A swap is under way
 * while `swap.copy` copies the file, and then while `swap.candidate`, made of the
 * copy, is being started to become current. All other generations drain: they
 * finish their runs and close.
 *
 *                      no swap under way               copy, candidate
 *     no current       drained, removed, refused       starting
 *     current          serving, crash_loop             serving, crash_loop: a swap is under way
 *
 *                   ┌───────────── a swap begins ──────────────┐
 *                   ▼                                          │
 *     created ► starting ──── failed ───► refused, drained, removed: `rest`
 *                   │                                          ▲
 *                 ready                                        │ operator drains, file is gone
 *                   ▼                                          │
 *                serving ⇄ crash_loop ─────────────────────────┘
 *
 *     any state ── the host stops ──► draining
 *
 * `rest` is the state that a deployment without a current generation has when
 * nothing is under way: refused, drained or removed. A failed candidate leads
 * back to it, so a drained plugin whose reload fails is drained still.
 * deployment_set_state() makes every transition. swap.c has the steps of a swap.
 */
#include "fleet/deployment.h"

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "fleet/queue.h"
#include "fleet/states.h"
#include "fleet/swap.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum deployment_state {
#define X(name, word, takes_runs, why_not) DEPLOYMENT_##name,
    DEPLOYMENT_STATES(X)
#undef X
};

static const struct {
    const char *word;
    bool takes_runs;
    const char *why_not;
} states[] = {
#define X(name, word, takes_runs, why_not) {word, takes_runs, why_not},
    DEPLOYMENT_STATES(X)
#undef X
};

struct deployment {
    uv_loop_t *loop;
    const struct config *config;
    const struct config_plugin *settings;
    char *file;
    char *name;
    bool loaded; /* the name is the plugin's own */
    enum deployment_state state, rest;
    struct generation **generations; /* all that have workers, oldest first */
    unsigned generation_count;
    struct generation *current; /* NULL: none serves */
    struct swap swap;
    bool was_seen;      /* it was looked at since the start */
    bool missed;        /* the file is not there */
    uint64_t missed_at; /* by the loop's clock */
    struct history history;
    struct output_rate output; /* of all its workers */
    char *reason;              /* of the last failed swap or crash loop; NULL if all is well */
    struct queue queue;
    uv_idle_t turn_end; /* active while room may have come for the queue */
    struct handles handles;
    const struct deployment_handler *handler;
    void *data;
};

/*
 * Enter a state, also the one it is in. The reason is for people; NULL keeps
 * the last one. Fail the runs that wait if the state takes none.
 */
static void deployment_set_state(struct deployment *deployment, enum deployment_state state,
                                 const char *reason)
{
    deployment->state = state;
    if (state == DEPLOYMENT_serving)
        deployment->rest = DEPLOYMENT_refused;
    if (state >= DEPLOYMENT_drained) /* the last three of the table */
        deployment->rest = state;
    if (reason)
        mem_set(&deployment->reason, reason);
    if (!states[state].takes_runs)
        queue_fail(&deployment->queue, deployment_reason(deployment));
    if (state != DEPLOYMENT_starting)
        deployment->handler->settled(deployment->data);
}

/* ---- runs ---- */

/* Return true if max_live allows one more run. */
static bool deployment_has_room(const struct deployment *deployment)
{
    unsigned most = deployment->settings->max_live;
    size_t live = 0;

    if (most == 0)
        return true;
    for (unsigned i = 0; i < deployment->generation_count; i++)
        live += generation_live(deployment->generations[i]);
    return live < most;
}

static void deployment_start_runs(struct deployment *deployment)
{
    struct run *run;

    while (deployment->current && (run = queue_first(&deployment->queue)) &&
           deployment_has_room(deployment) && generation_take(deployment->current, run))
        queue_pop(&deployment->queue);
}

/* Return the state that decides whether runs are taken: drained also while it is being reloaded. */
static enum deployment_state deployment_admission(const struct deployment *deployment)
{
    return deployment->rest == DEPLOYMENT_drained ? DEPLOYMENT_drained : deployment->state;
}

int deployment_admit(struct deployment *deployment)
{
    unsigned most = deployment->settings->max_queued;

    if (!states[deployment_admission(deployment)].takes_runs)
        return -ENODEV;
    if (deployment->queue.length >= most)
        queue_purge(&deployment->queue);
    return deployment->queue.length < most ? 0 : -EAGAIN;
}

const char *deployment_reason(const struct deployment *deployment)
{
    return states[deployment_admission(deployment)].why_not;
}

const struct card *deployment_card(const struct deployment *deployment)
{
    return deployment->current ? generation_card(deployment->current) : NULL;
}

void deployment_submit(struct deployment *deployment, struct run *run)
{
    queue_push(&deployment->queue, run);
    deployment_start_runs(deployment);
}

/* ---- ends of swaps ---- */

/* Put the next generation, or none, in the current one's place. */
static void deployment_set_current(struct deployment *deployment, struct generation *next)
{
    struct generation *old = deployment->current;

    deployment->current = next;
    if (old == NULL)
        return;
    generation_drain(old);
}

/* Stop serving and the swap that is under way, whose file counts as tried; state is drained or
 * removed. */
static void deployment_let_go(struct deployment *deployment, enum deployment_state state)
{
    swap_cancel(&deployment->swap);
    deployment_set_current(deployment, NULL);
    deployment_set_state(deployment, state, states[state].why_not);
    swap_stop(&deployment->swap, states[state].why_not);
}

/* Keep that the plugin stays away from its file as it is now. */
static void deployment_hold(struct deployment *deployment)
{
    history_file(&deployment->swap.tried, deployment->history.away);
    history_save(&deployment->history);
}

static void on_swap_failed(void *data, const char *reason)
{
    struct deployment *deployment = data;

    log_error("plugin refused%s: %s plugin=%s file=%s",
              deployment->current ? ", the old version keeps serving" : "", reason,
              deployment->name, deployment->file);
    deployment_set_state(deployment, deployment->current ? deployment->state : deployment->rest,
                         reason);
    if (deployment->history.pinned || deployment->history.drained)
        deployment_hold(deployment); /* also away from the file that was refused */
}

/* Note which version serves, and whether it is pinned. */
static void deployment_remember(struct deployment *deployment,
                                const struct generation_snapshot *next)
{
    struct history *history = &deployment->history;
    const struct swap *swap = &deployment->swap;
    struct version *version = history_find(history, swap->of);
    char file[HISTORY_FILE];

    history_file(&deployment->swap.tried, file);
    if (swap->of == 0)
        version = history_of_file(history, file);
    if (version == NULL) {
        history_add(history, next->number, next->version, swap->of == 0 ? file : "",
                    generation_image(deployment->current));
        version = history_find(history, next->number);
    }
    version->latest = next->number;
    history->serves = version->number;
    history->pinned = swap->pins || (swap->of != 0 && history->pinned);
    history->drained = false;
    snprintf(history->away, sizeof history->away, "%s", history->pinned ? file : "");
    history_save(history);
}

static void deployment_switch(struct deployment *deployment)
{
    struct generation *next = swap_take(&deployment->swap);
    struct generation_snapshot snapshot;

    deployment_set_current(deployment, next);
    mem_set(&deployment->reason, NULL);
    deployment_set_state(deployment, DEPLOYMENT_serving, NULL);
    generation_snapshot(next, &snapshot);
    deployment_remember(deployment, &snapshot);
    log_info("now serving plugin=%s version=%s generation=%" PRIu64 " file=%s", snapshot.name,
             snapshot.version, snapshot.number, deployment->file);
    swap_succeed(&deployment->swap);
}

/* ---- what generations tell ---- */

static void on_ready(void *data, struct generation *generation)
{
    struct deployment *deployment = data;

    if (generation == deployment->swap.candidate) {
        deployment_switch(deployment);
    } else if (generation == deployment->current) {
        deployment_set_state(deployment, DEPLOYMENT_serving, NULL);
    }
    deployment_start_runs(deployment);
}

/* Start runs when all is read: the worker that had the last one may have died since. */
static void on_turn_end(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    deployment_start_runs(idle->data);
}

static void on_room(void *data, struct generation *generation)
{
    struct deployment *deployment = data;

    (void)generation;
    if (deployment->queue.length > 0)
        uv_idle_start(&deployment->turn_end, on_turn_end);
}

static void on_failed(void *data, struct generation *generation, const char *reason)
{
    struct deployment *deployment = data;

    if (generation == deployment->swap.candidate)
        swap_lose(&deployment->swap, deployment->state == DEPLOYMENT_draining ? NULL : reason);
}

static void on_crashing(void *data, struct generation *generation, const char *reason)
{
    struct deployment *deployment = data;

    if (generation == deployment->current)
        deployment_set_state(deployment, DEPLOYMENT_crash_loop, reason);
}

static void on_closed(void *data, struct generation *generation)
{
    struct deployment *deployment = data;
    unsigned at = 0;

    while (deployment->generations[at] != generation)
        at++;
    deployment->generation_count--;
    memmove(&deployment->generations[at], &deployment->generations[at + 1],
            (deployment->generation_count - at) * sizeof *deployment->generations);
    if (generation == deployment->current)
        deployment->current = NULL;
    if (generation == deployment->swap.candidate)
        swap_lose(&deployment->swap, NULL);
    log_info("generation gone plugin=%s generation=%" PRIu64, deployment->name,
             generation_number(generation));
    if (deployment->state != DEPLOYMENT_draining)
        swap_begin_wanted(&deployment->swap);
    if (deployment->generation_count == 0)
        deployment->handler->emptied(deployment->data);
}

static void on_saved(void *data, struct generation *generation, const char *state)
{
    struct deployment *deployment = data;

    if (generation == deployment->current)
        swap_saved(&deployment->swap, state);
}

static bool candidate_may_be_called(struct deployment *deployment, const char *name,
                                    struct why *why)
{
    if (deployment->current && strcmp(name, deployment->name) != 0) {
        why_set(why, 0, "%s holds the plugin '%s' now, it held '%s'; put it into a file of its own",
                deployment->file, name, deployment->name);
        return false;
    }
    return deployment->handler->may_be_called(deployment->data, deployment, name, why);
}

static void on_hello(void *data, struct generation *generation, const struct process_hello *hello)
{
    struct deployment *deployment = data;
    struct why why = {0};

    if (generation != deployment->swap.candidate)
        return;
    if (!candidate_may_be_called(deployment, hello->name, &why)) {
        generation_refuse(generation, why_text(&why));
        why_finish(&why);
        return;
    }
    mem_set(&deployment->name, hello->name);
    deployment->loaded = true;
    deployment_configure(deployment);
    swap_create(&deployment->swap, deployment->current);
}

/* ---- swaps ---- */

/* Say which runs hold a generation that drains. */
static void why_add_runs(struct why *why, const struct generation *generation,
                         const struct generation *current)
{
    struct generation_snapshot of;
    struct process_snapshot shot;

    generation_snapshot(generation, &of);
    if (generation == current || of.live_runs == 0)
        return;
    why_set(why, 0, "%s; generation %" PRIu64 " has %zu runs:", why_text(why), of.number,
            of.live_runs);
    for (unsigned i = 0; i < of.processes; i++) {
        process_snapshot(generation_process(generation, i), &shot);
        for (unsigned run = 0; run < shot.run_count; run++)
            why_set(why, 0, "%s %s", why_text(why), shot.runs[run]);
        if (shot.live_runs > shot.run_count)
            why_set(why, 0, "%s ...", why_text(why));
    }
}

static void on_swap_begun(void *data)
{
    struct deployment *deployment = data;

    if (deployment->current == NULL)
        deployment_set_state(deployment, DEPLOYMENT_starting, NULL);
}

static struct generation *on_swap_start(void *data, struct image *image, struct why *why)
{
    static const struct generation_handler handler = {.hello = on_hello,
                                                      .saved = on_saved,
                                                      .ready = on_ready,
                                                      .room = on_room,
                                                      .failed = on_failed,
                                                      .crashing = on_crashing,
                                                      .closed = on_closed};
    struct deployment *deployment = data;
    struct generation_spec spec = {.image = image,
                                   .number = deployment->history.last + 1,
                                   .config = deployment->config,
                                   .output = &deployment->output};
    unsigned count = deployment->generation_count;

    if (count >= deployment->config->max_generations) {
        why_set(why, 0, "%u generations are live; the swap waits until one has drained", count);
        for (unsigned i = 0; i < count; i++)
            why_add_runs(why, deployment->generations[i], deployment->current);
        return NULL;
    }
    on_swap_begun(deployment);
    deployment->history.last++;
    deployment->generations =
        mem_realloc(deployment->generations, (count + 1) * sizeof *deployment->generations);
    deployment->generations[count] =
        generation_start(deployment->loop, &spec, &handler, deployment);
    deployment->generation_count++;
    return deployment->generations[count];
}

void deployment_reload(struct deployment *deployment, const struct reply *reply)
{
    swap_to_file(&deployment->swap, reply);
}

void deployment_rollback(struct deployment *deployment, uint64_t generation,
                         const struct reply *reply)
{
    struct history *history = &deployment->history;
    const struct version *version =
        generation ? history_find(history, generation) : history_before(history);
    const char *error = NULL;

    if (swap_is_under_way(&deployment->swap))
        error = "a swap is under way; try again when it is done";
    else if (version == NULL)
        error = generation ? "that generation is not kept; `sluice list` shows those that are"
                           : "there was no generation before this one";
    if (error) {
        reply->done(reply->data, error);
        return;
    }
    swap_to_version(&deployment->swap, history, version, reply);
}

void deployment_drain(struct deployment *deployment)
{
    bool removed = deployment->rest == DEPLOYMENT_removed;

    deployment_let_go(deployment, removed ? DEPLOYMENT_removed : DEPLOYMENT_drained);
    deployment->history.drained = !removed;
    deployment_hold(deployment);
}

void deployment_miss(struct deployment *deployment)
{
    if (deployment->missed)
        return;
    deployment->missed = true;
    deployment->missed_at = uv_now(deployment->loop);
    log_info("plugin file removed, live runs may finish plugin=%s file=%s", deployment->name,
             deployment->file);
    deployment_let_go(deployment, DEPLOYMENT_removed);
    deployment->swap.tried = (struct stat){0};
}

/* At the first look after a start: do as the operator wished before, if the file is the same. */
static bool deployment_resume(struct deployment *deployment, const struct watch_file *now)
{
    struct history *history = &deployment->history;
    char file[HISTORY_FILE];

    history_file(&now->stat, file);
    if (deployment->was_seen || !(history->pinned || history->drained) ||
        strcmp(file, history->away) != 0)
        return false;
    if (!history->drained && history_find(history, history->serves) == NULL)
        return false;
    log_info("plugin %s before the restart plugin=%s file=%s",
             history->drained ? "drained" : "rolled back", deployment->name, deployment->file);
    deployment->swap.tried = now->stat;
    if (history->drained)
        deployment_set_state(deployment, DEPLOYMENT_drained, states[DEPLOYMENT_drained].why_not);
    else
        swap_to_version(&deployment->swap, history, history_find(history, history->serves), NULL);
    return true;
}

bool deployment_notice(struct deployment *deployment, const struct watch_file *now,
                       const struct reply *reply)
{
    bool resumed = deployment_resume(deployment, now);

    deployment->missed = false;
    deployment->was_seen = true;
    if (resumed)
        return false;
    if (swap_join(&deployment->swap, &now->stat, reply))
        return true;
    if (swap_has_tried(&deployment->swap, now))
        return false;
    if (deployment->state != DEPLOYMENT_starting)
        log_info("plugin file changed plugin=%s file=%s", deployment->name, deployment->file);
    swap_to_seen(&deployment->swap, now, reply);
    return true;
}

bool deployment_refresh(struct deployment *deployment, const struct watch_file *now,
                        const struct reply *reply)
{
    if (now && deployment_notice(deployment, now, reply))
        return true;
    if (deployment->current ? generation_is_configured(deployment->current, deployment->config)
                            : deployment->rest == DEPLOYMENT_drained || deployment->missed)
        return false;
    if (deployment->current == NULL || swap_is_under_way(&deployment->swap))
        deployment_reload(deployment, reply);
    else /* the same code, even if the file holds another now: after a rollback */
        swap_to_image(&deployment->swap, deployment->history.serves,
                      generation_image(deployment->current), reply);
    return true;
}

void deployment_retry(struct deployment *deployment)
{
    if (deployment->state == DEPLOYMENT_refused)
        deployment_reload(deployment, NULL);
}

/* ---- the whole ---- */

struct deployment *deployment_create(uv_loop_t *loop, const struct config *config,
                                     const char *state, const char *file,
                                     const struct deployment_handler *handler, void *data)
{
    static const struct swap_handler swap_handler = {
        .begun = on_swap_begun, .start = on_swap_start, .failed = on_swap_failed};
    const char *slash = strrchr(file, '/');
    struct deployment *deployment = mem_alloc(sizeof *deployment);

    deployment->loop = loop;
    deployment->config = config;
    deployment->file = mem_strdup(file);
    deployment->name = mem_strdup(slash ? slash + 1 : file);
    deployment->name[strlen(deployment->name) - strlen(".so")] = '\0';
    deployment->state = DEPLOYMENT_starting;
    deployment->rest = DEPLOYMENT_refused;
    deployment->handler = handler;
    deployment->data = data;
    history_open(&deployment->history, loop, state, file);
    queue_init(&deployment->queue);
    swap_init(&deployment->swap, loop, config, deployment->file, &swap_handler, deployment);
    uv_idle_init(loop, &deployment->turn_end);
    deployment->turn_end.data = deployment;
    deployment_configure(deployment);
    return deployment;
}

void deployment_configure(struct deployment *deployment)
{
    deployment->settings = config_plugin(deployment->config, deployment->name);
    deployment->output.lines_per_s = deployment->settings->log_rate;
}

void deployment_stop(struct deployment *deployment)
{
    const char *why = states[DEPLOYMENT_draining].why_not;

    deployment_set_state(deployment, DEPLOYMENT_draining, why);
    swap_stop(&deployment->swap, why);
    for (unsigned i = deployment->generation_count; i-- > 0;)
        generation_quit(deployment->generations[i]); /* may close it, and shorten the list */
}

static void on_handles_closed(void *owner)
{
    struct deployment *deployment = owner;

    history_close(&deployment->history);
    swap_finish(&deployment->swap);
    free(deployment->generations);
    free(deployment->file);
    free(deployment->name);
    free(deployment->reason);
    free(deployment);
}

void deployment_destroy(struct deployment *deployment)
{
    queue_fail(&deployment->queue, states[DEPLOYMENT_draining].why_not);
    handles_close(&deployment->handles, on_handles_closed, deployment,
                  &deployment->swap.state_time.timer, &deployment->turn_end, NULL);
}

/* ---- what is known ---- */

const struct config_plugin *deployment_settings(const struct deployment *deployment)
{
    return deployment->settings;
}

const char *deployment_file(const struct deployment *deployment)
{
    return deployment->file;
}

const char *deployment_name(const struct deployment *deployment)
{
    return deployment->name;
}

bool deployment_is_loaded(const struct deployment *deployment)
{
    return deployment->loaded && deployment->rest != DEPLOYMENT_removed;
}

bool deployment_is_starting(const struct deployment *deployment)
{
    return deployment->state == DEPLOYMENT_starting;
}

bool deployment_is_removed(const struct deployment *deployment)
{
    return deployment->state == DEPLOYMENT_removed;
}

bool deployment_is_empty(const struct deployment *deployment)
{
    return deployment->generation_count == 0;
}

uint64_t deployment_idle_since(const struct deployment *deployment)
{
    bool is_idle = deployment->state == DEPLOYMENT_removed && deployment->generation_count == 0 &&
                   !swap_is_under_way(&deployment->swap) && deployment->swap.wanted == SWAP_NONE &&
                   deployment->history.saving == NULL;

    return is_idle ? deployment->missed_at : 0;
}

bool deployment_is_spent(const struct deployment *deployment)
{
    return deployment_idle_since(deployment) > 0 && deployment->history.count == 0;
}

const struct generation *deployment_generation(const struct deployment *deployment, unsigned index)
{
    assert(index < deployment->generation_count);
    return deployment->generations[index];
}

void deployment_snapshot(const struct deployment *deployment, struct deployment_snapshot *out)
{
    *out = (struct deployment_snapshot){
        .name = deployment->name,
        .file = deployment->file,
        .state = states[deployment->state].word,
        .serves = deployment->state == DEPLOYMENT_serving,
        .reason = deployment->reason,
        .queued_runs = deployment->queue.length,
        .swap_waits = deployment->swap.wanted != SWAP_NONE && !swap_is_under_way(&deployment->swap),
        .current = deployment->current,
        .history = &deployment->history,
        .generations = deployment->generation_count,
    };
}
