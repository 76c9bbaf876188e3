/* How far two words are apart, to find the key that somebody meant to write. */
#ifndef CONFIG_SPELLING_H
#define CONFIG_SPELLING_H

#include <stdbool.h>

/*
 * Return true if a becomes b by at most `most` steps, each of which adds, drops or
 * changes a letter or swaps two neighbours; of two words longer than 64 bytes, never.
 */
bool spelling_is_near(const char *a, const char *b, unsigned most);

#endif
