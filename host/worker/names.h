/*
 * The names of a plugin that the host's libraries replace. The dynamic linker looks a name up
 * in the program and its libraries first, and in the plugin and its libraries after them. So a
 * plugin that brings a function of its own, and calls it through the dynamic linker, silently
 * gets the host's.
 */
#ifndef WORKER_NAMES_H
#define WORKER_NAMES_H

#include <stddef.h>

/* Replaced names that are told one by one; the others are counted. */
#define NAMES_TOLD_MAX 10

/*
 * Write to standard error, a line each, which names of the plugin are replaced, by what, and how
 * its author keeps them. The plugin was loaded from path; file is what the operator calls it.
 * Return how many names those are.
 */
size_t names_tell_replaced(const char *path, const char *file);

#endif
