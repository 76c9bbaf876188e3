#include "../case.h"
#include "api/tokens.h"
#include "base/why.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file in the folder of the group: messages name it without a path. */
#define FILE_NAME "tokens"

/* Computed by sha256sum. */
#define HASH_OF_ONE "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
#define HASH_OF_TWO "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"

static struct tokens *tokens;
static struct why why;

static void setup(void)
{
    tokens = NULL;
    why_set(&why, 0, "untouched");
}

static void teardown(void)
{
    tokens_destroy(tokens);
    why_finish(&why);
    unlink(FILE_NAME);
}

static int load_bytes(const void *data, size_t length)
{
    FILE *file = fopen(FILE_NAME, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fchmod(fileno(file), 0600), 0);
    ck_assert_uint_eq(fwrite(data, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
    return tokens_load(FILE_NAME, &tokens, &why);
}

static void expect_load(const char *text, size_t count)
{
    int status = load_bytes(text, strlen(text));

    ck_assert_msg(status == 0, "%s", why_text(&why));
    ck_assert_str_eq(why_text(&why), "untouched");
    ck_assert_uint_eq(tokens_count(tokens), count);
}

static void expect_refusal(const char *text, const char *message)
{
    ck_assert_int_eq(load_bytes(text, strlen(text)), -EINVAL);
    ck_assert_str_eq(why_text(&why), message);
    ck_assert_ptr_null(tokens);
}

static void expect_subject(const char *token, const char *subject)
{
    ck_assert_pstr_eq(tokens_subject(tokens, token), subject);
}

CASES("tokens", .setup_once = case_folder_make, .teardown_once = case_folder_remove, .setup = setup,
      .teardown = teardown);

CASE(hash)
{
    char text[TOKENS_HASH_SIZE];

    tokens_hash("one", text);
    ck_assert_str_eq(text, HASH_OF_ONE);
    tokens_hash("two", text);
    ck_assert_str_eq(text, HASH_OF_TWO);
}

CASE(subjects)
{
    char longest[] = "0123456789012345678901234567890123456789012345678901234567890123";

    ck_assert(tokens_is_subject("a"));
    ck_assert(tokens_is_subject("Alice.B_c-2@example.org"));
    ck_assert_uint_eq(strlen(longest), 64);
    ck_assert(tokens_is_subject(longest));
    ck_assert(
        !tokens_is_subject("01234567890123456789012345678901234567890123456789012345678901234"));
    ck_assert(!tokens_is_subject(""));
    ck_assert(!tokens_is_subject("a b"));
    ck_assert(!tokens_is_subject("a:b"));
    ck_assert(!tokens_is_subject("gr\xc3\xbc\xc3\x9f"));
}

CASE(empty_file)
{
    expect_load("", 0);
    expect_subject("one", NULL);
    expect_subject("", NULL);
}

CASE(entries)
{
    expect_load("alice:" HASH_OF_ONE "\nbob:" HASH_OF_TWO "\n", 2);
    expect_subject("one", "alice");
    expect_subject("two", "bob");
    expect_subject("three", NULL);
    expect_subject("one ", NULL);
    expect_subject("One", NULL);
    expect_subject("", NULL);
    expect_subject(HASH_OF_ONE, NULL);
}

CASE(comments_and_blanks)
{
    expect_load("# who\n\n  \t\n  # more: than this\n \talice:" HASH_OF_ONE " \r\n"
                "bob:" HASH_OF_TWO,
                2);
    expect_subject("one", "alice");
    expect_subject("two", "bob");
}

CASE(capital_digits)
{
    expect_load("alice:7692C3AD3540BB803C020B3AEE66CD8887123234EA0C6E7143C0ADD73FF431ED\n", 1);
    expect_subject("one", "alice");
}

CASE(subject_with_several_tokens)
{
    expect_load("alice:" HASH_OF_ONE "\nalice:" HASH_OF_TWO "\n", 2);
    expect_subject("one", "alice");
    expect_subject("two", "alice");
}

/* A hash that differs in one bit does not match. */
CASE(hashes_that_differ_in_a_digit)
{
    for (size_t at = 0; at < 64; at++) {
        char text[] = "alice:" HASH_OF_ONE;
        char *digit = text + strlen("alice:") + at;
        *digit = *digit == '0' ? '8' : '0';
        expect_load(text, 1);
        expect_subject("one", NULL);
        tokens_destroy(tokens);
        tokens = NULL;
    }
}

CASE(line_without_a_colon)
{
    expect_refusal("# who\n\nslc_secret\n",
                   "tokens:3: no ':' in this line; write SUBJECT:SHA256, as `sluice token` does");
}

CASE(bad_subject)
{
    const char *message = "tokens:1: the subject before the ':' must be 1 to 64 letters, digits, "
                          "'-', '_', '.' and '@'";

    expect_refusal(":" HASH_OF_ONE "\n", message);
    expect_refusal("a b:" HASH_OF_ONE "\n", message);
    expect_refusal("alice :" HASH_OF_ONE "\n", message);
    expect_refusal("01234567890123456789012345678901234567890123456789012345678901234:" HASH_OF_ONE,
                   message);
}

CASE(bad_hash)
{
    const char *message =
        "tokens:2: after the ':' there must be a token's SHA-256 in 64 hexadecimal digits";

    expect_refusal("\nalice:\n", message);
    expect_refusal("\nalice:secret\n", message);
    expect_refusal("\nalice: " HASH_OF_ONE "\n", message);
    expect_refusal("\nalice:" HASH_OF_ONE "0\n", message);
    expect_refusal("\nalice:" HASH_OF_ONE ":\n", message);
    expect_refusal("\nalice:" HASH_OF_ONE " # hers\n", message);
    expect_refusal("\nalice:x692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n",
                   message);
}

CASE(nul_byte)
{
    static const char text[] = "alice:" HASH_OF_ONE "\0\n";

    ck_assert_int_eq(load_bytes(text, sizeof text - 1), -EINVAL);
    ck_assert_str_eq(why_text(&why), "tokens:1: a NUL byte; the file must be text");
}

static char *many_lines(size_t count)
{
    static const char line[] = "alice:" HASH_OF_ONE "\n";
    char *text = malloc(count * strlen(line) + 1);

    for (size_t i = 0; i < count; i++)
        strcpy(text + i * strlen(line), line);
    return text;
}

/* Time to refuse many tokens, with a file of this many others. */
static clock_t time_refusals(unsigned count)
{
    size_t size = strlen("ann:\n") + TOKENS_HASH_SIZE - 1;
    char *text = malloc(count * size + 1), name[24];
    clock_t start;

    for (unsigned i = 0; i < count; i++) {
        char hash[TOKENS_HASH_SIZE];

        snprintf(name, sizeof name, "token %u", i);
        tokens_hash(name, hash);
        sprintf(text + i * size, "ann:%s\n", hash);
    }
    expect_load(text, count);
    expect_subject("token 0", "ann");
    start = clock();
    for (unsigned i = 0; i < 4000; i++) {
        snprintf(name, sizeof name, "other %u", i);
        ck_assert_ptr_null(tokens_subject(tokens, name));
    }
    start = clock() - start;
    tokens_destroy(tokens);
    tokens = NULL;
    free(text);
    return start;
}

CASE(refusal_walks_over_no_file)
{
    expect_no_walk(time_refusals, 256);
}

CASE(last_line_of_a_hash_counts)
{
    expect_load("ann:" HASH_OF_ONE "\nbob:" HASH_OF_TWO "\ncid:" HASH_OF_ONE "\n", 3);
    expect_subject("one", "cid");
    expect_subject("two", "bob");
}

CASE(most_entries)
{
    char *text = many_lines(TOKENS_MAX);

    expect_load(text, TOKENS_MAX);
    expect_subject("one", "alice");
    free(text);
}

CASE(too_many_entries)
{
    char *text = many_lines(TOKENS_MAX + 1);

    expect_refusal(text, "tokens:65537: the file has more than 65536 tokens");
    free(text);
}

CASE(missing_file)
{
    ck_assert_int_eq(tokens_load("none", &tokens, &why), -ENOENT);
    ck_assert_str_eq(why_text(&why), "none: cannot be read: No such file or directory");
    ck_assert_ptr_null(tokens);
}

CASE(folder_as_file)
{
    ck_assert_int_eq(tokens_load(".", &tokens, &why), -EISDIR);
    ck_assert_str_eq(why_text(&why), ".: cannot be read: Is a directory");
    ck_assert_ptr_null(tokens);
}

CASE(destroy_null)
{
    tokens_destroy(NULL);
}
