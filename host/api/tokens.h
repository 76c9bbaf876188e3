/*
 * The clients' tokens: a file with a line SUBJECT:SHA256 for each, the hash of
 * the token in 64 hexadecimal digits; blank lines and lines that begin with #
 * do not count. The tokens themselves are nowhere. A subject may have several,
 * so that one can be replaced while the other still works.
 */
#ifndef API_TOKENS_H
#define API_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#define TOKENS_MAX 65536

#define TOKENS_SUBJECT_MAX   64
#define TOKENS_SUBJECT_WANTS "1 to 64 letters, digits, '-', '_', '.' and '@'"

/* Of a token's hash in hexadecimal digits, with the NUL. */
#define TOKENS_HASH_SIZE 65

struct tokens;

/* -errno if the file cannot be read, -EINVAL if a line is refused; error says where and why. */
int tokens_load(const char *file, struct tokens **out, char *error, size_t error_size);

/* NULL is fine. */
void tokens_destroy(struct tokens *tokens);

size_t tokens_count(const struct tokens *tokens);

/* Whose token it is; NULL if nobody's. Takes as long for the one as for the other. */
const char *tokens_subject(const struct tokens *tokens, const char *token);

/* What a line of the file is made of. */
bool tokens_is_subject(const char *text);
void tokens_hash(const char *token, char out[TOKENS_HASH_SIZE]);

#endif
