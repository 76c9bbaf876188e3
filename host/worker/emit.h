/*
 * What an agent emits, on its way to be an event: checked and measured, then
 * written where it goes. It points to the agent's own strings until then.
 */
#ifndef WORKER_EMIT_H
#define WORKER_EMIT_H

#include <stdbool.h>
#include <stddef.h>

struct emit {
    const char *type;
    size_t type_length;
    const char *text;
    size_t length;
    size_t json_length; /* without a scope */
    bool is_object;
    bool is_delta; /* text is what the JSON says, not the JSON */
};

/* Of emit_event(): 0 or -EINVAL. */
int emit_of_event(struct emit *emit, const char *type, const char *json);

/* Of emit_text(): 0 or -EINVAL. */
int emit_of_text(struct emit *emit, const char *utf8);

/*
 * The member that a scope adds, "scope":NAME, which the caller frees; NULL for
 * none. -EINVAL if the name is not UTF-8.
 */
int emit_scope(const char *name, char **member);

/* The bytes of its JSON with that member, or without if it is NULL. */
size_t emit_size(const struct emit *emit, const char *scope);

/* Writes so many bytes; the scope is the first member. */
void emit_write(const struct emit *emit, const char *scope, char *json);

#endif
