#include "base/modes.h"

#include "base/log.h"
#include "base/user.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

int modes_check(const char *what, const char *path, const struct stat *stat, mode_t forbidden,
                bool strict, struct why *why)
{
    char fault[96];

    if (stat->st_uid != 0 && stat->st_uid != user_self())
        snprintf(fault, sizeof fault, "belongs to another user (uid %u)", (unsigned)stat->st_uid);
    else if (stat->st_mode & forbidden)
        snprintf(fault, sizeof fault, "is open to other users (mode %04o); chmod %s it",
                 (unsigned)stat->st_mode & 07777u, forbidden & S_IROTH ? "o=,g-w" : "o-w");
    else
        return 0;
    if (strict)
        return why_set(why, -EPERM, "%s: %s %s, and strict_modes = yes", what, path, fault);
    log_warn("%s %s file=%s", what, fault, path);
    return 0;
}
