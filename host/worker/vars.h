/*
 * The variables of a run, as its tasks see them: an immutable chain, newest
 * first. To set one is to put a link in front; so a snapshot is a pointer, and
 * what a task sets is seen by none of those that share its older links. The
 * links and strings live until the run ends.
 */
#ifndef WORKER_VARS_H
#define WORKER_VARS_H

#include <stdbool.h>
#include <stddef.h>

struct var {
    const struct var *next;
    const char *key;
    const char *value; /* NULL: taken away */
};

/* The value, or NULL. */
const char *vars_find(const struct var *vars, const char *key);

/* Whether an agent may name a variable so: printable ASCII without spaces. */
bool vars_key_is_valid(const char *key);

/* Whether the host keeps this name, or names that begin like it, for itself. */
bool vars_key_is_host(const char *key);

/* What a variable takes of AGENT_CTX_MAX. */
size_t vars_size(const char *key, const char *value);

/* A link in front of vars with copies of both strings; the caller frees it. */
struct var *vars_push(const struct var *vars, const char *key, const char *value);

#endif
