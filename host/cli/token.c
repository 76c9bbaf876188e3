/*
 * The line of a new token goes to standard output, so that it can be appended to
 * the file; the token itself goes to standard error, so that a person sees it.
 */
#include "cli/cli.h"

#include "api/tokens.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

static const char usage[] =
    "usage: sluice token [OPTION]... SUBJECT\n"
    "\n"
    "Makes a token that lets a client in as SUBJECT. Prints its line for the file\n"
    "that host.tokens names to standard output, and the token, which is not stored,\n"
    "to standard error. SUBJECT is " TOKENS_SUBJECT_WANTS ".\n"
    "\n"
    "  -h, --help              print this\n"
    "\n"
    "Try it:\n"
    "  sluice token alice >> tokens\n"
    "  sluice serve --set host.tokens=tokens\n";

#define PREFIX     "slc_" /* people and scanners for leaked secrets recognise tokens by it */
#define TOKEN_BITS 256
#define TOKEN_SIZE (sizeof PREFIX + TOKEN_BITS / 4)

static int make_token(char token[TOKEN_SIZE])
{
    unsigned char bytes[TOKEN_BITS / 8];
    char *end = stpcpy(token, PREFIX);

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) {
        fprintf(stderr, "sluice: cannot get random bytes: %s\n", strerror(errno));
        return 1;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        end += sprintf(end, "%02x", bytes[i]);
    return 0;
}

static int print_token(const char *subject, const char *token)
{
    char hash[TOKENS_HASH_SIZE];

    tokens_hash(token, hash);
    if (printf("%s:%s\n", subject, hash) < 0 || fflush(stdout) == EOF) {
        fprintf(stderr, "sluice: cannot write the token's line: %s\n", strerror(errno));
        return 1;
    }
    fprintf(stderr, "sluice: the token of %s follows; it cannot be shown again\n%s\n", subject,
            token);
    return 0;
}

static int token_of(const char *subject)
{
    char token[TOKEN_SIZE];

    if (!tokens_is_subject(subject)) {
        fprintf(stderr, "sluice token: SUBJECT must be " TOKENS_SUBJECT_WANTS "\n");
        return cli_misused("token");
    }
    return make_token(token) ? 1 : print_token(subject, token);
}

int cli_token(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
    int code = getopt_long(argc, argv, "h", options, NULL);

    if (code == 'h') {
        fputs(usage, stdout);
        return 0;
    }
    if (code != -1)
        return cli_misused("token");
    if (optind + 1 != argc) {
        fprintf(stderr, "sluice token: give one SUBJECT\n");
        return cli_misused("token");
    }
    return token_of(argv[optind]);
}
