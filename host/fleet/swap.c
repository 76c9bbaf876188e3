/*
 * The steps of a swap, each of which may fail and then leaves the current generation
 * as it is:
 *
 *   1. copy the file, off the loop (image.h); a rollback has its copy;
 *   2. start a generation on the copy: the candidate;
 *   3. hello: the candidate says its name, which must be that of the current
 *      one and nobody else's;
 *   4. ask the current generation for its state; go on without it after STATE_MS;
 *   5. create, with that state, and selftest;
 *   6. ready: the candidate becomes current; the old one drains. The versions that
 *      served are kept for a rollback (history.h).
 *
 * deployment.c takes the steps 3 and 6, which need its name and its generations.
 *
 * One swap is under way at a time: while `copy` copies the file, and then while
 * `candidate` is being started. A swap asked for meanwhile is remembered in `wanted`
 * and begins when the one under way has succeeded or failed, or, if max_generations
 * live already, when one of those has closed. Several wishes for the file become one:
 * the file is read as it is then. An event that finds the file as it was when its copy
 * began joins the swap under way.
 *
 * Draining, removal and the host's stop cancel the copy; nobody hears of it again.
 */
#include "fleet/swap.h"

#include "base/log.h"
#include "base/modes.h"
#include "fleet/look.h"

#include <inttypes.h>
#include <stdlib.h>

/* How long a generation may take to save its state for the next. */
#define STATE_MS 1000

void swap_init(struct swap *swap, uv_loop_t *loop, const struct config *config, const char *file,
               const struct swap_handler *handler, void *data)
{
    swap->loop = loop;
    swap->config = config;
    swap->file = file;
    swap->handler = handler;
    swap->data = data;
    STAILQ_INIT(&swap->replies);
    STAILQ_INIT(&swap->later);
    patience_init(loop, &swap->state_time, swap);
}

void swap_finish(struct swap *swap)
{
    image_unref(swap->image);
}

bool swap_is_under_way(const struct swap *swap)
{
    return swap->copy || swap->candidate;
}

/* Want no next swap. */
static void swap_forget(struct swap *swap)
{
    swap->wanted = SWAP_NONE;
    image_unref(swap->image);
    swap->image = NULL;
}

static void swap_fail(struct swap *swap, const char *reason)
{
    swap->handler->failed(swap->data, reason);
    replies_send(&swap->replies, reason);
}

/* ---- copy, start ---- */

/* Start the candidate; if too many generations live, say so and do it later. */
static void swap_start(struct swap *swap, struct image *image)
{
    struct why why = {0};
    struct generation *candidate = swap->handler->start(swap->data, image, &why);

    if (candidate) {
        swap->candidate = candidate;
        return;
    }
    if (swap->wanted == SWAP_NONE) { /* else for a newer file */
        swap->wanted = SWAP_IMAGE;
        swap->image = image_ref(image);
    }
    swap_fail(swap, why_text(&why));
    replies_send(&swap->later, why_text(&why)); /* the newer file waits as well */
    why_finish(&why);
}

static void on_copied(void *data, struct image *image, const char *reason)
{
    struct swap *swap = data;
    struct why why = {0};
    bool refused = image == NULL;

    if (swap->of == 0) {
        swap->tried = *image_copy_found(swap->copy, &swap->seen);
        swap->bad_sum = swap->seen_sum;
        if (image && modes_check("refused at copy: the plugin's file", swap->file, &swap->tried,
                                 MODES_CODE, swap->config->strict_modes, &why) < 0) {
            refused = true;
            reason = why_text(&why);
        }
        swap->is_bad = refused;
    }
    swap->copy = NULL;
    if (refused) {
        swap_fail(swap, reason);
        swap_begin_wanted(swap);
    } else {
        swap_start(swap, image);
    }
    if (image)
        image_unref(image);
    why_finish(&why);
}

static void swap_copy(struct swap *swap, const char *path)
{
    swap->handler->begun(swap->data);
    swap->copy = image_copy_start(swap->loop, path, swap->file, on_copied, swap);
}

/* ---- what is wanted ---- */

static void swap_begin_file(struct swap *swap)
{
    swap_forget(swap);
    swap->of = 0;
    swap->pins = false;
    swap_copy(swap, swap->file);
}

void swap_to_file(struct swap *swap, const struct reply *reply)
{
    if (swap_is_under_way(swap)) {
        swap_forget(swap);
        swap->wanted = SWAP_FILE;
        replies_add(&swap->later, reply);
        return;
    }
    replies_add(&swap->replies, reply);
    swap_begin_file(swap);
}

void swap_to_seen(struct swap *swap, const struct watch_file *now, const struct reply *reply)
{
    swap->seen = now->stat;
    swap->seen_sum = now->sum;
    swap_to_file(swap, reply);
}

void swap_to_version(struct swap *swap, const struct history *history,
                     const struct version *version, const struct reply *reply)
{
    char *path;

    replies_add(&swap->replies, reply);
    swap_forget(swap);
    swap->of = version->number;
    swap->pins = true;
    if (version->image) {
        swap_start(swap, version->image);
        return;
    }
    path = history_path(history, version);
    swap_copy(swap, path);
    free(path);
}

void swap_to_image(struct swap *swap, uint64_t of, struct image *image, const struct reply *reply)
{
    replies_add(&swap->replies, reply);
    swap->of = of;
    swap->pins = false;
    swap_start(swap, image);
}

void swap_begin_wanted(struct swap *swap)
{
    struct image *image = swap->image;

    if (swap->wanted == SWAP_NONE || swap_is_under_way(swap))
        return;
    swap->wanted = SWAP_NONE;
    swap->image = NULL;
    STAILQ_CONCAT(&swap->replies, &swap->later);
    if (image)
        swap_start(swap, image);
    else
        swap_begin_file(swap);
    image_unref(image);
}

bool swap_join(struct swap *swap, const struct stat *now, const struct reply *reply)
{
    if (swap->copy && swap->of == 0 && swap->wanted == SWAP_NONE &&
        look_is_same(image_copy_found(swap->copy, now), now))
        replies_add(&swap->replies, reply);
    else if (swap->wanted == SWAP_FILE && look_is_same(&swap->seen, now))
        replies_add(&swap->later, reply);
    else
        return false;
    return true;
}

bool swap_has_tried(const struct swap *swap, const struct watch_file *now)
{
    return look_is_same(&swap->tried, &now->stat) &&
           (!swap->is_bad || look_is_same(&swap->bad_sum, &now->sum));
}

/* ---- the way of a candidate: the state, create, ready ---- */

static void candidate_create(struct swap *swap, const char *state)
{
    patience_stop(&swap->state_time);
    generation_create(swap->candidate, state && *state ? state : NULL);
}

static void on_state_time(void *data)
{
    struct swap *swap = data;
    struct generation_snapshot current;

    generation_snapshot(swap->saver, &current);
    log_warn(
        "state not saved in time, the new version starts without plugin=%s generation=%" PRIu64,
        current.name, current.number);
    candidate_create(swap, NULL);
}

void swap_create(struct swap *swap, struct generation *current)
{
    swap->saver = current;
    if (current && generation_save_state(current))
        patience_start(&swap->state_time, STATE_MS, on_state_time);
    else
        candidate_create(swap, NULL);
}

void swap_saved(struct swap *swap, const char *state)
{
    if (swap->candidate && patience_is_active(&swap->state_time))
        candidate_create(swap, state);
}

struct generation *swap_take(struct swap *swap)
{
    struct generation *candidate = swap->candidate;

    swap->candidate = NULL;
    return candidate;
}

void swap_succeed(struct swap *swap)
{
    replies_send(&swap->replies, NULL);
    swap_begin_wanted(swap);
}

void swap_lose(struct swap *swap, const char *reason)
{
    swap->candidate = NULL;
    patience_stop(&swap->state_time);
    if (reason == NULL)
        return;
    swap_fail(swap, reason);
    swap_begin_wanted(swap);
}

/* ---- its end ---- */

void swap_cancel(struct swap *swap)
{
    struct generation *candidate = swap->candidate;

    if (swap->copy && swap->of == 0)
        swap->tried = *image_copy_found(swap->copy, &swap->seen);
    if (swap->wanted == SWAP_FILE)
        swap->tried = swap->seen;
    swap->candidate = NULL;
    swap_forget(swap);
    if (candidate)
        generation_quit(candidate);
}

void swap_stop(struct swap *swap, const char *why)
{
    patience_stop(&swap->state_time);
    image_copy_cancel(swap->copy);
    swap->copy = NULL;
    replies_send(&swap->replies, why);
    replies_send(&swap->later, why);
}
