/* Files that hold code or secrets: who besides root and this process's user may change or read
 * them. */
#ifndef BASE_MODES_H
#define BASE_MODES_H

#include "base/why.h"

#include <stdbool.h>
#include <sys/stat.h>

/* What nobody else may do with code, and with a secret. */
#define MODES_CODE   (S_IWOTH)
#define MODES_SECRET (S_IRWXO | S_IWGRP)

/*
 * Say that others may do with the file what the bits forbid, or that it is another
 * user's: as a warning of the log, or, if strict, in `why` with -EPERM. `what` names the
 * file's role, such as "host.tokens". Any thread.
 */
int modes_check(const char *what, const char *path, const struct stat *stat, mode_t forbidden,
                bool strict, struct why *why);

#endif
