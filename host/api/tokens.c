/*
 * A token is found by its digest, with a binary search. How long that takes must not tell
 * anybody how much of a digest is right, since a digest lets weak tokens be guessed elsewhere.
 * So the entries are sorted by a keyed digest, SHA-256(key | SHA-256(token)), whose key is
 * random and new for each load: nobody can choose a token that comes near an entry.
 */
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
#include <sys/random.h>
#include <sys/stat.h>

#define SUBJECT_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@"

struct entry {
    /* Keyed. First, since compare() takes a digest for an entry. */
    unsigned char digest[DIGEST_SIZE];
    uint32_t number; /* in the order of the file */
    char subject[TOKENS_SUBJECT_MAX + 1];
};

struct tokens {
    unsigned char key[DIGEST_SIZE];
    struct entry *entries; /* sorted by digest once all are read */
    size_t count;          /* of lines */
    size_t distinct;       /* entries whose digests differ */
    size_t capacity;
};

/* Make the digest by which an entry is found of the digest of its token. */
static void key_digest(const struct tokens *tokens, const unsigned char plain[DIGEST_SIZE],
                       unsigned char out[DIGEST_SIZE])
{
    unsigned char both[2 * DIGEST_SIZE];

    memcpy(both, tokens->key, DIGEST_SIZE);
    memcpy(both + DIGEST_SIZE, plain, DIGEST_SIZE);
    digest_make(both, sizeof both, out);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, DIGEST_SIZE);
}

/* Of equal digests, the last of the file comes first. */
static int compare_entries(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    int order = compare(one->digest, other->digest);

    return order ? order : (one->number < other->number) - (one->number > other->number);
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

static bool hex_read(const char *text, unsigned char out[DIGEST_SIZE])
{
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int high = hex_value(text[2 * i]);
        int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);

        if (low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return text[2 * DIGEST_SIZE] == '\0';
}

bool tokens_is_subject(const char *text)
{
    size_t length = strspn(text, SUBJECT_CHARS);

    return length > 0 && length <= TOKENS_SUBJECT_MAX && text[length] == '\0';
}

void tokens_hash(const char *token, char out[TOKENS_HASH_SIZE])
{
    unsigned char bytes[DIGEST_SIZE];

    digest_make(token, strlen(token), bytes);
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- the file ---- */

static void tokens_add(struct tokens *tokens, const char *subject,
                       const unsigned char plain[DIGEST_SIZE])
{
    struct entry *entry;

    if (tokens->count == tokens->capacity) {
        tokens->capacity = tokens->capacity ? 2 * tokens->capacity : 16;
        tokens->entries = mem_realloc(tokens->entries, tokens->capacity * sizeof *tokens->entries);
    }
    entry = &tokens->entries[tokens->count];
    key_digest(tokens, plain, entry->digest);
    entry->number = (uint32_t)tokens->count++;
    strcpy(entry->subject, subject);
}

/* Sort the entries. Of those with one digest, that of the last line stays. */
static void tokens_sort(struct tokens *tokens)
{
    if (tokens->count > 0)
        qsort(tokens->entries, tokens->count, sizeof *tokens->entries, compare_entries);
    for (size_t i = 0; i < tokens->count; i++) {
        if (i == 0 || compare(&tokens->entries[tokens->distinct - 1], &tokens->entries[i]) != 0)
            tokens->entries[tokens->distinct++] = tokens->entries[i];
    }
}

/*
 * Take a line, which is cut apart in place. Return NULL, or why it is refused,
 * without its text, which may be a secret.
 */
static const char *line_take(struct tokens *tokens, char *line, size_t length)
{
    unsigned char plain[DIGEST_SIZE];
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
    if (!hex_read(hex, plain))
        return "after the ':' there must be a token's SHA-256 in 64 hexadecimal digits";
    if (tokens->count == TOKENS_MAX)
        return "the file has more than 65536 tokens";
    tokens_add(tokens, line, plain);
    return NULL;
}

int tokens_load(const char *file, struct tokens **out, struct why *why)
{
    FILE *stream = fopen(file, "re");
    struct tokens *tokens = mem_alloc(sizeof *tokens);
    const char *refused = NULL;
    size_t size = 0, number = 0;
    char *line = NULL;
    ssize_t length;
    int status = 0;

    if (getrandom(tokens->key, sizeof tokens->key, 0) != sizeof tokens->key)
        log_fatal("there is no randomness to keep tokens with: %s", strerror(errno));
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
    tokens_sort(tokens);
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
    free(tokens->entries);
    free(tokens);
}

size_t tokens_count(const struct tokens *tokens)
{
    return tokens->count;
}

/* ---- a client's token ---- */

const char *tokens_subject(const struct tokens *tokens, const char *token)
{
    unsigned char digest[DIGEST_SIZE];
    const struct entry *found;

    digest_make(token, strlen(token), digest);
    key_digest(tokens, digest, digest);
    found = tokens->distinct > 0
                ? bsearch(digest, tokens->entries, tokens->distinct, sizeof *found, compare)
                : NULL;
    return found ? found->subject : NULL;
}
