/*
 * Watching an inode again gives the same watch, so each look sets the watches that are
 * wanted and the caller removes those that no look names. That is how a watch follows
 * a folder that was replaced.
 */
#include "fleet/look.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#define FOLDER_EVENTS                                                                   \
    (IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | \
     IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define PLACE_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR)

bool look_is_plugin(const char *name)
{
    size_t length = strlen(name);

    return name[0] != '.' && length > 3 && strcmp(name + length - 3, ".so") == 0;
}

bool look_is_same(const struct stat *before, const struct stat *now)
{
    return before->st_dev == now->st_dev && before->st_ino == now->st_ino &&
           before->st_size == now->st_size && before->st_mtim.tv_sec == now->st_mtim.tv_sec &&
           before->st_mtim.tv_nsec == now->st_mtim.tv_nsec;
}

/* Watch the folder that holds the path's last part; return the watch or -1. */
static int watch_place_of(int inotify, const char *path)
{
    char *place = mem_strdup(path);
    char *slash = strrchr(place, '/');
    int watch;

    if (slash)
        slash[slash == place] = '\0';
    watch = inotify_add_watch(inotify, slash ? place : ".", PLACE_EVENTS);
    free(place);
    return watch;
}

/* The places first: if the folder is one of them, its own events count. */
static void set_watches(struct look *look)
{
    look->watches[LOOK_NAME] = watch_place_of(look->inotify, look->folder);
    if (look->real)
        look->watches[LOOK_REAL] = watch_place_of(look->inotify, look->real);
    look->watches[LOOK_FOLDER] = inotify_add_watch(look->inotify, look->folder, FOLDER_EVENTS);
    look->watch_status = look->watches[LOOK_FOLDER] < 0 ? -errno : 0;
}

static int is_plugin(const struct dirent *entry)
{
    return look_is_plugin(entry->d_name);
}

/* Add the file, also a link that leads nowhere: its copy fails, and says so. */
static void look_add(struct look *look, const char *name)
{
    struct look_file *file = &look->files[look->count];
    char *path = mem_printf("%s/%s", look->folder, name);
    char *sum = mem_printf("%s" LOOK_SUM, path);
    struct stat itself;

    *file = (struct look_file){.name = NULL};
    if (lstat(path, &itself) == 0) {
        file->name = mem_strdup(name);
        file->is_link = S_ISLNK(itself.st_mode);
        if (stat(path, &file->stat) < 0)
            file->stat = itself;
        if (stat(sum, &file->sum) < 0)
            file->sum = (struct stat){0};
        look->count++;
    }
    free(sum);
    free(path);
}

void look_at(struct look *look)
{
    struct dirent **found;
    int count;

    for (unsigned i = 0; i < LOOK_PLACES; i++)
        look->watches[i] = -1;
    look->real = realpath(look->folder, NULL);
    if (look->inotify >= 0)
        set_watches(look); /* before the files are looked at: what changes later is told */
    if (stat(look->folder, &look->inode) < 0 ||
        (count = scandir(look->folder, &found, is_plugin, alphasort)) < 0) {
        look->status = -errno;
        return;
    }
    look->files = mem_alloc((size_t)(count + 1) * sizeof *look->files);
    for (int i = 0; i < count; i++) {
        look_add(look, found[i]->d_name);
        free(found[i]);
    }
    free(found);
}

void look_finish(struct look *look)
{
    for (size_t i = 0; look->files && i < look->count; i++)
        free(look->files[i].name);
    free(look->files);
    free(look->real);
}
