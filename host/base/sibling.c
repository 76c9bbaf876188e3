/*
 * Looked at in this order: the folder of this program, which is the build folder; the folders of
 * the installation that this program is in, which may be below a DESTDIR; the folders that
 * configure was told. Only in the first have both the names of the build: `configure
 * --program-suffix` and its like give them others.
 */
#include "base/sibling.h"

#include "base/mem.h"
#include "base/why.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct place {
    const char *name, *folder, *installed;
} places[] = {
    {"sluice", SLUICE_BIN_DIR, SLUICE_BIN_NAME},
    {"sluice-front", SLUICE_LIBEXEC_DIR, SLUICE_FRONT_NAME},
};

#define PLACES (sizeof places / sizeof *places)

/* Return the path, if there is a program. */
static char *try(const char *folder, size_t length, const char *more, const char *name)
{
    char *path = mem_printf("%.*s%s/%s", (int)length, folder, more, name);

    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

char *sibling_path(const char *name, struct why *why)
{
    const struct place *wanted = places;
    char folder[PATH_MAX], *slash, *path;
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);

    if (length < 0) {
        why_set(why, 0, "/proc/self/exe: %s; mount /proc", strerror(errno));
        return NULL;
    }
    folder[length] = '\0';
    slash = strrchr(folder, '/');
    length = slash ? slash - folder : 0;
    while (strcmp(wanted->name, name) != 0)
        wanted++;
    path = try(folder, (size_t)length, "", name);
    for (size_t i = 0; i < PLACES && path == NULL; i++) {
        size_t end = strlen(places[i].folder);
        if ((size_t)length >= end && strncmp(folder + length - end, places[i].folder, end) == 0)
            path = try(folder, (size_t)length - end, wanted->folder, wanted->installed);
    }
    if (path == NULL)
        path = try("", 0, wanted->folder, wanted->installed);
    if (path == NULL)
        why_set(
            why, 0,
            "the program %s is neither in %.*s nor in %s: install sluice with `make install`, or "
            "copy both programs",
            name, (int)length, folder, wanted->folder);
    return path;
}
