/*
 * inotify(7), through libuv, tells of each name in the folder about which
 * something happened; it does not tell when a writer is done. So each such file
 * is looked at every LOOK_MS until two looks in a row see the same file, and
 * then told. One event or a thousand lead to one call.
 *
 * A file that a pausing writer left half is told, too; image.c finds that out,
 * and the writer's next bytes bring the next call.
 */
#include "fleet/watch.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

/* A file that did not change for this long has been left alone. */
#define LOOK_MS 40

/* A file that is being looked at. */
struct change {
    struct watch *watch;
    char *file;
    uv_timer_t look;
    struct stat seen; /* all zero: it was not there */
    bool looked;
    TAILQ_ENTRY(change) in_watch; /* in watch->changes */
};

struct watch {
    uv_fs_event_t event;
    char *folder;
    TAILQ_HEAD(, change) changes;
    void (*changed)(void *data, const char *file);
    void *data;
};

bool watch_is_plugin(const char *name)
{
    size_t length = strlen(name);

    return name[0] != '.' && length > 3 && strcmp(name + length - 3, ".so") == 0;
}

static void on_change_closed(uv_handle_t *handle)
{
    struct change *change = handle->data;

    free(change->file);
    free(change);
}

static void change_destroy(struct change *change)
{
    TAILQ_REMOVE(&change->watch->changes, change, in_watch);
    uv_close((uv_handle_t *)&change->look, on_change_closed);
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void on_look(uv_timer_t *timer)
{
    struct change *change = timer->data;
    struct watch *watch = change->watch;
    struct stat now = {0};

    if (stat(change->file, &now) < 0)
        now = (struct stat){0};
    if (change->looked && same(&now, &change->seen)) {
        watch->changed(watch->data, change->file);
        change_destroy(change);
        return;
    }
    change->seen = now;
    change->looked = true;
    uv_timer_start(timer, on_look, LOOK_MS, 0);
}

static struct change *watch_find(const struct watch *watch, const char *file)
{
    struct change *change;

    TAILQ_FOREACH(change, &watch->changes, in_watch) {
        if (strcmp(change->file, file) == 0)
            return change;
    }
    return NULL;
}

static void watch_note(struct watch *watch, char *file)
{
    struct change *change = watch_find(watch, file);

    if (change) {
        free(file);
    } else {
        change = mem_alloc(sizeof *change);
        change->watch = watch;
        change->file = file;
        uv_timer_init(watch->event.loop, &change->look);
        change->look.data = change;
        TAILQ_INSERT_TAIL(&watch->changes, change, in_watch);
    }
    change->looked = false;
    uv_timer_start(&change->look, on_look, LOOK_MS, 0);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct watch *watch = event->data;

    (void)events;
    if (status == 0 && name && watch_is_plugin(name))
        watch_note(watch, mem_printf("%s/%s", watch->folder, name));
}

int watch_open(uv_loop_t *loop, const char *folder, void (*changed)(void *data, const char *file),
               void *data, struct watch **out)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    int status;

    uv_fs_event_init(loop, &watch->event);
    watch->event.data = watch;
    watch->folder = mem_strdup(folder);
    watch->changed = changed;
    watch->data = data;
    TAILQ_INIT(&watch->changes);
    status = uv_fs_event_start(&watch->event, on_event, folder, 0);
    if (status < 0) {
        watch_close(watch);
        return status;
    }
    *out = watch;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;

    free(watch->folder);
    free(watch);
}

void watch_close(struct watch *watch)
{
    if (watch == NULL)
        return;
    while (!TAILQ_EMPTY(&watch->changes))
        change_destroy(TAILQ_FIRST(&watch->changes));
    uv_close((uv_handle_t *)&watch->event, on_closed);
}
