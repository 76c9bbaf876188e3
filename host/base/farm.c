/*
 * The worker's user, who may be another one, must be able to follow the links.
 *
 * Whoever removes a farm need not trust who made it: links are not followed, no more than
 * FARM_DEPTH folders deep and LINKS_MAX entries each.
 */
#include "base/farm.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Links in each folder; what a larger folder holds beyond that is not found. */
#define LINKS_MAX 4096

#define FARM_DEPTH 2

/* Bytes that are copied at once. */
#define PIECE ((size_t)4 << 20)

char *farm_path(void)
{
    const char *folder = getenv("TMPDIR");
    uint64_t random[2];

    if (getrandom(random, sizeof random, 0) != sizeof random)
        return NULL;
    return mem_printf("%s/sluice-%016" PRIx64 "%016" PRIx64, folder && *folder ? folder : "/tmp",
                      random[0], random[1]);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* In the new folder `farm`, link to all in `folder` but the entry `except`. */
static void link_all(const char *farm, const char *folder, const char *except)
{
    const struct dirent *entry;
    unsigned count = 0;
    DIR *list;

    if (mkdir(farm, 0700) < 0 || chmod(farm, 0755) < 0 || (list = opendir(folder)) == NULL)
        return;
    while ((entry = readdir(list)) && count < LINKS_MAX) {
        if (is_dots(entry->d_name) || strcmp(entry->d_name, except) == 0)
            continue;
        char *from = mem_printf("%s/%s", farm, entry->d_name);
        char *to = mem_printf("%s/%s", folder, entry->d_name);
        count += symlink(to, from) == 0;
        free(from);
        free(to);
    }
    closedir(list);
}

/* Make the new file at this path a copy, where files can be loaded from. */
static int copy_file(const char *from, const char *path)
{
    int source = open(from, O_RDONLY | O_CLOEXEC);
    int copy = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t sent = source < 0 || copy < 0 || fchmod(copy, 0755) < 0 ? -1 : 1;
    struct statvfs system;

    if (sent > 0 && fstatvfs(copy, &system) == 0 && (system.f_flag & ST_NOEXEC)) {
        errno = ENOEXEC;
        sent = -1;
    }
    while (sent > 0)
        sent = sendfile(copy, source, NULL, PIECE);
    if (source >= 0)
        close(source);
    if (copy >= 0)
        close(copy);
    return (int)sent;
}

char *farm_make(const char *path, const char *file, const char *target, bool is_copied)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    char *given = slash ? mem_printf("%.*s/", (int)(slash - file), file) : mem_strdup(".");
    char *folder = realpath(given, NULL), *parent = NULL, *inner = NULL, *link = NULL;
    char *last = folder ? strrchr(folder, '/') : NULL;

    if (last && last[1]) {
        parent = mem_printf("%.*s/", (int)(last - folder), folder);
        inner = mem_printf("%s/%s", path, last + 1);
        link_all(path, parent, last + 1);
        link_all(inner, folder, name);
        link = mem_printf("%s/%s", inner, name);
    }
    if (link && (is_copied ? copy_file(target, link) : symlink(target, link)) < 0) {
        free(link);
        link = NULL;
    }
    free(inner);
    free(parent);
    free(folder);
    free(given);
    return link;
}

static void remove_entry(int folder, const char *name, unsigned depth)
{
    const struct dirent *entry;
    unsigned count = 0;
    DIR *list;
    int fd;

    if (unlinkat(folder, name, 0) == 0 || depth == 0)
        return;
    fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    list = fdopendir(fd);
    if (list == NULL) {
        close(fd);
        return;
    }
    while ((entry = readdir(list)) && count++ < LINKS_MAX + 2) {
        if (!is_dots(entry->d_name))
            remove_entry(dirfd(list), entry->d_name, depth - 1);
    }
    closedir(list);
    unlinkat(folder, name, AT_REMOVEDIR);
}

void farm_remove(const char *path)
{
    remove_entry(AT_FDCWD, path, FARM_DEPTH);
}
