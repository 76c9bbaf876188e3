#include "api/tokens.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/mem.h"

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

/* One entry has the same place in both. */
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

/* Without branches: what it takes must not tell how much of a hash is right. */
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

/* Takes the line apart in place; why it is refused, without its text, which may be a secret. */
static const char *line_take(struct tokens *tokens, char *line)
{
    char *hex = strchr(line, ':');
    struct hash hash;

    if (hex == NULL)
        return "no ':' in this line; write SUBJECT:SHA256, as `sluice token` does";
    *hex++ = '\0';
    if (!tokens_is_subject(line))
        return "the subject before the ':' must be " TOKENS_SUBJECT_WANTS;
    if (!hash_read(hex, &hash))
        return "behind the ':' must be a token's SHA-256 in 64 hexadecimal digits";
    if (tokens->count == TOKENS_MAX)
        return "the file has more than 65536 tokens";
    tokens_add(tokens, line, &hash);
    return NULL;
}

/* Without the blanks at both ends, in place. */
static char *line_trim(char *line)
{
    size_t length = strlen(line);

    while (length > 0 && strchr(" \t\r\n", line[length - 1]))
        line[--length] = '\0';
    return line + strspn(line, " \t");
}

static const char *line_read(struct tokens *tokens, char *line, size_t length)
{
    if (strlen(line) != length)
        return "a NUL byte; the file must be text";
    line = line_trim(line);
    return *line && *line != '#' ? line_take(tokens, line) : NULL;
}

static int file_read(struct tokens *tokens, FILE *stream, const char *file, char *error,
                     size_t error_size)
{
    const char *why = NULL;
    char *line = NULL;
    size_t size = 0, number = 0;
    ssize_t length;
    int status = 0;

    while (why == NULL && (length = getline(&line, &size, stream)) >= 0) {
        number++;
        why = line_read(tokens, line, (size_t)length);
    }
    if (why) {
        snprintf(error, error_size, "%s:%zu: %s", file, number, why);
        status = -EINVAL;
    } else if (ferror(stream)) {
        status = -errno;
        snprintf(error, error_size, "%s: cannot be read: %s", file, strerror(errno));
    }
    free(line);
    return status;
}

static void warn_of_others(FILE *stream, const char *file)
{
    struct stat meta;

    if (fstat(fileno(stream), &meta) == 0 && meta.st_mode & S_IRWXO)
        log_warn("other users of this machine can open the file of tokens; chmod 600 it file=%s",
                 file);
}

int tokens_load(const char *file, struct tokens **out, char *error, size_t error_size)
{
    FILE *stream = fopen(file, "re");
    struct tokens *tokens;
    int status;

    if (stream == NULL) {
        status = -errno;
        snprintf(error, error_size, "%s: cannot be read: %s", file, strerror(errno));
        return status;
    }
    warn_of_others(stream, file);
    tokens = mem_alloc(sizeof *tokens);
    status = file_read(tokens, stream, file, error, error_size);
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

/* ---- a client's ---- */

const char *tokens_subject(const struct tokens *tokens, const char *token)
{
    size_t found = 0; /* of an entry, counted from 1 */
    struct hash hash;

    hash_token(token, &hash);
    for (size_t i = 0; i < tokens->count; i++) {
        size_t mask = 0 - hash_equals(&tokens->hashes[i], &hash);
        found = (found & ~mask) | ((i + 1) & mask);
    }
    return found ? tokens->subjects[found - 1] : NULL;
}
