/*
 * A save: the loop writes the JSON and takes references of the images that are not on disk
 * yet; a thread of the pool then
 *
 *   1. makes the folders, mode 0700, and sees that nobody else may write there;
 *   2. writes each image under another name, syncs and renames it;
 *   3. does the same with the JSON, which names only images that are there;
 *   4. removes images that the JSON does not name.
 *
 * One save is under way at a time; those wanted meanwhile become one. A save of large
 * images that has not ended when the server has stopped is given up. If a save fails, what
 * was on disk before holds, and the images stay in memory.
 */
#include "fleet/history.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAX 65536

/* Bytes that are written and synced between two looks at whether the save is still wanted. */
#define PIECE ((off_t)8 << 20)

struct history_save {
    uv_work_t work;
    struct history *history; /* NULL: it is closed */
    atomic_bool cancelled;
    char *folder, *json;
    struct version versions[HISTORY_MAX]; /* number and image only */
    unsigned count;
    int status;
};

void history_file(const struct stat *stat, char out[HISTORY_FILE])
{
    *out = '\0';
    if (stat->st_ino)
        snprintf(out, HISTORY_FILE, "%" PRIuMAX ":%jd:%jd.%09ld", (uintmax_t)stat->st_ino,
                 (intmax_t)stat->st_size, (intmax_t)stat->st_mtim.tv_sec, stat->st_mtim.tv_nsec);
}

/* ---- versions ---- */

struct version *history_find(struct history *history, uint64_t generation)
{
    for (unsigned i = history->count; i-- > 0;) {
        struct version *version = &history->versions[i];
        if (version->number == generation || version->latest == generation)
            return version;
    }
    return NULL;
}

struct version *history_before(struct history *history)
{
    const struct version *now = history_find(history, history->serves);

    for (unsigned i = history->count; now && i-- > 0;) { /* that one, or the next older one */
        if (history->versions[i].number <= now->before)
            return &history->versions[i];
    }
    return NULL;
}

struct version *history_of_file(struct history *history, const char *file)
{
    for (unsigned i = history->count; *file && i-- > 0;) {
        if (strcmp(history->versions[i].file, file) == 0)
            return &history->versions[i];
    }
    return NULL;
}

static void version_finish(struct version *version)
{
    image_unref(version->image);
    free(version->name);
}

/* Let go of images that are on disk, and of versions that are in no place. */
static void history_trim(struct history *history)
{
    for (unsigned i = 0; i + HISTORY_MEMORY < history->count; i++) {
        image_unref(history->versions[i].image);
        history->versions[i].image = NULL;
    }
    for (unsigned i = 0; i < history->count; i++) {
        if (history->versions[i].image || history->versions[i].stored)
            continue;
        version_finish(&history->versions[i]);
        history->count--;
        memmove(&history->versions[i], &history->versions[i + 1],
                (history->count - i) * sizeof *history->versions);
        i--;
    }
}

void history_add(struct history *history, uint64_t number, const char *name, const char *file,
                 struct image *image)
{
    struct version *version;

    if (history->count == HISTORY_MAX) {
        version_finish(&history->versions[0]);
        history->count--;
        memmove(&history->versions[0], &history->versions[1],
                history->count * sizeof *history->versions);
    }
    version = &history->versions[history->count++];
    *version = (struct version){.number = number,
                                .latest = number,
                                .before = history->serves,
                                .name = mem_strdup(name),
                                .image = image_ref(image)};
    snprintf(version->file, sizeof version->file, "%s", file);
    if (history->folder == NULL)
        history_trim(history);
}

char *history_path(const struct history *history, const struct version *version)
{
    return mem_printf("%s/%" PRIu64 ".so", history->folder, version->number);
}

/* ---- writing ---- */

/* Make the folder, in which nobody else may write. */
static int make_folder(const char *path)
{
    struct stat found;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &found) < 0)
        return -errno;
    return S_ISDIR(found.st_mode) && found.st_uid == geteuid() && !(found.st_mode & 022) ? 0
                                                                                         : -EPERM;
}

/* Fill a new file from a descriptor or, if that is -1, from the text, and give it its name. */
static int write_file(const struct history_save *save, const char *path, int from, const char *text)
{
    char *temporary = mem_printf("%s.new", path);
    int to, status = 0;
    struct stat size;
    ssize_t sent = 1;
    off_t at = 0;

    unlink(temporary);
    to = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0 || (from >= 0 && fstat(from, &size) < 0)) {
        status = -errno;
    } else if (from >= 0) {
        while (status == 0 && at < size.st_size) {
            off_t left = size.st_size - at;
            sent = sendfile(to, from, &at, (size_t)(left < PIECE ? left : PIECE));
            status = sent < 0 ? -errno : sent == 0 ? -EIO : 0;
            if (status == 0 && fdatasync(to) < 0)
                status = -errno;
            if (status == 0 && atomic_load(&save->cancelled))
                status = -ECANCELED;
        }
    } else {
        sent = write(to, text, strlen(text));
        status = sent < 0 ? -errno : (size_t)sent < strlen(text) ? -ENOSPC : 0;
    }
    if (status == 0 && fsync(to) < 0)
        status = -errno;
    if (to >= 0)
        close(to);
    if (status == 0 && rename(temporary, path) < 0)
        status = -errno;
    if (status < 0)
        unlink(temporary);
    free(temporary);
    return status;
}

/* Remove the images that are of none of these versions. */
static void remove_others(const struct history_save *save)
{
    const struct dirent *entry;
    DIR *list = opendir(save->folder);

    while (list && (entry = readdir(list))) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        bool keep = end == entry->d_name || strcmp(end, ".so") != 0;
        for (unsigned i = 0; i < save->count; i++)
            keep |= save->versions[i].number == number;
        if (!keep)
            unlinkat(dirfd(list), entry->d_name, 0);
    }
    if (list)
        fsync(dirfd(list));
    if (list)
        closedir(list);
}

static void on_work(uv_work_t *work)
{
    struct history_save *save = work->data;
    char *above = mem_strdup(save->folder), *path;

    *strrchr(above, '/') = '\0';
    save->status = make_folder(above);
    if (save->status == 0)
        save->status = make_folder(save->folder);
    for (unsigned i = 0; i < save->count && save->status == 0; i++) {
        path = mem_printf("%s/%" PRIu64 ".so", save->folder, save->versions[i].number);
        if (save->versions[i].image)
            save->status = write_file(save, path, image_fd(save->versions[i].image), NULL);
        free(path);
    }
    path = mem_printf("%s/state", save->folder);
    if (save->status == 0)
        save->status = write_file(save, path, -1, save->json);
    if (save->status == 0)
        remove_others(save);
    free(path);
    free(above);
}

static void on_worked(uv_work_t *work, int status)
{
    struct history_save *save = work->data;
    struct history *history = save->history;

    (void)status; /* it is never cancelled */
    for (unsigned i = 0; i < save->count; i++) {
        struct version *version = history ? history_find(history, save->versions[i].number) : NULL;
        if (version && save->status == 0)
            version->stored = true;
        image_unref(save->versions[i].image);
    }
    if (save->status < 0 && save->status != -ECANCELED)
        log_error("cannot keep what rollback and drain need, they hold until the next start only: "
                  "%s folder=%s",
                  strerror(-save->status), save->folder);
    if (history) {
        history->saving = NULL;
        history->kept |= save->status == 0;
        history_trim(history);
        if (history->dirty)
            history_save(history);
    }
    cJSON_free(save->json);
    free(save->folder);
    free(save);
}

static char *history_json(const struct history *history)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *versions = cJSON_AddArrayToObject(json, "versions");
    char *text;

    cJSON_AddNumberToObject(json, "last", (double)history->last);
    cJSON_AddNumberToObject(json, "serves", (double)history->serves);
    cJSON_AddBoolToObject(json, "pinned", history->pinned);
    cJSON_AddBoolToObject(json, "drained", history->drained);
    cJSON_AddStringToObject(json, "away", history->away);
    for (unsigned i = 0; i < history->count; i++) {
        const struct version *version = &history->versions[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddNumberToObject(item, "generation", (double)version->number);
        cJSON_AddNumberToObject(item, "latest", (double)version->latest);
        cJSON_AddNumberToObject(item, "before", (double)version->before);
        cJSON_AddStringToObject(item, "version", version->name);
        cJSON_AddStringToObject(item, "file", version->file);
        cJSON_AddItemToArray(versions, item);
    }
    text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

void history_save(struct history *history)
{
    struct history_save *save;

    history->dirty = history->saving != NULL;
    if (history->folder == NULL || history->saving ||
        (history->count < 2 && !history->drained && !history->kept))
        return;
    save = mem_alloc(sizeof *save);
    save->work.data = save;
    save->history = history;
    save->folder = mem_strdup(history->folder);
    save->json = history_json(history);
    save->count = history->count;
    for (unsigned i = 0; i < history->count; i++) {
        save->versions[i].number = history->versions[i].number;
        if (!history->versions[i].stored)
            save->versions[i].image = image_ref(history->versions[i].image);
    }
    history->saving = save;
    pool_queue(history->loop, &save->work, on_work, on_worked);
}

/* ---- reading ---- */

static const char *text_of(const cJSON *json, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

    return text ? text : "";
}

static uint64_t number_of(const cJSON *json, const char *name)
{
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(json, name);

    return cJSON_IsNumber(number) && number->valuedouble >= 0 && number->valuedouble < 1e15
               ? (uint64_t)number->valuedouble
               : 0;
}

static void history_read(struct history *history, const cJSON *json)
{
    const cJSON *item;

    history->kept = true;
    history->last = number_of(json, "last");
    history->serves = number_of(json, "serves");
    history->pinned = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "pinned"));
    history->drained = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "drained"));
    snprintf(history->away, sizeof history->away, "%s", text_of(json, "away"));
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "versions")) {
        struct version *version = &history->versions[history->count];
        if (history->count == HISTORY_MAX || number_of(item, "generation") == 0)
            break;
        *version = (struct version){.number = number_of(item, "generation"),
                                    .latest = number_of(item, "latest"),
                                    .before = number_of(item, "before"),
                                    .name = mem_strdup(text_of(item, "version")),
                                    .stored = true};
        snprintf(version->file, sizeof version->file, "%s", text_of(item, "file"));
        history->count++;
    }
}

/* Return what is kept, if nobody else can have written it; to be freed, NULL for nothing. */
static char *read_state(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat found;
    char *text = NULL;
    ssize_t got;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) || found.st_uid != geteuid() ||
        (found.st_mode & 022)) {
        log_warn("kept state ignored: others may write it file=%s", path);
    } else {
        text = mem_alloc(STATE_MAX + 1);
        got = read(fd, text, STATE_MAX);
        text[got > 0 ? got : 0] = '\0';
    }
    close(fd);
    return text;
}

void history_open(struct history *history, uv_loop_t *loop, const char *state, const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file;
    char *path, *text;
    cJSON *json;

    history->loop = loop;
    if (state == NULL)
        return;
    history->folder = mem_printf("%s/%.*s", state, (int)(strlen(name) - strlen(".so")), name);
    path = mem_printf("%s/state", history->folder);
    text = read_state(path);
    json = text ? cJSON_Parse(text) : NULL;
    if (json)
        history_read(history, json);
    else if (text)
        log_warn("kept state ignored: it is not JSON file=%s", path);
    cJSON_Delete(json);
    free(text);
    free(path);
}

void history_close(struct history *history)
{
    if (history->saving) {
        atomic_store(&history->saving->cancelled, true);
        history->saving->history = NULL;
    }
    for (unsigned i = 0; i < history->count; i++)
        version_finish(&history->versions[i]);
    free(history->folder);
}
