/*
 * A request's target (RFC 9112, 3.2), taken apart: a path with a query, the
 * absolute form that clients send to a proxy, or `*`.
 *
 * The path is decoded except for %2F, which is part of a name and no separator.
 * A target that others may cut, such as at a NUL or a blank, is refused. Dot
 * segments are names like others.
 */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stddef.h>

struct target {
    const char *authority; /* of the absolute form, else NULL */
    const char *path;
    const char *query; /* NAME NUL VALUE NUL for each parameter, decoded */
    const char *end;   /* of the query */
};

/* Bytes that target_parse() writes at most for a text of this length. */
#define TARGET_ROOM(length) (2 * (length) + 4)

/* Point the target into room. Return what is wrong with the text, a literal, or NULL. */
const char *target_parse(const char *text, char *room, struct target *target);

/* Return the name of the parameter after the one with this name, the first for NULL; NULL after the
 * last. */
const char *target_next(const struct target *target, const char *name);

/* Return the value that belongs to a name of target_next(). */
const char *target_value(const char *name);

/* Return the value of the first parameter with this name, or NULL. */
const char *target_find(const struct target *target, const char *name);

#endif
