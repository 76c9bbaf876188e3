/*
 * The variables of a run, as its tasks see them: an immutable chain, newest
 * first. Setting one puts a link in front; so a snapshot is a pointer, and tasks
 * that share older links do not see it. The links and strings live until the run
 * ends.
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

/* Return the value, or NULL. */
const char *vars_find(const struct var *vars, const char *key);

/* Return whether an agent may use this name: printable ASCII without spaces. */
bool vars_key_is_valid(const char *key);

/* Return whether the host keeps this name, or its prefix, for itself. */
bool vars_key_is_host(const char *key);

/* Return the bytes of AGENT_CTX_MAX that a variable takes. */
size_t vars_size(const char *key, const char *value);

/* Return a link in front of vars with copies of both strings, which the caller frees. */
struct var *vars_push(const struct var *vars, const char *key, const char *value);

#endif
