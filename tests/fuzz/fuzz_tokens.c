/* Any bytes are a file of tokens: whoever has a line there is known by it, and nobody else. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif

#include "fuzz.h"

#include "api/tokens.h"
#include "base/log.h"
#include "base/why.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line of the token "one", which always comes last: it counts. */
#define LINE "\nlast:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int file = memfd_create("tokens", MFD_CLOEXEC);
    struct tokens *tokens;
    struct why why = {0};
    char path[64];

    log_open("fuzz", "", LOG_FATAL);
    if (file < 0 || fchmod(file, 0600) < 0 || write(file, data, size) != (ssize_t)size ||
        write(file, LINE, strlen(LINE)) != (ssize_t)strlen(LINE))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (tokens_load(path, &tokens, &why) == 0) {
        char *text = strndup((const char *)data, size);
        const char *subject = tokens_subject(tokens, text);

        assert(tokens_count(tokens) > 0);
        assert(strcmp(tokens_subject(tokens, "one"), "last") == 0);
        assert(subject == NULL || tokens_is_subject(subject));
        free(text);
        tokens_destroy(tokens);
    } else {
        assert(strpbrk(why_text(&why), "\r\n") == NULL);
    }
    why_finish(&why);
    close(file);
    return 0;
}
