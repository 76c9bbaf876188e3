/*
 * Watches the plugin folder and tells what files it has, whenever something may have
 * changed and every two seconds. A file counts as settled when its writer is done.
 *
 * The folder is a path: whatever is there counts, also after the folder, or a link on
 * the way to it, was moved or replaced. A folder that is missing or cannot be read
 * changes nothing until it is back.
 */
#ifndef FLEET_WATCH_H
#define FLEET_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uv.h>

struct watch;

struct watch_file {
    char *name;
    struct stat stat; /* of what it leads to */
    struct stat sum;  /* of its checksum's file, see look.h */
    bool there;       /* else it went away a moment ago, or is about to come */
    bool settled;     /* nobody writes it, as far as can be seen */
    /* watch.c's own */
    bool quick;       /* it was put there at once, or its writer has closed it */
    uint64_t seen_at; /* ms of the loop's clock at which it was first seen as it is */
    uint64_t gone_at; /* at which it was missed; 0: it is there */
};

struct watch_handler {
    /*
     * After each look: the files, sorted by name and valid until it returns. A file that
     * is gone for good is not among them. status is 0, or -errno if the folder cannot be
     * read: then files are the last ones. look: see watch_look().
     */
    void (*looked)(void *data, uint64_t look, int status, const struct watch_file *files,
                   size_t count);
};

/* What people want to know, valid until the loop goes on. */
struct watch_snapshot {
    const char *folder;
    const char *how;     /* "watched", or "polled" */
    const char *trouble; /* why its plugins are not what it holds; NULL: all is well */
};

/* Look once before it returns, which calls looked(); -errno if the folder cannot be read. */
int watch_open(uv_loop_t *loop, const char *folder, const struct watch_handler *handler, void *data,
               struct watch **out);

/* Look soon. Return the number of the first look that begins after this call. */
uint64_t watch_look(struct watch *watch);

void watch_snapshot(const struct watch *watch, struct watch_snapshot *out);

/* NULL is ignored. */
void watch_close(struct watch *watch);

#endif
