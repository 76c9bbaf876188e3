#include "api/tokens.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/why.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SUBJECT_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@"
#define HEX_DIGITS    "0123456789abcdefABCDEF"
#define HASH_LENGTH   DIGEST_SIZE
#define HASH_WORDS    (HASH_LENGTH / sizeof(uint64_t))

struct hash {
    uint64_t words[HASH_WORDS];
};

/* An entry has the same index in both arrays. */
struct tokens {
    struct hash *hashes;
    char (*subjects)[TOKENS_SUBJECT_MAX + 1];
    size_t count;
    size_t capacity;
};

static void hash_token(const char *token, struct hash *out)
{
    digest_make(token, strlen(token), (unsigned char *)out->words);
}

static bool hash_read(const char *text, struct hash *out)
{
    unsigned char bytes[HASH_LENGTH];

    if (strlen(text) != 2 * HASH_LENGTH || strspn(text, HEX_DIGITS) != 2 * HASH_LENGTH)
        return false;
    for (size_t i = 0; i < HASH_LENGTH; i++)
        sscanf(text + 2 * i, "%2hhx", &bytes[i]);
    memcpy(out->words, bytes, sizeof bytes);
    return true;
}

/* Without branches, so that the time it takes does not tell how much of a hash is right. */
static size_t hash_equals(const struct hash *a, const struct hash *b)
{
    uint64_t differ = 0;

    for (size_t i = 0; i < HASH_WORDS; i++)
        differ |= a->words[i] ^ b->words[i];
    return (size_t)(1 ^ ((differ | (0 - differ)) >> 63));
}

bool tokens_is_subject(const char *text)
{
    size_t length = strspn(text, SUBJECT_CHARS);

    return length > 0 && length <= TOKENS_SUBJECT_MAX && text[length] == '\0';
}

void tokens_hash(const char *token, char out[TOKENS_HASH_SIZE])
{
    unsigned char bytes[HASH_LENGTH];
    struct hash hash;

    hash_token(token, &hash);
    memcpy(bytes, hash.words, sizeof bytes);
    for (size_t i = 0; i < HASH_LENGTH; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- the file ---- */

static void tokens_add(struct tokens *tokens, const char *subject, const struct hash *hash)
{
    if (tokens->count == tokens->capacity) {
        tokens->capacity = tokens->capacity ? 2 * tokens->capacity : 16;
        tokens->hashes = mem_realloc(tokens->hashes, tokens->capacity * sizeof *tokens->hashes);
        tokens->subjects =
            mem_realloc(tokens->subjects, tokens->capacity * sizeof *tokens->subjects);
    }
    tokens->hashes[tokens->count] = *hash;
    strcpy(tokens->subjects[tokens->count++], subject);
}

/*
 * Take a line, which is cut apart in place. Return NULL, or why it is refused,
 * without its text, which may be a secret.
 */
static const char *line_take(struct tokens *tokens, char *line, size_t length)
{
    struct hash hash;
    char *hex;

    if (strlen(line) != length)
        return "a NUL byte; the file must be text";
    while (length > 0 && strchr(" \t\r\n", line[length - 1]))
        line[--length] = '\0';
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return NULL;
    hex = strchr(line, ':');

    if (hex == NULL)
        return "no ':' in this line; write SUBJECT:SHA256, as `sluice token` does";
    *hex++ = '\0';
    if (!tokens_is_subject(line))
        return "the subject before the ':' must be " TOKENS_SUBJECT_WANTS;
    if (!hash_read(hex, &hash))
        return "after the ':' there must be a token's SHA-256 in 64 hexadecimal digits";
    if (tokens->count == TOKENS_MAX)
        return "the file has more than 65536 tokens";
    tokens_add(tokens, line, &hash);
    return NULL;
}

int tokens_load(const char *file, struct tokens **out, struct why *why)
{
    FILE *stream = fopen(file, "re");
    struct tokens *tokens = mem_alloc(sizeof *tokens);
    const char *refused = NULL;
    size_t size = 0, number = 0;
    char *line = NULL;
    struct stat meta;
    ssize_t length;
    int status = 0;

    if (stream && fstat(fileno(stream), &meta) == 0 && meta.st_mode & S_IRWXO)
        log_warn("other users of this machine can open the file of tokens; chmod 600 it file=%s",
                 file);
    while (stream && refused == NULL && (length = getline(&line, &size, stream)) >= 0) {
        number++;
        refused = line_take(tokens, line, (size_t)length);
    }
    if (refused)
        status = why_set(why, -EINVAL, "%s:%zu: %s", file, number, refused);
    else if (stream == NULL || ferror(stream))
        status = why_set(why, -errno, "%s: cannot be read: %s", file, strerror(errno));
    free(line);
    if (stream)
        fclose(stream);
    if (status == 0)
        *out = tokens;
    else
        tokens_destroy(tokens);
    return status;
}

void tokens_destroy(struct tokens *tokens)
{
    if (tokens == NULL)
        return;
    free(tokens->hashes);
    free(tokens->subjects);
    free(tokens);
}

size_t tokens_count(const struct tokens *tokens)
{
    return tokens->count;
}

/* ---- a client's token ---- */

const char *tokens_subject(const struct tokens *tokens, const char *token)
{
    size_t found = 0; /* index of an entry, counted from 1 */
    struct hash hash;

    hash_token(token, &hash);
    for (size_t i = 0; i < tokens->count; i++) {
        size_t mask = 0 - hash_equals(&tokens->hashes[i], &hash);
        found = (found & ~mask) | ((i + 1) & mask);
    }
    return found ? tokens->subjects[found - 1] : NULL;
}
