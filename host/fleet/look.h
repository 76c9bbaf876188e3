/*
 * One look at the plugin folder: its plugin files (*.so, not hidden) and what each
 * leads to; and, on the way, the inotify(7) watches of the folder as it is now.
 *
 * A look may wait for a file system that hangs: look_at() is for the thread pool.
 */
#ifndef FLEET_LOOK_H
#define FLEET_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* The checksum of FILE.so is in FILE.so.sha256. */
#define LOOK_SUM ".sha256"

struct look_file {
    char *name;
    struct stat stat; /* of what it leads to */
    struct stat sum;  /* of the file with its checksum; all zero if there is none */
    bool is_link;
};

/* Watches: of the folder, of the place where its name is, of the place where it really is. */
enum look_place { LOOK_FOLDER, LOOK_NAME, LOOK_REAL, LOOK_PLACES };

struct look {
    const char *folder;
    int inotify; /* -1: set no watches */

    int status;              /* 0, or -errno of the folder; then nothing below is set */
    struct stat inode;       /* of the folder */
    char *real;              /* the folder without links; NULL if unknown */
    struct look_file *files; /* sorted by name; whoever takes them sets this to NULL */
    size_t count;
    int watches[LOOK_PLACES]; /* -1: none */
    int watch_status;         /* 0, or -errno of the folder's own watch */
};

/* Return true if a plugin file may be called so. */
bool look_is_plugin(const char *name);

/* Return true if both are of one content: same inode, size and time of change. */
bool look_is_same(const struct stat *before, const struct stat *now);

/* Fill in what is seen. */
void look_at(struct look *look);

void look_finish(struct look *look);

#endif
