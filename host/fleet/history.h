/*
 * The history of a plugin over swaps and restarts: the versions that served, with their
 * images, and its operator's wishes. Kept in a folder of its own, if there is one:
 *
 *     STATE/NAME/state     JSON
 *     STATE/NAME/3.so      the image that generation 3 was the first to serve
 *
 * Files are written off the loop, whole or not at all. A plain part of its owner, which
 * changes the fields and then calls history_save().
 */
#ifndef FLEET_HISTORY_H
#define FLEET_HISTORY_H

#include "fleet/image.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Most versions, and most images of them in memory. */
#define HISTORY_MAX    5
#define HISTORY_MEMORY 3

/* How a file is told from another one, also after a restart; "" for none. */
#define HISTORY_FILE 96

struct version {
    uint64_t number;         /* of the first generation that served it */
    uint64_t latest;         /* of the last one */
    uint64_t before;         /* the number of the version that it took over from; 0: none */
    char *name;              /* the plugin's version */
    char file[HISTORY_FILE]; /* the plugin's file when it was copied */
    struct image *image;     /* NULL: on disk only */
    bool stored;             /* it is on disk */
};

struct history {
    char *folder;                         /* NULL: nothing is kept on disk */
    struct version versions[HISTORY_MAX]; /* oldest first */
    unsigned count;
    uint64_t last;   /* generation */
    uint64_t serves; /* number of the version that serves, or served last; 0: none */
    bool pinned;     /* to that version, by a rollback */
    bool drained;
    char away[HISTORY_FILE];     /* the plugin's file when it was pinned or drained */
    struct history_save *saving; /* NULL: none is under way */
    bool kept;                   /* there is something on disk */
    bool dirty;                  /* and another one is wanted */
    uv_loop_t *loop;
};

void history_file(const struct stat *stat, char out[HISTORY_FILE]);

/* Read what is kept in the folder of this plugin file below state, which may be NULL. */
void history_open(struct history *history, uv_loop_t *loop, const char *state, const char *file);

/* No callback comes after this. */
void history_close(struct history *history);

/* Return the version that this generation served, or NULL. */
struct version *history_find(struct history *history, uint64_t generation);

/* Return the version that served before the current version first did, or NULL. */
struct version *history_before(struct history *history);

/* Return the version that was made of this file, or NULL. */
struct version *history_of_file(struct history *history, const char *file);

/* Add a version, which becomes the newest one; the oldest one may go. */
void history_add(struct history *history, uint64_t number, const char *name, const char *file,
                 struct image *image);

/* Return the path of the version's image on disk, to be freed. */
char *history_path(const struct history *history, const struct version *version);

/* Keep what is remembered. Nothing is written while there is nothing to go back to. */
void history_save(struct history *history);

#endif
