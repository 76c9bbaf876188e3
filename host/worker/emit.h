/*
 * An event on its way from the agent into a frame: checked and measured, then
 * written where it goes. Until then it points to the agent's own strings.
 */
#ifndef WORKER_EMIT_H
#define WORKER_EMIT_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

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

/* Take a question: 0 or -EINVAL. */
int emit_of_question(struct emit *emit, const char *json);

/* Take what emit_text() was given: 0 or -EINVAL. */
int emit_of_text(struct emit *emit, const char *utf8);

/* Append in words why one of the two that an agent calls refuses this; a type is refused before
 * its JSON. */
void emit_tell_event(struct buf *why, const char *type, const char *json);
void emit_tell_text(struct buf *why, const char *utf8);

/* Make the member that a scope adds, "scope":NAME, which the caller frees; NULL for no name.
 * -EINVAL if the name is not UTF-8. */
int emit_scope(const char *name, char **member);

/* Return the bytes of its JSON, with that member unless it is NULL. */
size_t emit_size(const struct emit *emit, const char *scope);

/*
 * Cut a text whose event would be too long, with its scope: make *piece of its longest start
 * that fits, which ends between two characters as readers see them, and take that away from
 * the text. Return false if the scope leaves no room.
 */
bool emit_cut(struct emit *text, const char *scope, struct emit *piece);

/* Write its JSON: emit_size() bytes. The scope is the first member. */
void emit_write(const struct emit *emit, const char *scope, char *json);

#endif
