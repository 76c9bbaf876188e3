/*
 * A folder of links that stands for another folder, and lies in a folder that stands for the
 * other's parent. In it, one file leads to a private copy. A library that is loaded through
 * such a folder finds by $ORIGIN and $ORIGIN/.. what lies beside the file it was copied from.
 *
 *     farm/            links to all in /srv/agents
 *     farm/plugins/    links to all in /srv/agents/plugins
 *     farm/plugins/hello.so    leads to the private copy
 */
#ifndef BASE_FARM_H
#define BASE_FARM_H

#include <stdbool.h>

/* Return a path for a new farm that nobody can guess; to be freed. NULL: no randomness. */
char *farm_path(void);

/*
 * Make the farm at this path, in which file is a link to target, or a copy of it. Return the
 * path of that, to be freed; NULL, with errno, if it cannot be made.
 */
char *farm_make(const char *path, const char *file, const char *target, bool is_copied);

/* Remove the farm, if it is there, and nothing that its links lead to. */
void farm_remove(const char *path);

#endif
