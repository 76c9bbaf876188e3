/*
 * A swap: the way of a plugin's file, or of a version that served before, to a
 * generation that is ready to serve. One is under way at a time, and one more may be
 * wanted. Its deployment says what to swap to, and passes on what generations tell.
 */
#ifndef FLEET_SWAP_H
#define FLEET_SWAP_H

#include "base/patience.h"
#include "base/why.h"
#include "config/config.h"
#include "fleet/generation.h"
#include "fleet/history.h"
#include "fleet/image.h"
#include "fleet/reply.h"
#include "fleet/watch.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uv.h>

struct swap_handler {
    /* A copy is begun. */
    void (*begun)(void *data);
    /* Start a generation, the candidate. Return NULL, with the reason, if too many are live. */
    struct generation *(*start)(void *data, struct image *image, struct why *why);
    /* The swap has failed; its replies follow. The reason is for people. */
    void (*failed)(void *data, const char *reason);
};

/* A plain part of its deployment, which may read all, and change `tried`. */
struct swap {
    uv_loop_t *loop;
    const struct config *config;
    const char *file;        /* the plugin's */
    struct image_copy *copy; /* of the file, under way; else NULL */
    struct stat seen;        /* the file for which the last swap was wanted by swap_to_seen() */
    struct stat seen_sum;    /* its checksum's file */
    struct generation *candidate; /* being started; else NULL */
    struct generation *saver;   /* whose state the candidate waits for while state_time is active */
    struct patience state_time; /* its owner closes state_time.timer */
    struct reply_list replies;  /* of the swap under way */
    enum { SWAP_NONE, SWAP_FILE, SWAP_IMAGE } wanted; /* the next swap */
    struct image *image;                              /* of SWAP_IMAGE, else NULL */
    uint64_t of; /* the version that is swapped to, by its number; 0: a new one, of the file */
    bool pins;   /* it is a rollback */
    struct reply_list later; /* of the wanted swap */
    struct stat tried;       /* the file when it was last swapped to or refused; all zero: never */
    struct stat bad_sum;     /* its checksum's file then, if it was not copied */
    bool is_bad;             /* it was not copied */
    const struct swap_handler *handler;
    void *data;
};

/* The configuration may change its content; the file's name stays. */
void swap_init(struct swap *swap, uv_loop_t *loop, const struct config *config, const char *file,
               const struct swap_handler *handler, void *data);
void swap_finish(struct swap *swap);

bool swap_is_under_way(const struct swap *swap);

/* ---- what is wanted; the reply may be NULL ---- */

/* Swap to the file as it is now; after the swap under way, if there is one. */
void swap_to_file(struct swap *swap, const struct reply *reply);

/* The same; the file was seen so. */
void swap_to_seen(struct swap *swap, const struct watch_file *now, const struct reply *reply);

/* Swap to a version that served before, and pin it. No swap may be under way. */
void swap_to_version(struct swap *swap, const struct history *history,
                     const struct version *version, const struct reply *reply);

/* Swap to the version `of`, whose image this is. No swap may be under way. */
void swap_to_image(struct swap *swap, uint64_t of, struct image *image, const struct reply *reply);

/* Begin the swap that is wanted, if there is one and nothing is under way. */
void swap_begin_wanted(struct swap *swap);

/* Return true, and see to the reply, if the file as it is now is, or will be, swapped to. */
bool swap_join(struct swap *swap, const struct stat *now, const struct reply *reply);

/* Return true if the file as it is now was swapped to, or refused. */
bool swap_has_tried(const struct swap *swap, const struct watch_file *now);

/* ---- what generations tell ---- */

/* The candidate has the right name: create it, with the state of the current one, or NULL. */
void swap_create(struct swap *swap, struct generation *current);

/* The current generation has saved its state; "" for none. */
void swap_saved(struct swap *swap, const char *state);

/* The candidate is ready: return it. swap_succeed() must follow. */
struct generation *swap_take(struct swap *swap);
void swap_succeed(struct swap *swap);

/* The candidate ends. reason NULL: nobody is told, and nothing begins. */
void swap_lose(struct swap *swap, const char *reason);

/* ---- its end ---- */

/* Forget the swap under way and the wanted one, whose file counts as tried. swap_stop() must
 * follow. */
void swap_cancel(struct swap *swap);

/* Stop what can be stopped, and tell all who wait why. */
void swap_stop(struct swap *swap, const char *why);

#endif
