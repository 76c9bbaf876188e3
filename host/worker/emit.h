/*
 * An event on its way from the agent into a frame: checked and measured, then
 * written where it goes. Until then it points to the agent's own strings.
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

/* Take what emit_event() was given: 0 or -EINVAL. */
int emit_of_event(struct emit *emit, const char *type, const char *json);

/* Take what emit_text() was given: 0 or -EINVAL. */
int emit_of_text(struct emit *emit, const char *utf8);

/* Make the member that a scope adds, "scope":NAME, which the caller frees; NULL for no name.
 * -EINVAL if the name is not UTF-8. */
int emit_scope(const char *name, char **member);

/* Return the bytes of its JSON, with that member unless it is NULL. */
size_t emit_size(const struct emit *emit, const char *scope);

/* Write its JSON: emit_size() bytes. The scope is the first member. */
void emit_write(const struct emit *emit, const char *scope, char *json);

#endif
