/*
 * The clients' tokens: a file with a line SUBJECT:SHA256 for each token, the
 * hash in 64 hexadecimal digits; blank lines and lines that begin with # do not
 * count. The tokens themselves are never stored. A subject may have several
 * tokens, so that an old token works while a new one replaces it. If a hash stands in
 * several lines, the last one counts.
 */
#ifndef API_TOKENS_H
#define API_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#define TOKENS_MAX 65536

#define TOKENS_SUBJECT_MAX   64
#define TOKENS_SUBJECT_WANTS "1 to 64 letters, digits, '-', '_', '.' and '@'"

/* Size of a token's hash in hexadecimal digits, with the NUL. */
#define TOKENS_HASH_SIZE 65

struct tokens;
struct why;

/* On any thread. -errno if the file cannot be read, -EINVAL if a line is refused; why says where,
 * too. */
int tokens_load(const char *file, struct tokens **out, struct why *why);

/* tokens may be NULL. */
void tokens_destroy(struct tokens *tokens);

size_t tokens_count(const struct tokens *tokens);

/* Return the subject of a token, or NULL. Its time tells nothing about the tokens that there are.
 */
const char *tokens_subject(const struct tokens *tokens, const char *token);

/* The two parts of a line of the file. */
bool tokens_is_subject(const char *text);
void tokens_hash(const char *token, char out[TOKENS_HASH_SIZE]);

#endif
