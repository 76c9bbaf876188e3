/*
 * Everything leads to a look (look.h) at the whole folder, by a thread of the pool, one
 * at a time:
 *
 *     inotify(7)    an event of the folder, or of a place that holds its name  LOOK_MS later
 *     the clock     POLL_MS after the last look
 *     watch_look()  an operator's command                                      at once
 *
 * Events only make looks come sooner. They need not tell all that happens: a link's
 * target, or a link in the middle of the path, changes elsewhere; a system may have
 * no inotify instance left. Then the clock is enough.
 *
 * A file is settled when it is as it was SETTLE_MS ago, by the last look that saw it or
 * by its inode's time of change; QUICK_MS are enough for a file that was put there whole:
 *
 *     renamed into place, or closed by its writer     IN_MOVED_TO, IN_CLOSE_WRITE
 *     a link that leads to another inode              seen by the look
 *
 * A file that a pausing writer left half and closed is settled, too; image.c finds out
 * most of them, and the writer's next bytes bring the next look.
 *
 * A file that is missed is gone for good after GONE_MS; in a folder that was replaced, when
 * that is MOVED_MS old, since whoever replaces a folder fills it bit by bit.
 */
#include "fleet/watch.h"

#include "base/handles.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/modes.h"
#include "base/pool.h"
#include "fleet/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS   40
#define POLL_MS   2000
#define QUICK_MS  40
#define SETTLE_MS 1000
#define GONE_MS   250
#define MOVED_MS  10000

/* A look that takes longer is told. */
#define SLOW_MS 10000

struct watch_look {
    uv_work_t work;
    struct watch *watch;
    struct look look;
};

struct watch {
    uv_loop_t *loop;
    char *folder;
    uv_timer_t next; /* while a look is under way: when that counts as slow */
    struct watch_look *looking;
    uint64_t begun;   /* looks */
    uint64_t again;   /* ms from the end of the look under way to the next one */
    int inotify;      /* -1: none */
    uv_poll_t events; /* open while inotify >= 0 */
    int watches[LOOK_PLACES];
    int watch_status;         /* 0, or -errno: why the folder is polled */
    char *real;               /* the folder without links, at the last look */
    struct stat inode;        /* of the folder, at the last look that could read it */
    uint64_t moved_at;        /* ms of the loop's clock; 0: it is the first folder */
    int status;               /* of the last look */
    bool slow;                /* the look under way is */
    char *trouble;            /* NULL: none */
    struct watch_file *files; /* sorted by name */
    size_t count;
    bool closing;
    bool closed; /* its handles are; it is freed after the look under way */
    struct handles handles;
    const struct watch_handler *handler;
    void *data;
};

/* ---- files ---- */

static int compare_name(const void *name, const void *file)
{
    return strcmp(name, ((const struct watch_file *)file)->name);
}

/* Return the file, which need not be there. */
static struct watch_file *watch_file(struct watch *watch, const char *name)
{
    struct watch_file *file = watch->count == 0 ? NULL
                                                : bsearch(name, watch->files, watch->count,
                                                          sizeof *watch->files, compare_name);
    size_t at = 0;

    if (file)
        return file;
    watch->files = mem_realloc(watch->files, (watch->count + 1) * sizeof *watch->files);
    while (at < watch->count && strcmp(watch->files[at].name, name) < 0)
        at++;
    file = &watch->files[at];
    memmove(file + 1, file, (watch->count - at) * sizeof *file);
    *file = (struct watch_file){.name = mem_strdup(name), .gone_at = uv_now(watch->loop)};
    watch->count++;
    return file;
}

/* Return for how long nobody has changed the inode, in ms. */
static uint64_t age_ms(const struct stat *stat)
{
    struct timespec now;
    int64_t age;

    clock_gettime(CLOCK_REALTIME, &now);
    age = (int64_t)(now.tv_sec - stat->st_ctim.tv_sec) * 1000 +
          (now.tv_nsec - stat->st_ctim.tv_nsec) / 1000000;
    return age > 0 ? (uint64_t)age : 0;
}

/* Set whether the file is settled; return the ms after which it may be. */
static uint64_t file_settle(const struct watch *watch, struct watch_file *file)
{
    uint64_t quiet = uv_now(watch->loop) - file->seen_at, age = age_ms(&file->stat);
    uint64_t wanted = file->quick ? QUICK_MS : SETTLE_MS;

    if (!file->quick && age > quiet)
        quiet = age;
    file->settled |= quiet >= wanted;
    file->quick &= !file->settled;
    return file->settled ? POLL_MS : wanted - quiet;
}

/* The file is there. */
static void file_see(const struct watch *watch, struct watch_file *file, struct look_file *seen)
{
    bool same = file->there && look_is_same(&file->stat, &seen->stat);

    if (file->there && seen->is_link && file->stat.st_ino != seen->stat.st_ino)
        file->quick = true;
    if (!same) {
        file->seen_at = uv_now(watch->loop);
        file->settled = false;
    }
    file->stat = seen->stat;
    file->sum = seen->sum;
    file->there = true;
    file->gone_at = 0;
}

/* The file is missed. Return 0 if it is gone for good, else the ms after which it may be. */
static uint64_t file_miss(const struct watch *watch, struct watch_file *file)
{
    uint64_t now = uv_now(watch->loop), until = 0;

    if (watch->moved_at)
        until = watch->moved_at + MOVED_MS;
    if (file->there && now < until)
        log_warn("plugin file missing in the new plugin folder, its plugin serves on for %d s "
                 "file=%s/%s",
                 MOVED_MS / 1000, watch->folder, file->name);
    if (file->there)
        file->gone_at = now;
    file->there = file->settled = false;
    if (until < file->gone_at + GONE_MS)
        until = file->gone_at + GONE_MS;
    return now < until ? until - now : 0;
}

/* Merge what was seen into the files, both sorted. Return the ms until something may settle. */
static uint64_t watch_merge(struct watch *watch, struct look *look)
{
    struct watch_file *merged = mem_alloc((watch->count + look->count + 1) * sizeof *merged);
    size_t old = 0, new = 0, count = 0;
    uint64_t next = POLL_MS, wait;

    while (old < watch->count || new < look->count) {
        int order = old == watch->count  ? 1
                    : new == look->count ? -1
                                         : strcmp(watch->files[old].name, look->files[new].name);
        struct watch_file *file = &merged[count++];

        if (order <= 0)
            *file = watch->files[old++];
        else
            *file = (struct watch_file){.name = mem_strdup(look->files[new].name)};
        if (order >= 0)
            file_see(watch, file, &look->files[new ++]);
        wait = order >= 0 ? file_settle(watch, file) : file_miss(watch, file);
        if (wait == 0) {
            free(file->name);
            count--;
        } else if (wait < next) {
            next = wait;
        }
    }
    free(watch->files);
    watch->files = merged;
    watch->count = count;
    return next;
}

/* ---- the folder ---- */

/* Keep the watches that the look has set and no others. */
static void watch_keep_watches(struct watch *watch, const struct look *look)
{
    for (unsigned i = 0; i < LOOK_PLACES; i++) {
        int old = watch->watches[i];
        bool kept = old < 0;
        for (unsigned at = 0; at < LOOK_PLACES; at++)
            kept |= look->watches[at] == old;
        if (!kept)
            inotify_rm_watch(watch->inotify, old);
    }
    memcpy(watch->watches, look->watches, sizeof watch->watches);
}

/* Say once when the folder can no longer, or again, be watched. */
static void watch_tell_how(struct watch *watch, int status)
{
    if (status < 0 && watch->watch_status != status)
        log_warn("cannot watch the plugin folder: %s; it is looked at every %d s plugins=%s",
                 strerror(-status), POLL_MS / 1000, watch->folder);
    else if (status == 0 && watch->watch_status < 0)
        log_info("plugin folder watched plugins=%s", watch->folder);
    watch->watch_status = status;
}

/* Say once when the folder went away, came back, or is another one. */
static void watch_tell_folder(struct watch *watch, const struct look *look)
{
    bool moved =
        look->status == 0 && watch->inode.st_ino != 0 &&
        (look->inode.st_ino != watch->inode.st_ino || look->inode.st_dev != watch->inode.st_dev);
    bool back = look->status == 0 && watch->status < 0;

    if (look->status < 0 && watch->status != look->status) {
        log_warn("plugin folder missing, its plugins serve on: %s plugins=%s",
                 strerror(-look->status), watch->folder);
        free(watch->trouble);
        watch->trouble =
            mem_printf("%s; its plugins serve on until it is back", strerror(-look->status));
    }
    if (moved || back)
        log_info("plugin folder %s plugins=%s real=%s", moved ? "replaced" : "back", watch->folder,
                 look->real ? look->real : "-");
    if (look->status == 0 && (moved || back || watch->inode.st_ino == 0))
        modes_check("plugin folder", watch->folder, &look->inode, MODES_CODE, false, NULL);
    if (look->status == 0)
        mem_set(&watch->trouble, NULL);
    if (moved || back) /* the next folder may have the number of the last one */
        watch->moved_at = uv_now(watch->loop);
    watch->status = look->status;
    if (look->status == 0)
        watch->inode = look->inode;
}

/* ---- looks ---- */

static void watch_open_inotify(struct watch *watch);
static void on_next(uv_timer_t *timer);

/* Take what the look has seen. Return the ms until the next one. */
static uint64_t watch_take(struct watch *watch, struct look *look)
{
    uint64_t next = POLL_MS;

    if (watch->inotify >= 0)
        watch_keep_watches(watch, look);
    watch_tell_folder(watch, look);
    if (look->status == 0) {
        if (watch->inotify >= 0)
            watch_tell_how(watch, look->watch_status);
        free(watch->real);
        watch->real = look->real;
        look->real = NULL;
        next = watch_merge(watch, look);
    }
    watch->handler->looked(watch->data, watch->begun, look->status, watch->files, watch->count);
    return next;
}

static void watch_free(struct watch *watch)
{
    if (watch->inotify >= 0)
        close(watch->inotify);
    for (size_t i = 0; i < watch->count; i++)
        free(watch->files[i].name);
    free(watch->files);
    free(watch->folder);
    free(watch->real);
    free(watch->trouble);
    free(watch);
}

static void on_work(uv_work_t *work)
{
    struct watch_look *looking = work->data;

    look_at(&looking->look);
}

static void on_worked(uv_work_t *work, int status)
{
    struct watch_look *looking = work->data;
    struct watch *watch = looking->watch;
    uint64_t next;

    (void)status; /* it is never cancelled */
    watch->looking = NULL;
    if (watch->closing) {
        if (watch->closed)
            watch_free(watch);
    } else {
        if (watch->slow)
            log_info("plugin folder answers again plugins=%s", watch->folder);
        watch->slow = false;
        next = watch_take(watch, &looking->look);
        if (!watch->closing) /* by looked() */
            uv_timer_start(&watch->next, on_next, next < watch->again ? next : watch->again, 0);
    }
    look_finish(&looking->look);
    free(looking);
}

static void watch_begin(struct watch *watch)
{
    struct watch_look *looking = mem_alloc(sizeof *looking);

    watch_open_inotify(watch);
    looking->watch = watch;
    looking->work.data = looking;
    looking->look.folder = watch->folder;
    looking->look.inotify = watch->inotify;
    watch->looking = looking;
    watch->begun++;
    watch->again = POLL_MS;
    uv_timer_start(&watch->next, on_next, SLOW_MS, 0);
    pool_queue(watch->loop, &looking->work, on_work, on_worked);
}

static void on_next(uv_timer_t *timer)
{
    struct watch *watch = timer->data;

    if (watch->looking == NULL) {
        watch_begin(watch);
        return;
    }
    watch->slow = true;
    log_warn("plugin folder does not answer for %d s, its plugins serve on plugins=%s",
             SLOW_MS / 1000, watch->folder);
}

/* Have a look begin in this time, or sooner. */
static void watch_want(struct watch *watch, uint64_t ms)
{
    if (watch->looking == NULL) {
        if (uv_timer_get_due_in(&watch->next) > ms)
            uv_timer_start(&watch->next, on_next, ms, 0);
    } else if (ms < watch->again) {
        watch->again = ms;
    }
}

uint64_t watch_look(struct watch *watch)
{
    watch_want(watch, 0);
    return watch->begun + 1;
}

/* ---- inotify ---- */

static bool is_named(const char *path, const char *name)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return strcmp(slash ? slash + 1 : path ? path : "", name) == 0;
}

/* Note what the event says about a plugin file. Return true if a look is wanted. */
static bool watch_note_file(struct watch *watch, const char *name, uint32_t mask)
{
    if (look_is_plugin(name)) {
        if (mask & (IN_MOVED_TO | IN_CLOSE_WRITE))
            watch_file(watch, name)->quick = true;
        else if (mask & IN_MODIFY)
            watch_file(watch, name)->quick = false;
        return true;
    }
    /* A link may lead through it; what is written into it does not matter, unless it is a sum. */
    return mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) || strstr(name, LOOK_SUM);
}

/* Return true if a look is wanted. */
static bool watch_note(struct watch *watch, const struct inotify_event *event)
{
    const char *name = event->len > 0 ? event->name : "";

    if (event->mask & IN_IGNORED)
        return false;
    if (event->wd == watch->watches[LOOK_FOLDER] && *name)
        return watch_note_file(watch, name, event->mask);
    if (event->wd == watch->watches[LOOK_NAME] || event->wd == watch->watches[LOOK_REAL])
        return !*name || is_named(watch->folder, name) || is_named(watch->real, name);
    return true; /* the folder itself, events that were lost, or a watch set a moment ago */
}

static void on_events(uv_poll_t *handle, int status, int which)
{
    struct watch *watch = handle->data;
    _Alignas(struct inotify_event) char buffer[4096];
    const struct inotify_event *event;
    bool wanted = status < 0;
    ssize_t got;

    (void)which;
    while ((got = read(watch->inotify, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + got; at += sizeof *event + event->len) {
            event = (const struct inotify_event *)at;
            wanted |= watch_note(watch, event);
        }
    }
    if (wanted)
        watch_want(watch, LOOK_MS);
}

/* Try, unless it is open: an instance may have become free. */
static void watch_open_inotify(struct watch *watch)
{
    if (watch->inotify >= 0)
        return;
    watch->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->inotify < 0) {
        watch_tell_how(watch, -errno);
        return;
    }
    uv_poll_init(watch->loop, &watch->events, watch->inotify);
    watch->events.data = watch;
    uv_poll_start(&watch->events, UV_READABLE, on_events);
}

/* ---- the whole ---- */

static void on_closed(void *owner)
{
    struct watch *watch = owner;

    watch->closed = true;
    if (watch->looking == NULL)
        watch_free(watch);
}

void watch_close(struct watch *watch)
{
    if (watch == NULL)
        return;
    watch->closing = true;
    handles_close(&watch->handles, on_closed, watch, &watch->next,
                  watch->inotify >= 0 ? &watch->events : NULL, NULL);
}

int watch_open(uv_loop_t *loop, const char *folder, const struct watch_handler *handler, void *data,
               struct watch **out)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    struct look look = {.folder = folder};
    size_t length = strlen(folder);
    int status;

    watch->loop = loop;
    watch->folder = mem_strdup(folder);
    while (length > 1 && watch->folder[length - 1] == '/')
        watch->folder[--length] = '\0';
    watch->inotify = -1;
    watch->handler = handler;
    watch->data = data;
    for (unsigned i = 0; i < LOOK_PLACES; i++)
        watch->watches[i] = -1;
    uv_timer_init(loop, &watch->next);
    watch->next.data = watch;
    watch_open_inotify(watch);
    look.inotify = watch->inotify;
    look_at(&look);
    status = look.status;
    if (status == 0)
        uv_timer_start(&watch->next, on_next, watch_take(watch, &look), 0);
    look_finish(&look);
    if (status < 0) {
        watch_close(watch);
        return status;
    }
    *out = watch;
    return 0;
}

void watch_snapshot(const struct watch *watch, struct watch_snapshot *out)
{
    *out = (struct watch_snapshot){.folder = watch->folder,
                                   .how = watch->watch_status < 0 ? "polled" : "watched",
                                   .trouble = watch->slow ? "it does not answer" : watch->trouble};
}
